"""One participant's figures, from what a chain adds up to for it.

Rules (protocol 6.1, 6.4):
1. Both guarantees are always given, each against its own cap.
2. A charged attempt that ended void or closed gave no result: it is spent all the same, and shown as such.
   An attempt whose outcome nobody told is *unknown*, and not counted as without result.
3. Rounds left are what table and filter have left: that is what refuses. The curve goes on over them, dashed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.ledger.chain import RowTotals
from privacy.protocol.messages import Charter
from privacy.protocol.round_state import RoundState
from privacy.report import figures
from privacy.report.budget_report import (
    CurvePoint,
    Detection,
    GuaranteeBudget,
    ParticipantBudget,
    ReportedEntry,
    RowUse,
    SharedRecord,
    stated,
)
from privacy.report.happened import Outcomes, reported_entry
from privacy.report.tally import ParticipantTally

_CURVE_POINTS = 10
_HOLDERS = (1, 2, 3)
_WITHOUT_RESULT = (RoundState.VOID, RoundState.CLOSED)


def participant_budget(
    charter: Charter,
    partner: str,
    tally: ParticipantTally,
    outcomes: Outcomes,
    present_event: PrivacyEvent | None = None,
    entries: Iterable[ReportedEntry] = (),
    *,
    bound: Charter | None = None,
    curve: bool = False,
    before: ParticipantTally | None = None,
) -> ParticipantBudget:
    """One participant's figures, but for its lifetime's.

    charter: as signed. bound: as it now binds this participant, where officers tightened a cap.

    curve: also epsilon after each of some charges, detections, and records that several hold: most of the time.

    before: the tally at the start of the period; empty unless given.
    """
    signed, charter = charter, bound or charter
    member = charter.entry(partner)
    fruitless = [charge for charge in tally.charges if outcomes.get(charge.change.plan) in _WITHOUT_RESULT]
    event = present_event or _last_event(tally)
    left = None if event is None else _rounds_left(charter, partner, tally, event)
    earlier = before or ParticipantTally()
    in_sum, alone = (
        _guarantee_budget(charter, guarantee, member.caps, tally, earlier, outcomes)
        for guarantee in (Guarantee.IN_SUM, Guarantee.ALONE)
    )
    if curve:
        planned = (event, left) if event is not None and left else None
        in_sum, alone = (
            _with_curve(budget, tally, planned, member.caps.delta, charter) for budget in (in_sum, alone)
        )
    return ParticipantBudget(
        partner=partner,
        name=member.name,
        delta=member.caps.delta,
        tightened_from=None if charter == signed else signed.entry(partner).caps,
        guarantees=(in_sum, alone),
        charged_before=len(earlier.charges),
        charged=len(tally.charges),
        reserved=len(tally.reserved),
        charged_without_result=len(fruitless),
        without_result=tuple(charge.index for charge in fruitless),
        present_event=event,
        rounds_left=left,
        rows=tuple(
            RowUse(name=row.name, event=row.event, charged=used.charged, reserved=used.reserved, count=row.count)
            for row in charter.table
            for used in (tally.rows.get(row.name, RowTotals()),)
        ),
        shared=_shared(tally, member.caps.delta, charter.honest) if curve else (),
        lifetime=None,
        last=None if tally.last is None else reported_entry(tally.last, outcomes, charter.epoch),
        entries=tuple(entries),
    )


def _last_event(tally: ParticipantTally) -> PrivacyEvent | None:
    """What a participant goes on with: a sum of statistics between rounds of training says nothing of that."""
    events = [*(charge.change.event for charge in tally.charges), *(held.event for held in tally.reserved.values())]
    goes_on = (event for event in reversed(events) if event.kind != "statistics")
    return next(goes_on, events[-1] if events else None)


def _rounds_left(charter: Charter, partner: str, tally: ParticipantTally, event: PrivacyEvent) -> int:
    """Room left in the rows that cover `event`, and in the filter; reservations take room (protocol 6.4)."""
    left = 0
    for row in charter.table:
        if event.fits_row(row.event):
            used = tally.rows.get(row.name, RowTotals())
            left += max(0, row.count - used.charged - used.reserved)
    renyi = charter.filter_for(partner)
    if renyi is None:
        return left
    held = figures.counts((*tally.events, *(change.event for change in tally.reserved.values())))
    return min(left, renyi.room_for(held, event))


def _guarantee_budget(
    charter: Charter,
    guarantee: Guarantee,
    caps: Caps,
    tally: ParticipantTally,
    before: ParticipantTally,
    outcomes: Outcomes,
) -> GuaranteeBudget:
    def cost(spent: figures.Counts) -> float:
        return figures.epsilon(spent, caps.delta, guarantee, charter.honest)

    spent = figures.counts(tally.spent)
    fruitless = Counter(
        charge.change.event for charge in tally.charges if outcomes.get(charge.change.plan) in _WITHOUT_RESULT
    )
    fruitful = figures.counts(tally.spent - fruitless)
    held = figures.counts(tally.spent + Counter(change.event for change in tally.reserved.values()))
    return GuaranteeBudget(
        guarantee="alone" if guarantee is Guarantee.ALONE else "in_sum",
        cap=caps.epsilon_for(guarantee),
        at_start=stated(cost(figures.counts(before.spent))),
        epsilon=stated(cost(spent)),
        without_result=stated(_difference(cost(spent), cost(fruitful))),
        with_reserved=stated(cost(held)),
        even_odds=figures.even_odds(spent, guarantee, charter.honest),
        detections=(),
        curve=(),
    )


def _with_curve(
    budget: GuaranteeBudget,
    tally: ParticipantTally,
    planned: tuple[PrivacyEvent, int] | None,
    delta: float,
    charter: Charter,
) -> GuaranteeBudget:
    """Epsilon after some of the charges, then with more of the planned event, up to what is left; detections."""
    events = tally.events
    marks = _marks(sum(row.count for row in charter.table))
    places = [(count, 0) for count in sorted({0, len(events), *(m for m in marks if m < len(events))})]
    if planned is not None:
        end = len(events) + planned[1]
        ahead = sorted({end, *(m for m in marks if len(events) < m < end)})
        places += [(len(events), count - len(events)) for count in ahead]
    points = []
    for happened, more in places:
        follows = (planned[0],) * more if planned is not None else ()
        counted = figures.counts((*events[:happened], *follows))
        cost = figures.epsilon(counted, delta, budget.kind, charter.honest)
        points.append(CurvePoint(charges=happened + more, epsilon=stated(cost), planned=more > 0))
    found = figures.detections(figures.counts(events), budget.kind, charter.honest)
    detections = tuple(Detection(false_alarm=rate, detection=chance) for rate, chance in found)
    return budget.model_copy(update={"curve": tuple(points), "detections": detections})


def _shared(tally: ParticipantTally, delta: float, honest: int) -> tuple[SharedRecord, ...]:
    spent = figures.counts(tally.spent)
    costs = (figures.epsilon_for_copies(spent, delta, Guarantee.IN_SUM, honest, holders) for holders in _HOLDERS)
    return tuple(
        SharedRecord(holders=holders, in_sum=stated(cost)) for holders, cost in zip(_HOLDERS, costs, strict=True)
    )


def _marks(total: int) -> list[int]:
    """Where curves are drawn: denser at the start, where epsilon grows fastest.

    The same for every participant of a charter, so that those who took part in like rounds share the figures.
    """
    return sorted({min(1, total), *(round(total * (step / _CURVE_POINTS) ** 1.6) for step in range(_CURVE_POINTS))})


def _difference(all_of_it: float, part: float) -> float:
    if math.isinf(all_of_it):
        return 0.0 if math.isinf(part) else math.inf
    return max(0.0, all_of_it - part)
