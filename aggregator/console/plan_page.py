"""What the plan's page shows: epsilon against rounds of the present plan's event, where things stand, what binds.

Rules:
1. The curve is of the event repeated, up to all that the charter's table allows of it. What has been spent is
   marked as it is, whatever it was spent on: of whom most is spent, in the viewer's scope.
2. Each bound is told with the number of rounds of this event that it would let through, from nothing on. The one
   that lets the fewest through binds. Caps, counts and filters are those in effect, the tightest of the scope.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aggregator.console.standing import Pending, Standings, in_effect, present_event
from aggregator.rounds.records import charter_in_force
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.planner import LanePlan, PlanPoint, plan_lanes
from privacy.errors import NotFound, UnsafeParameters, WrongState
from privacy.protocol.messages import Charter
from privacy.report import figures
from privacy.report.budget_report import INFINITE, CurvePoint, GuaranteeBudget, GuaranteeName, ParticipantBudget

REACH = 4
"""Caps are looked at up to this many times the rounds that the table allows."""

BoundName = Literal["cap_in_sum", "cap_alone", "table", "filter"]
_GUARANTEES: tuple[tuple[Guarantee, GuaranteeName, BoundName], ...] = (
    (Guarantee.IN_SUM, "in_sum", "cap_in_sum"),
    (Guarantee.ALONE, "alone", "cap_alone"),
)


@dataclass(frozen=True)
class RoundBound:
    """limit: the cap; None where the bound is a number of rounds. more: it lets more than `rounds` through."""

    name: BoundName
    limit: float | None
    rounds: int
    more: bool
    binds: bool


@dataclass(frozen=True)
class Drawn:
    """One guarantee's curve. mark: what has been spent; None where nothing has, or no number bounds it."""

    curve: GuaranteeBudget
    mark: CurvePoint | None


@dataclass(frozen=True)
class PlanPage:
    """most: of whom most is spent, in this scope; None where nobody of the roster is in it.

    lanes: what the planner would take for this noise and roster; None where noise is not shared, or none would do.
    """

    event: PrivacyEvent
    delta: float
    rounds: int
    points: tuple[PlanPoint, ...]
    drawn: tuple[Drawn, ...]
    bounds: tuple[RoundBound, ...]
    most: ParticipantBudget | None
    lanes: LanePlan | None

    @property
    def binding(self) -> RoundBound:
        return next(bound for bound in self.bounds if bound.binds)


def plan_page(service: Service, standings: Standings, viewer: Viewer) -> PlanPage:
    """Raises WrongState before a charter is in force, NotFound where nothing bounds the plan, AccountingFailed."""
    with service.database.read() as session:
        digest, charter = charter_in_force(session)
        event = present_event(session, digest) or _first_event(charter)
        seen = [partner for partner in charter.partners if viewer.may_see(partner)]
        bound = {partner: in_effect(session, digest, charter, partner) for partner in seen or charter.partners}
    rounds = sum(row.count for row in charter.table if event.fits_row(row.event))
    if event.kind == "none" or rounds < 1:
        raise NotFound("a plan with a bounded epsilon", f"an event of kind {event.kind}", "see the charter's table")
    overview = standings.overview(viewer)
    if isinstance(overview, Pending):
        raise WrongState("a charter in force", "none any more", "open the overview")
    delta = min(entry.caps.delta for entry in charter.roster)
    points = figures.plan_curve(event, delta, charter.honest, rounds)
    most = overview.explained
    return PlanPage(
        event=event,
        delta=delta,
        rounds=rounds,
        points=points,
        drawn=tuple(_drawn(name, _cap(bound, guarantee), points, most) for guarantee, name, _ in _GUARANTEES),
        bounds=_binding(list(_bounds(bound, event, delta, rounds))),
        most=most,
        lanes=_lanes(charter, event),
    )


def _first_event(charter: Charter) -> PrivacyEvent:
    """Before there is a plan: of the table's first row to train by, else of its first."""
    to_train = (row.event for row in charter.table if row.event.kind != "statistics")
    return next(to_train, charter.table[0].event)


def _lanes(charter: Charter, event: PrivacyEvent) -> LanePlan | None:
    if event.kind != "distributed":
        return None
    try:
        return plan_lanes(event.noise_multiplier, charter.honest, charter.n_max)
    except UnsafeParameters:
        return None


def _cap(bound: Mapping[str, Charter], guarantee: Guarantee) -> float:
    return min(charter.entry(partner).caps.epsilon_for(guarantee) for partner, charter in bound.items())


def _drawn(name: GuaranteeName, cap: float, points: Sequence[PlanPoint], most: ParticipantBudget | None) -> Drawn:
    costs = [(point.rounds, getattr(point, f"epsilon_{name}")) for point in points]
    curve = [CurvePoint(charges=0, epsilon=0.0, planned=False)]
    curve += [
        CurvePoint(charges=count, epsilon=INFINITE if math.isinf(cost) else cost, planned=True)
        for count, cost in costs
    ]
    mark = None
    if most is not None and most.charged:
        spent = next(one.epsilon for one in most.guarantees if one.guarantee == name)
        mark = None if spent == INFINITE else CurvePoint(charges=most.charged, epsilon=spent, planned=False)
    return Drawn(
        GuaranteeBudget(
            guarantee=name,
            cap=cap,
            epsilon=0.0,
            without_result=0.0,
            with_reserved=0.0,
            at_start=0.0,
            even_odds=0.5,
            detections=(),
            curve=tuple(curve),
        ),
        mark,
    )


def _bounds(bound: Mapping[str, Charter], event: PrivacyEvent, delta: float, rounds: int) -> Iterator[RoundBound]:
    """Rule 2, none of them binding yet."""
    reach = REACH * rounds
    honest = next(iter(bound.values())).honest
    for guarantee, _, name in _GUARANTEES:
        cap = _cap(bound, guarantee)
        within = figures.rounds_within(event, delta, guarantee, honest, cap, reach)
        yield RoundBound(name, cap, within, within == reach, binds=False)
    counts = [sum(row.count for row in one.table if event.fits_row(row.event)) for one in bound.values()]
    yield RoundBound("table", None, min(counts), more=False, binds=False)
    filters = [charter.filter_for(partner) for partner, charter in bound.items()]
    room = [renyi.room_for((), event) for renyi in filters if renyi is not None]
    if room:
        yield RoundBound("filter", None, min(room), more=False, binds=False)


def _binding(bounds: list[RoundBound]) -> tuple[RoundBound, ...]:
    """The same, the one that lets the fewest rounds through marked; of equals the first."""
    fewest = min(bounds, key=lambda bound: bound.rounds)
    return tuple(replace(bound, binds=bound is fewest) for bound in bounds)
