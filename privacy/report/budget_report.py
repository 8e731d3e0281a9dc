"""The report's form: what stands in it, for JSON and HTML alike. build.py makes it; nothing here computes.

An epsilon that no number bounds (an event of kind *none*) is the string "infinite": canonical JSON has no
infinity. Times are seconds since 1970-01-01 UTC. All figures are of the ledger up to its `ledger` head, the last
entry of the period; `opening` is the head at the period's start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.ledger.entry import EntryKind, OfficersAction
from privacy.protocol.identifiers import AnyName, Digest, Model, PartnerId
from privacy.protocol.messages import ChainHead, Count, Positive, UnixSeconds
from privacy.report.period import Period

INFINITE: Literal["infinite"] = "infinite"
Epsilon = Annotated[float, Field(ge=0)] | Literal["infinite"]
GuaranteeName = Literal["alone", "in_sum"]
Source = Literal["service", "partner"]
"""Whose chain the report was made from."""

Outcome = Literal["running", "confirmed", "void", "closed", "unknown"]


def stated(value: float) -> Epsilon:
    """An accountant's figure as a report has it."""
    return INFINITE if math.isinf(value) else value


class CurvePoint(Model):
    """Epsilon after this many charged attempts; `planned` where they have not happened."""

    charges: Count
    epsilon: Epsilon
    planned: bool


class Detection(Model):
    """At this chance to accuse a record that took no part, the best attacker detects one that did with that."""

    false_alarm: Annotated[float, Field(ge=0, le=1)]
    detection: Annotated[float, Field(ge=0, le=1)]


class GuaranteeBudget(Model):
    """One guarantee's figures, "as if the number of rounds had been fixed" (protocol 6.4).

    epsilon: of everything charged; at_start: of what was charged before the period. without_result: the part of it
    that charged attempts without a sum cost, the difference they make. with_reserved: once every open reservation
    is charged. even_odds: the best chance to tell, from even odds, whether one unit of privacy took part;
    detections: at fixed rates of false alarms.
    """

    guarantee: GuaranteeName
    cap: float
    at_start: Epsilon
    epsilon: Epsilon
    without_result: Epsilon
    with_reserved: Epsilon
    even_odds: Annotated[float, Field(ge=0.5, le=1.0)]
    detections: tuple[Detection, ...]
    curve: tuple[CurvePoint, ...]

    @property
    def kind(self) -> Guarantee:
        return Guarantee(self.guarantee)


class RowUse(Model):
    """A row of the charter's table: how much of it is used."""

    name: str
    event: PrivacyEvent
    charged: Count
    reserved: Count
    count: Count


class Spent(Model):
    """Both guarantees at one delta."""

    delta: Annotated[float, Field(ge=0)]
    in_sum: Epsilon
    alone: Epsilon


class EntryCost(Model):
    """What a charge cost by itself, and with all charged before it under the same charter, "as if" that were fixed.

    cumulated: None where the charge is not among the newest (entry_costs.py).
    """

    itself: Spent
    cumulated: Spent | None


class ReportedEntry(Model):
    """A ledger entry in short; the export has all of it.

    epoch: its charter's. plan: the attempt's; each campaign counts its rounds from 1. action: an officer's.
    cost: of a charge of the period; None of what charges nothing, and where an entry is shown at a glance.
    """

    index: Positive
    at: UnixSeconds
    epoch: Positive
    kind: EntryKind
    plan: Digest | None
    round: Positive | None
    attempt: Positive | None
    row: str | None
    event: PrivacyEvent | None
    outcome: Outcome | None
    cost: EntryCost | None
    action: OfficersAction | None
    reason: str


class RaisedAlarm(Model):
    """Something that a person had to look at. detail: the figures that its kind has."""

    id: Digest
    kind: Annotated[str, Field(pattern=r"^[a-z_]+$", max_length=32)]
    participant: PartnerId | None
    at: UnixSeconds
    detail: Mapping[str, str | int | float]


class Acknowledgement(Model):
    """entry: the ledger entry that says so; the rest is its own."""

    entry: Positive
    at: UnixSeconds
    officer: str
    role: Literal["officer", "operator"]
    reason: str


class ReportedAlarm(RaisedAlarm):
    """acknowledged: None where nobody had by the period's end."""

    acknowledged: Acknowledgement | None


class EpochSpent(Model):
    """spent: as if fixed beforehand. capped: what its charter guarantees instead."""

    charter: Digest
    epoch: Positive
    honest: Positive
    charged: Count
    spent: Spent
    capped: Spent


class Lifetime(Model):
    """What was spent under every charter (lifetime.py). capped: the sums of caps, which are guaranteed.

    summed: the sums of what was spent, each epoch's as if fixed beforehand. composed: None where h changed.
    """

    partner: PartnerId
    epochs: tuple[EpochSpent, ...]
    capped: Spent
    summed: Spent
    composed: Spent | None


class SharedRecord(Model):
    """Epsilon in the sum for a record that so many partners hold, each of which took part in the same events.

    *Alone* it is nobody's concern: one update holds one copy.
    """

    holders: Positive
    in_sum: Epsilon


class ParticipantBudget(Model):
    """tightened_from: the charter's own caps, where officers tightened them: what is guaranteed all the same.

    shared: under this charter; empty, as `lifetime` is None, where figures at a glance were asked for.
    """

    partner: PartnerId
    name: AnyName
    delta: float
    tightened_from: Caps | None
    guarantees: tuple[GuaranteeBudget, GuaranteeBudget]
    charged_before: Count
    charged: Count
    reserved: Count
    charged_without_result: Count
    # Indices of the charges that gave no result, of all time: what a recomputation takes on the reporter's word.
    without_result: tuple[Positive, ...]
    present_event: PrivacyEvent | None
    # Attempts that the table has room for at the present plan's event; None while there is no plan.
    rounds_left: Count | None
    rows: tuple[RowUse, ...]
    shared: tuple[SharedRecord, ...]
    lifetime: Lifetime | None
    last: ReportedEntry | None
    entries: tuple[ReportedEntry, ...]


class FormerParticipant(Model):
    """Took part under an earlier charter and is not on this one's roster."""

    partner: PartnerId
    name: AnyName
    lifetime: Lifetime
    entries: tuple[ReportedEntry, ...]


class BudgetReport(Model):
    """Privacy budgets under one charter, at one head of a ledger, and what happened in a period before it.

    words: the charter's hash as people compare it. former: in a report on the whole consortium. actions: of
    officers and the operator that concern no one participant; those that do are among its entries. alarms: None
    where the reporter keeps none, as a partner of its own ledger. as_of: when the report was made.
    """

    type: Literal["chorale/1 budget-report"] = "chorale/1 budget-report"
    consortium: AnyName
    epoch: Positive
    charter: Digest
    words: str
    as_of: UnixSeconds
    source: Source
    period: Period
    opening: ChainHead
    ledger: ChainHead
    roster_size: Positive
    n_min: Positive
    colluders: Positive
    honest: Positive
    # Of the Renyi filter that refuses; None where the table does.
    filter_order: Positive | None
    privacy_unit: str
    participants: tuple[ParticipantBudget, ...]
    former: tuple[FormerParticipant, ...]
    actions: tuple[ReportedEntry, ...]
    alarms: tuple[ReportedAlarm, ...] | None

    @property
    def everyone(self) -> tuple[ParticipantBudget | FormerParticipant, ...]:
        """Those on the roster whom the report is about, and those who no longer are."""
        return (*self.participants, *self.former)
