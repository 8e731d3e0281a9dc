"""The pages of record: the charter and who signed it, the ledger and that it verifies, and the plan's curve.

Rules: those of pages.py, and
1. The words of a charter are shown to be compared outside this service: a page of the service proves nothing.
2. A partner's officer sees the entries of that partner and of the consortium; the chain is verified whole.
"""

from __future__ import annotations

import math

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, or_, select, true

from aggregator.console.oversight_pages import PageNumber, counted
from aggregator.console.security import ConsoleRoute, SignedIn, TheService
from aggregator.console.standing import standings
from aggregator.console.words import page
from aggregator.rounds import charter as charters
from aggregator.rounds.records import charter_in_force, plan_of
from aggregator.storage.service import stored
from aggregator.storage.tables import AttemptRow, ConfirmationRow, LedgerEntryRow
from privacy.dp.planner import plan_curve
from privacy.errors import NotFound
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter
from privacy.protocol.words import words
from privacy.report.budget_report import INFINITE, CurvePoint, GuaranteeBudget

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)
PAGE = 100


@router.get("/charter")
def charter_page(request: Request, viewer: SignedIn, service: TheService) -> Response:
    with service.database.read() as session:
        standing = charters.latest(session)
    if standing is None:
        raise NotFound("a charter", "none has been drafted", "wait for the operator's draft")
    return page(
        request,
        "charter.html",
        charter=stored(Charter, standing.message).body,
        digest=standing.digest,
        words=words(standing.digest),
        accepted=frozenset(standing.acceptances),
        in_force=standing.in_force,
        signed_in=viewer,
    )


@router.get("/ledger")
def ledger_page(request: Request, viewer: SignedIn, service: TheService, number: PageNumber = "1") -> Response:
    """The newest entries first. Raises LedgerBroken where the chain does not verify."""
    head = standings(request, service).verified()
    with service.database.read() as session:
        within = (
            true()
            if viewer.whole_consortium
            else or_(LedgerEntryRow.participant == viewer.scope, LedgerEntryRow.participant.is_(None))
        )
        total = session.scalar(select(func.count()).select_from(LedgerEntryRow).where(within)) or 0
        pages = max(1, -(-total // PAGE))
        shown = min(max(1, counted(number)), pages)
        rows = session.scalars(
            select(LedgerEntryRow)
            .where(within)
            .order_by(LedgerEntryRow.index.desc())
            .limit(PAGE)
            .offset(PAGE * (shown - 1))
        ).all()
        entries = [(row.digest, LedgerEntry.model_validate_json(row.entry)) for row in rows]
        query = select(ConfirmationRow.partner, func.max(ConfirmationRow.countersigned))
        countersigned = session.execute(
            query.group_by(ConfirmationRow.partner).order_by(ConfirmationRow.partner)
        ).all()
    return page(
        request,
        "ledger.html",
        head=head,
        entries=entries,
        countersigned=countersigned,
        number=shown,
        pages=pages,
        signed_in=viewer,
    )


@router.get("/plan")
def plan_page(request: Request, viewer: SignedIn, service: TheService) -> Response:
    """Epsilon against rounds at the present plan's event, up to all that the charter's table allows of it."""
    with service.database.read() as session:
        digest, charter = charter_in_force(session)
        last = session.scalars(
            select(AttemptRow)
            .where(AttemptRow.charter == digest)
            .order_by(AttemptRow.join_deadline.desc(), AttemptRow.sequence.desc())
            .limit(1)
        ).first()
    event = charter.table[0].event if last is None else plan_of(last).event
    rounds = sum(row.count for row in charter.table if event.fits_row(row.event))
    if event.kind == "none" or rounds < 1:
        raise NotFound("a plan with a bounded epsilon", f"an event of kind {event.kind}", "see the charter's table")
    delta = min(entry.caps.delta for entry in charter.roster)
    points = plan_curve(event, delta, charter.honest, rounds)
    drawn = []
    for name in ("in_sum", "alone"):
        costs = [(point.rounds, getattr(point, f"epsilon_{name}")) for point in points]
        curve = [CurvePoint(charges=0, epsilon=0.0, planned=False)]
        curve += [
            CurvePoint(charges=count, epsilon=INFINITE if math.isinf(cost) else cost, planned=True)
            for count, cost in costs
        ]
        cap = min(getattr(entry.caps, f"epsilon_{name}") for entry in charter.roster)
        drawn.append(
            GuaranteeBudget(
                guarantee="alone" if name == "alone" else "in_sum",
                cap=cap,
                epsilon=0.0,
                without_result=0.0,
                with_reserved=0.0,
                at_start=0.0,
                even_odds=0.5,
                detections=(),
                curve=tuple(curve),
            )
        )
    return page(
        request, "plan.html", event=event, delta=delta, points=points, drawn=drawn, rounds=rounds, signed_in=viewer
    )
