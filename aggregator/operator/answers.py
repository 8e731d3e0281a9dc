"""What the service answers the operator (docs/http.md), as models. Nothing in them is believed that a signature
does not cover: whoever decides by a message in here verifies it first.

Unknown members are ignored: a newer service may say more.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from privacy.protocol.identifiers import Digest, PartnerId
from privacy.protocol.messages import (
    Campaign,
    Charter,
    CharterAcceptance,
    Close,
    Cohort,
    Confirmation,
    Count,
    Enrolment,
    Join,
    Plan,
    Positive,
    Refusal,
    Seal,
    Signed,
    SigningKeys,
    VoidVote,
)
from privacy.protocol.round_state import RoundState

Seconds = Annotated[float, Field(ge=0)]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class About(Answer):
    name: str
    version: str
    parameter_sets: tuple[str, ...]
    server_keys: SigningKeys
    operator_keys: SigningKeys
    time: float


class Invitation(Answer):
    partner: PartnerId
    token: Annotated[str, Field(repr=False)]
    expires: float


class EnrolmentRecord(Answer):
    state: Literal["pending", "approved"]
    enrolment: Signed[Enrolment]


class Enrolments(Answer):
    enrolments: tuple[EnrolmentRecord, ...]


class EnrolmentState(Answer):
    partner: PartnerId
    state: Literal["pending", "approved"]


class CharterPosted(Answer):
    charter: Digest


class CharterRecord(Answer):
    charter: Signed[Charter]
    acceptances: dict[PartnerId, Signed[CharterAcceptance]]
    in_force: bool


class CampaignSummary(Answer):
    campaign: Digest
    name: str
    charter: Digest
    in_force: bool


class Campaigns(Answer):
    campaigns: tuple[CampaignSummary, ...]


class CampaignRecord(Answer):
    campaign: Signed[Campaign]
    in_force: bool


class RoundSummary(Answer):
    """One attempt, in the order posted."""

    round: Digest
    number: Positive
    attempt: Positive
    state: RoundState


class Rounds(Answer):
    rounds: tuple[RoundSummary, ...]


class RoundPosted(Answer):
    round: Digest


class ProbesShown(Answer):
    """Standard deviations by which the noise lies off what is owed: in this sum, and in all that were opened."""

    deviations: float
    total_deviations: float


class RoundDocument(Answer):
    """What everyone waits on; `seconds`: time spent in each state so far."""

    round: Digest
    version: Count
    state: RoundState
    number: Positive
    attempt: Positive
    plan: Signed[Plan]
    joined: tuple[PartnerId, ...]
    cohort: Digest | None
    manifests: tuple[PartnerId, ...]
    uploaded: tuple[PartnerId, ...]
    seal: Signed[Seal] | None
    openings: tuple[PartnerId, ...]
    confirmations: dict[PartnerId, Digest]
    probes: dict[PartnerId, ProbesShown] = Field(default_factory=dict)
    refusals: tuple[Signed[Refusal], ...]
    voids: tuple[PartnerId, ...]
    close: Signed[Close] | None
    seconds: dict[str, Seconds]


class CohortRecord(Answer):
    cohort: Signed[Cohort]
    joins: tuple[Signed[Join], ...]


class Confirmations(Answer):
    confirmations: tuple[Signed[Confirmation], ...]


class VoidVotes(Answer):
    voids: tuple[Signed[VoidVote], ...]


class BudgetRow(Answer):
    """left: how many more of the row's own event fit, by its count and by the charter's filter, if it has one."""

    name: str
    charged: Count
    reserved: Count
    count: Count
    left: Count


class Participant(Answer):
    partner: PartnerId
    rows: tuple[BudgetRow, ...]


class Budgets(Answer):
    participants: tuple[Participant, ...]


class OfficerLink(Answer):
    url: Annotated[str, Field(repr=False)]
    expires: float


class Account(Answer):
    name: str
    role: str
    scope: str
    state: str
    way: str
    email: str | None
    subject: str | None


class AccountOpened(Answer):
    account: Account
    link: OfficerLink | None


class Accounts(Answer):
    accounts: tuple[Account, ...]


class Lease(Answer):
    held: bool
    until: float
