"""Messages of one attempt of one round, in the order in which they are sent (protocol 4.1 to 4.5).

The plan's digest is written R in formulas, the cohort's J.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from privacy.dp.events import PrivacyEvent
from privacy.protocol.body import ChainHead, CharteredBody, Count, Positive, UnixSeconds, require_sorted
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import BoxPublicKey, Digest, FingerprintWord, Model, PartnerId, Reason

Ratio = Annotated[float, Field(ge=0)]


class VectorLayout(Model):
    """The vector that a plan asks for: `parameters` values, then `probes` that are zero and noised alike."""

    parameters: Positive
    probes: Count
    lane_width: Literal[12, 16, 24]
    shift: Annotated[int, Field(ge=0, le=16)]
    # Units per 1.0 of a model delta; only where the event is local or none.
    scale: Annotated[float, Field(gt=0)] | None = None

    @property
    def length(self) -> int:
        return self.parameters + self.probes


class Deadlines(Model):
    join: UnixSeconds
    upload: UnixSeconds
    open: UnixSeconds


class Plan(CharteredBody):
    """Signed by the operator. Its digest is R, the round attempt's name."""

    type: Literal["chorale/1 plan"] = "chorale/1 plan"
    campaign: Digest
    round: Positive
    attempt: Positive
    kind: Literal["training", "statistics"]
    base_state: Digest
    layout: VectorLayout
    event: PrivacyEvent
    deadlines: Deadlines


class Join(CharteredBody):
    type: Literal["chorale/1 join"] = "chorale/1 join"
    plan: Digest
    partner: PartnerId
    round_key: BoxPublicKey
    ledger: ChainHead


class CohortMember(Model):
    partner: PartnerId
    join: Digest


class Cohort(CharteredBody):
    """Signed by the server. Its digest is J."""

    type: Literal["chorale/1 cohort"] = "chorale/1 cohort"
    plan: Digest
    members: Annotated[tuple[CohortMember, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _members_are_a_set(self) -> Self:
        require_sorted("members", [member.partner for member in self.members])
        return self

    @property
    def partners(self) -> tuple[str, ...]:
        return tuple(member.partner for member in self.members)

    def point(self, partner: str) -> int:
        """The Shamir point: 1 + the partner's index in J (protocol 5.3)."""
        return 1 + self.partners.index(partner)


class ShardRoot(Model):
    """A commitment to bulk data: Merkle root, number of leaves, and the size of all but the last shard."""

    root: Digest
    count: Positive
    shard_bytes: Positive


class AddressedDigest(Model):
    receiver: PartnerId
    digest: Digest


class Manifest(CharteredBody):
    """Who uploaded what, to whom the boxes go; base-mode HPKE does not say who sealed a box, this does."""

    type: Literal["chorale/1 manifest"] = "chorale/1 manifest"
    plan: Digest
    cohort: Digest
    partner: PartnerId
    coefficients: Positive
    shards: ShardRoot
    boxes: Annotated[tuple[AddressedDigest, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _boxes_are_a_set(self) -> Self:
        require_sorted("boxes", [box.receiver for box in self.boxes])
        return self


class Receipt(CharteredBody):
    type: Literal["chorale/1 receipt"] = "chorale/1 receipt"
    plan: Digest
    cohort: Digest
    partner: PartnerId
    manifest: Digest


class Contributor(Model):
    partner: PartnerId
    manifest: Digest


class Seal(CharteredBody):
    """Signed by the server: U, every upload's digest, and the root of the sum."""

    type: Literal["chorale/1 seal"] = "chorale/1 seal"
    plan: Digest
    cohort: Digest
    contributors: Annotated[tuple[Contributor, ...], Field(min_length=1)]
    sum: ShardRoot

    @model_validator(mode="after")
    def _contributors_are_a_set(self) -> Self:
        require_sorted("contributors", [contributor.partner for contributor in self.contributors])
        return self

    @property
    def partners(self) -> tuple[str, ...]:
        return tuple(contributor.partner for contributor in self.contributors)

    @property
    def contributors_digest(self) -> str:
        """The digest of U: SHA-256 over its manifests' digests, sorted by partner id (protocol 3)."""
        return digest(b"".join(bytes.fromhex(contributor.manifest) for contributor in self.contributors))


class Opening(CharteredBody):
    """What a partner releases for a seal, once: result boxes to the whole roster, and its fingerprint."""

    type: Literal["chorale/1 opening"] = "chorale/1 opening"
    plan: Digest
    cohort: Digest
    seal: Digest
    partner: PartnerId
    boxes: Annotated[tuple[AddressedDigest, ...], Field(min_length=1)]
    # F of its own upload (5.4); absent where the partner joined but is not in U.
    fingerprint: tuple[FingerprintWord, FingerprintWord] | None

    @model_validator(mode="after")
    def _boxes_are_a_set(self) -> Self:
        require_sorted("boxes", [box.receiver for box in self.boxes])
        return self


class UploadFingerprint(Model):
    partner: PartnerId
    fingerprint: tuple[FingerprintWord, FingerprintWord]


class ProbeFigures(Model):
    """Variance of the probes over what the contributors owe: of this sum, and of all that the partner opened in the
    campaign together, which rest on `total_probes` (protocol 6.2). A function of noise alone.
    """

    ratio: Ratio
    total_ratio: Ratio
    total_probes: Positive


class Confirmation(CharteredBody):
    type: Literal["chorale/1 confirmation"] = "chorale/1 confirmation"
    plan: Digest
    seal: Digest
    partner: PartnerId
    state: Digest
    fingerprints: tuple[UploadFingerprint, ...]
    # The server's ledger chain as this partner saw and checked it: a countersignature.
    checkpoint: ChainHead
    # None where the plan has no noise of its own: kinds local and none.
    probes: ProbeFigures | None

    @model_validator(mode="after")
    def _fingerprints_are_a_set(self) -> Self:
        require_sorted("fingerprints", [item.partner for item in self.fingerprints])
        return self


class VoidVote(CharteredBody):
    """No decoding works over all openings that this partner saw."""

    type: Literal["chorale/1 void"] = "chorale/1 void"
    plan: Digest
    seal: Digest
    partner: PartnerId
    openings: tuple[Digest, ...]
    reason: Reason


class Refusal(CharteredBody):
    """A partner does not open, and says which numbered check failed (protocol 4.4)."""

    type: Literal["chorale/1 refusal"] = "chorale/1 refusal"
    plan: Digest
    partner: PartnerId
    check: Annotated[int, Field(ge=1, le=7)]
    reason: Reason


class Abort(CharteredBody):
    """The operator ends an attempt that nobody has opened."""

    type: Literal["chorale/1 abort"] = "chorale/1 abort"
    plan: Digest
    reason: Reason


class Close(CharteredBody):
    """The server's signed end of an attempt without a sum."""

    type: Literal["chorale/1 close"] = "chorale/1 close"
    plan: Digest
    cause: Literal["too-few-joined", "too-few-uploads", "not-opened", "aborted"]
    reason: Reason
