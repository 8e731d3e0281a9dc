"""What requests and answers look like around the protocol's messages: the models that docs/openapi.json shows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from aggregator.names import ACCOUNT_PATTERN
from aggregator.storage.accounts import State, Way
from aggregator.storage.sessions import Role
from privacy.protocol.identifiers import Digest, DisplayName, PartnerId
from privacy.protocol.messages import (
    Campaign,
    Charter,
    CharterAcceptance,
    Close,
    Cohort,
    Confirmation,
    Enrolment,
    Join,
    Manifest,
    Opening,
    Plan,
    Receipt,
    Refusal,
    Seal,
    Signed,
    SigningKeys,
    StateBox,
    StateRequest,
    VoidVote,
)


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Limits(Shape):
    shard_bytes: int
    message_bytes: int


class About(Shape):
    name: str
    version: str
    parameter_sets: list[str]
    server_keys: SigningKeys
    operator_keys: SigningKeys
    time: int
    limits: Limits


class Health(Shape):
    status: str


class InvitationRequest(Shape):
    partner: PartnerId
    expires_in_seconds: Annotated[int, Field(ge=60, le=90 * 86400)]
    again: bool = False


class Invitation(Shape):
    partner: PartnerId
    token: Annotated[str, Field(repr=False)]
    expires: int


class EnrolmentRequest(Shape):
    token: Annotated[str, Field(min_length=1, max_length=200, repr=False)]
    enrolment: dict[str, Any]


class EnrolmentState(Shape):
    partner: PartnerId
    state: str


class EnrolmentShown(Shape):
    state: str
    enrolment: Signed[Enrolment]
    fingerprint_words: str


class Enrolments(Shape):
    enrolments: list[EnrolmentShown]


class CharterDrafted(Shape):
    charter: Digest
    words: str


class CharterStandingShown(Shape):
    charter: Signed[Charter]
    acceptances: dict[PartnerId, Signed[CharterAcceptance]]
    in_force: bool


class Acceptance(Shape):
    in_force: bool


class CampaignNamed(Shape):
    campaign: Digest


class CampaignListed(Shape):
    campaign: Digest
    name: DisplayName
    charter: Digest
    in_force: bool


class Campaigns(Shape):
    campaigns: list[CampaignListed]


class CampaignShown(Shape):
    campaign: Signed[Campaign]
    in_force: bool


class StateBoxes(Shape):
    boxes: list[Signed[StateBox]]


class StateRequests(Shape):
    requests: list[Signed[StateRequest]]


class RoundNamed(Shape):
    round: Digest


class RoundListed(Shape):
    round: Digest
    number: int
    attempt: int
    state: str


class Rounds(Shape):
    rounds: list[RoundListed]


class ProbesShown(Shape):
    """What one partner found of the noise; deviations are standard deviations, negative where noise is missing."""

    ratio: float
    total_ratio: float
    total_probes: int
    deviations: float
    total_deviations: float


class RoundDocument(Shape):
    round: Digest
    version: int
    state: str
    number: int
    attempt: int
    plan: Signed[Plan]
    joined: list[PartnerId]
    cohort: Digest | None
    manifests: list[PartnerId]
    uploaded: list[PartnerId]
    seal: Signed[Seal] | None
    openings: list[PartnerId]
    confirmations: dict[PartnerId, Digest]
    probes: dict[PartnerId, ProbesShown]
    refusals: list[Signed[Refusal]]
    voids: list[PartnerId]
    close: Signed[Close] | None
    receipts: list[PartnerId]
    seconds: dict[str, float]


class CohortShown(Shape):
    cohort: Signed[Cohort]
    joins: list[Signed[Join]]


class Missing(Shape):
    missing: list[int]


class OwnUpload(Shape):
    manifest: Digest
    missing: list[int]
    receipt: Signed[Receipt] | None


class Manifests(Shape):
    manifests: list[Signed[Manifest]]


class Openings(Shape):
    openings: list[Signed[Opening]]


class Confirmations(Shape):
    confirmations: list[Signed[Confirmation]]


class VoidVotes(Shape):
    voids: list[Signed[VoidVote]]


class Taken(Shape):
    """A message was taken, now or before."""

    taken: bool = True


class BudgetRow(Shape):
    name: str
    charged: int
    reserved: int
    count: int
    left: int


class ParticipantBudget(Shape):
    partner: PartnerId
    rows: list[BudgetRow]


class Budgets(Shape):
    participants: list[ParticipantBudget]


AccountScope = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


class OfficerLinkRequest(Shape):
    officer: Annotated[str, Field(min_length=1, max_length=80)]
    scope: AccountScope


class OfficerLink(Shape):
    url: Annotated[str, Field(repr=False)]
    expires: int


class AccountRequest(Shape):
    """email or subject: the account signs in through the identity provider, and has no password."""

    name: Annotated[str, Field(pattern=ACCOUNT_PATTERN)]
    role: Role
    scope: AccountScope
    email: Annotated[str, Field(pattern=r"^[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,189}$")] | None = None
    subject: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")] | None = None


class AccountShown(Shape):
    name: str
    role: Role
    scope: str
    state: State
    way: Way
    email: str | None
    subject: str | None


class AccountOpened(Shape):
    """link: by which its holder takes it into use; null for an account of the identity provider."""

    account: AccountShown
    link: OfficerLink | None


class Accounts(Shape):
    accounts: list[AccountShown]


class LeaseRequest(Shape):
    campaign: Digest
    holder: Annotated[str, Field(min_length=1, max_length=80)]
    seconds: Annotated[int, Field(ge=0, le=600)]


class Lease(Shape):
    held: bool
    until: float


class Problem(Shape):
    """RFC 9457, with what was expected, what came, and what to do."""

    type: str
    title: str
    status: int
    detail: str
    expected: str
    came: str
    remedy: str
