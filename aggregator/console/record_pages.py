"""The pages of record: the charter and who signed it, the ledger and that it verifies, and the plan's curve.

Rules: those of pages.py, and
1. The words of a charter are shown to be compared outside this service: a page of the service proves nothing.
2. A partner's officer sees the entries of that partner and of the consortium; the chain is verified whole.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, or_, select, true

from aggregator.console.oversight_pages import PageNumber, counted
from aggregator.console.plan_page import plan_page
from aggregator.console.security import ConsoleRoute, SignedIn, TheService
from aggregator.console.standing import standings
from aggregator.console.words import page
from aggregator.rounds import charter as charters
from aggregator.storage.service import stored
from aggregator.storage.tables import ConfirmationRow, LedgerEntryRow
from privacy.errors import NotFound
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter
from privacy.protocol.words import words

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
def the_plan(request: Request, viewer: SignedIn, service: TheService) -> Response:
    shown = plan_page(service, standings(request, service), viewer)
    return page(request, "plan.html", shown=shown, signed_in=viewer)
