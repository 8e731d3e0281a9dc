"""Every message of the protocol (protocol 3 and 4), as immutable, versioned models.

Rules:
1. A body carries its type, with the protocol's version in it, and, once there is one, the charter's hash.
2. A body's digest is SHA-256 of its canonical JSON. The plan's digest is written R, the cohort's J.
3. Lists that stand for sets are sorted by partner id and name nobody twice; a body that is not is malformed.
4. A `Signed` message is {body, signatures by signer}; `signing` makes and verifies signatures, this does not.
Nothing here decides: plan_checks, cohort_checks and opening_checks do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, Self, TypeVar, cast

from pydantic import Field, ValidationError, model_validator

from privacy.dp.budget import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import MalformedMessage
from privacy.protocol.canonical import MAX_MESSAGE_BYTES, canonical, digest, parse
from privacy.protocol.identifiers import (
    BoxPublicKey,
    Digest,
    DisplayName,
    Ed25519Key,
    FingerprintWord,
    MlDsa65Key,
    Model,
    PartnerId,
    Reason,
)

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**53 - 1)]
UnixSeconds = Annotated[int, Field(ge=0, le=2**40)]


class Body(Model):
    """What is signed."""

    type: str

    @property
    def canonical_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        return digest(self.canonical_bytes)


class CharteredBody(Body):
    charter: Digest


class SigningKeys(Model):
    """A signer's two public keys; both signatures must verify."""

    ed25519: Ed25519Key
    ml_dsa_65: MlDsa65Key


# --- constituting a consortium (protocol 4.0) ---------------------------------------------------------


class Enrolment(Body):
    """A partner's keys and its own caps, for a single-use invitation (named by its digest)."""

    type: Literal["chorale/1 enrolment"] = "chorale/1 enrolment"
    invitation: Digest
    partner: PartnerId
    name: DisplayName
    signing_keys: SigningKeys
    result_key: BoxPublicKey
    caps: Caps


class RosterEntry(Model):
    partner: PartnerId
    name: DisplayName
    signing_keys: SigningKeys
    result_key: BoxPublicKey
    caps: Caps


class Charter(Body):
    """The constitution of one epoch; it counts once every roster partner has signed its acceptance."""

    type: Literal["chorale/1 charter"] = "chorale/1 charter"
    consortium: DisplayName
    epoch: Positive
    previous: Digest
    roster: Annotated[tuple[RosterEntry, ...], Field(min_length=3, max_length=1000)]
    n_min: Positive
    colluders: Positive
    parameter_set: str
    privacy_unit: Annotated[str, Field(min_length=1, max_length=300)]
    table: Annotated[tuple[TableRow, ...], Field(min_length=1, max_length=64)]
    allow_none: bool
    lead: PartnerId
    operator_keys: SigningKeys
    server_keys: SigningKeys

    @model_validator(mode="after")
    def _roster_is_a_set(self) -> Self:
        _require_sorted("roster", [entry.partner for entry in self.roster])
        _require_sorted("table", sorted(row.name for row in self.table))
        return self

    @property
    def n_max(self) -> int:
        return len(self.roster)

    @property
    def honest(self) -> int:
        """h = n_min - c: how many honest contributors' noise every opened sum holds at least."""
        return self.n_min - self.colluders

    @property
    def partners(self) -> tuple[str, ...]:
        return tuple(entry.partner for entry in self.roster)

    def entry(self, partner: str) -> RosterEntry:
        for entry in self.roster:
            if entry.partner == partner:
                return entry
        raise MalformedMessage(
            f"a partner of the roster ({', '.join(self.partners)})", partner, "check the charter's roster"
        )


class CharterAcceptance(CharteredBody):
    type: Literal["chorale/1 charter-acceptance"] = "chorale/1 charter-acceptance"
    partner: PartnerId


class ParameterShape(Model):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    shape: tuple[Positive, ...]

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size


class UpdateRule(Model):
    """How the mean moves the model: elementwise in float64, the same bits on every machine.

    sgd uses learning_rate, momentum, weight_decay; adam uses learning_rate, beta1, beta2, epsilon, weight_decay.
    """

    kind: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Campaign(CharteredBody):
    """What is trained, and how; signed by the operator and the lead."""

    type: Literal["chorale/1 campaign"] = "chorale/1 campaign"
    name: DisplayName
    parameters: Annotated[tuple[ParameterShape, ...], Field(min_length=1, max_length=4096)]
    update_rule: UpdateRule
    clip: Annotated[float, Field(gt=0)]
    # A public constant for every partner; in local mode the denominator is |U| and this is unused.
    denominator: Annotated[float, Field(gt=0)]
    genesis: Digest

    @property
    def length(self) -> int:
        return sum(parameter.size for parameter in self.parameters)


# --- one attempt of one round (protocol 4.1 to 4.5) ---------------------------------------------------


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


class ChainHead(Model):
    """How long a ledger chain is, and the hash of its last entry."""

    count: Count
    head: Digest


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
        _require_sorted("members", [member.partner for member in self.members])
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
        _require_sorted("boxes", [box.receiver for box in self.boxes])
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
        _require_sorted("contributors", [contributor.partner for contributor in self.contributors])
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
        _require_sorted("boxes", [box.receiver for box in self.boxes])
        return self


class UploadFingerprint(Model):
    partner: PartnerId
    fingerprint: tuple[FingerprintWord, FingerprintWord]


class Confirmation(CharteredBody):
    type: Literal["chorale/1 confirmation"] = "chorale/1 confirmation"
    plan: Digest
    seal: Digest
    partner: PartnerId
    state: Digest
    fingerprints: tuple[UploadFingerprint, ...]
    # The server's ledger chain as this partner saw and checked it: a countersignature.
    checkpoint: ChainHead

    @model_validator(mode="after")
    def _fingerprints_are_a_set(self) -> Self:
        _require_sorted("fingerprints", [item.partner for item in self.fingerprints])
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


# --- ledger and states --------------------------------------------------------------------------------


class Checkpoint(CharteredBody):
    """Signed by the server: count and head of the consortium's chain."""

    type: Literal["chorale/1 checkpoint"] = "chorale/1 checkpoint"
    chain: ChainHead


class StateRequest(CharteredBody):
    type: Literal["chorale/1 state-request"] = "chorale/1 state-request"
    campaign: Digest
    partner: PartnerId
    state: Digest


class StateBox(CharteredBody):
    """A state (genesis or confirmed) in an HPKE box to one partner's result key; the server stores it unread."""

    type: Literal["chorale/1 state-box"] = "chorale/1 state-box"
    campaign: Digest
    sender: PartnerId
    receiver: PartnerId
    state: Digest
    box: Digest


# --- the signed form ----------------------------------------------------------------------------------

BodyT = TypeVar("BodyT", bound=Body)


class SignaturePair(Model):
    ed25519: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
    ml_dsa_65: Annotated[str, Field(pattern=r"^[0-9a-f]{6618}$")]


class Signed(Model, Generic[BodyT]):
    """A body and its signatures, by signer: a partner id, "operator" or "server"."""

    body: BodyT
    signatures: Annotated[dict[str, SignaturePair], Field(min_length=1, max_length=4)]

    @property
    def canonical_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """The body's digest: what other messages refer to."""
        return self.body.digest


def signed_model(body: type[BodyT]) -> type[Signed[BodyT]]:
    """The concrete model of a signed message whose body is of this type."""
    return cast("type[Signed[BodyT]]", Signed.__class_getitem__(body))


def parse_signed(body: type[BodyT], raw: bytes, limit: int = MAX_MESSAGE_BYTES) -> Signed[BodyT]:
    """Read a signed message of one type; its signatures are *not* verified here (see `signing.verify`)."""
    parse(raw, limit)
    signed = _validate(signed_model(body), raw)
    # A default filled in by the model would make the hash differ from the bytes that were sent.
    if signed.canonical_bytes != raw:
        raise MalformedMessage(
            f"every field of {body.__name__} written out",
            "a message with fields left to defaults",
            "send the message as the schema in docs/protocol.md spells it",
        )
    return signed


ModelT = TypeVar("ModelT", bound=Model)


def _validate(model: type[ModelT], raw: bytes) -> ModelT:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(
            f"a message of schema {model.__name__}",
            f"{where}: {first['msg']}",
            "compare with docs/protocol.md",
        ) from None


def _require_sorted(what: str, names: Sequence[str]) -> None:
    if list(names) != sorted(set(names)):
        raise ValueError(f"{what} must be sorted by id and name nobody twice")
