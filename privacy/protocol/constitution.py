"""Messages that constitute a consortium and a campaign, and carry states between partners (protocol 3, 4.0)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from privacy.dp.caps import Caps, filter_of
from privacy.dp.events import TableRow
from privacy.dp.renyi import Order, RenyiFilter
from privacy.errors import MalformedMessage
from privacy.protocol.body import Body, ChainHead, CharteredBody, Positive, SigningKeys, require_sorted
from privacy.protocol.identifiers import BoxPublicKey, Digest, DisplayName, Model, PartnerId
from privacy.protocol.printable import Printable, require_printable


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
    """The constitution of one epoch; it counts once every roster partner has signed its acceptance.

    filter_order: None where the table as a whole fits every cap; else a Renyi filter of this order refuses
    (protocol 6.4).
    """

    type: Literal["chorale/1 charter"] = "chorale/1 charter"
    consortium: DisplayName
    epoch: Positive
    previous: Digest
    roster: Annotated[tuple[RosterEntry, ...], Field(min_length=3, max_length=1000)]
    n_min: Positive
    colluders: Positive
    parameter_set: str
    privacy_unit: Annotated[str, Field(min_length=1, max_length=300), Printable]
    table: Annotated[tuple[TableRow, ...], Field(min_length=1, max_length=64)]
    filter_order: Order | None = None
    allow_none: bool
    lead: PartnerId
    operator_keys: SigningKeys
    server_keys: SigningKeys

    @model_validator(mode="after")
    def _roster_is_a_set(self) -> Self:
        require_sorted("roster", [entry.partner for entry in self.roster])
        require_sorted("table", sorted(require_printable(row.name) for row in self.table))
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

    def filter_for(self, partner: str, tightened: Caps | None = None) -> RenyiFilter | None:
        """The filter of a partner's own caps, or of what officers tightened them to; None under a table's rule."""
        if self.filter_order is None:
            return None
        return filter_of(self.filter_order, tightened or self.entry(partner).caps, self.honest)

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


class OfficerConsent(CharteredBody):
    """A partner's own security officer agrees that it accepts this charter. It stays on the partner's side."""

    type: Literal["chorale/1 officer-consent"] = "chorale/1 officer-consent"
    partner: PartnerId


class ParameterShape(Model):
    name: Annotated[str, Field(min_length=1, max_length=200), Printable]
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


class Checkpoint(CharteredBody):
    """Signed by the server: count and head of the consortium's chain."""

    type: Literal["chorale/1 checkpoint"] = "chorale/1 checkpoint"
    chain: ChainHead


class OwnCheckpoint(CharteredBody):
    """Signed by a partner when it exports its own chain of charges; it says nothing of the service's chain."""

    type: Literal["chorale/1 own-checkpoint"] = "chorale/1 own-checkpoint"
    partner: PartnerId
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
