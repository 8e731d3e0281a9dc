"""What one participant's page shows: its budget here and over its lifetime, its entries, and who stopped it.

Rules:
1. Whoever has another scope is told that there is no such participant.
2. Figures are privacy.report's, so that the page and a report made at the same moment agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.console.standing import Standings, forecast, in_effect, outcomes_of, present_event
from aggregator.console.statements import LedgersBeside, Statement, ledgers_beside, signed_statements
from aggregator.rounds.records import charter_in_force, charter_of
from aggregator.storage import alarms, oversight
from aggregator.storage.alarms import Alarm
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer
from aggregator.storage.tables import LedgerEntryRow, SuspensionRow
from privacy.errors import NotFound
from privacy.ledger.entry import CHARGES, LedgerEntry
from privacy.report.budget_report import ParticipantBudget, Spent
from privacy.report.lifetime import spent
from privacy.report.participant_figures import participant_budget

RECENT_ALARMS = 12
RECENT_ENTRIES = 200


@dataclass(frozen=True)
class ParticipantPage:
    """entries: the newest first. costs: of those that charged, by index: what each cost by itself.

    forecast: when the table is used up if charges keep their pace, seconds since 1970; None if that says nothing.
    """

    budget: ParticipantBudget
    statements: tuple[Statement, ...]
    beside: LedgersBeside
    privacy_unit: str
    entries: tuple[LedgerEntry, ...]
    costs: Mapping[int, Spent]
    alarms: tuple[Alarm, ...]
    names: Mapping[str, str]
    suspension: SuspensionRow | None
    below_n_min: bool
    n_min: int
    forecast: int | None


def participant_page(service: Service, standings: Standings, viewer: Viewer, partner: str) -> ParticipantPage:
    """Raises NotFound beyond the viewer's scope, WrongState, AccountingFailed."""
    with service.database.read() as session:
        digest, charter = charter_in_force(session)
        if not viewer.may_see(partner) or partner not in charter.partners:
            raise NotFound("a participant of your scope", partner[:64], "open the overview")
        present = present_event(session, digest)
        own = in_effect(session, digest, charter, partner)
        with standings.followed(session, digest) as tally:
            followed = tally.participant(partner)
            outcomes = outcomes_of(session, digest)
            budget = participant_budget(charter, partner, followed, outcomes, present, bound=own, curve=True)
            used_up = forecast(budget, followed.charges, service.now())
        lifetime = standings.lifetime(session, digest, partner)
        statements = signed_statements(session, partner)
        beside = ledgers_beside(session, partner)
        entries = session.scalars(
            select(LedgerEntryRow.entry)
            .where(LedgerEntryRow.participant == partner)
            .order_by(LedgerEntryRow.index.desc())
            .limit(RECENT_ENTRIES)
        ).all()
        newest = tuple(LedgerEntry.model_validate_json(entry) for entry in entries)
        costs = {entry.index: cost for entry in newest if (cost := _cost(session, partner, entry)) is not None}
        stopped = oversight.suspended(session)
        row = oversight.suspension(session, partner)
        raised = alarms.alarms(session, partner, RECENT_ALARMS)
    return ParticipantPage(
        budget=budget.model_copy(update={"lifetime": lifetime}),
        statements=statements,
        beside=beside,
        privacy_unit=charter.privacy_unit,
        entries=newest,
        costs=costs,
        alarms=tuple(alarm for alarm in raised if alarm.participant == partner),
        names={one.partner: one.name for one in charter.roster},
        suspension=row,
        below_n_min=len(set(charter.partners) - stopped - {partner}) < charter.n_min,
        n_min=charter.n_min,
        forecast=used_up,
    )


def _cost(session: Session, partner: str, entry: LedgerEntry) -> Spent | None:
    if entry.budget is None or entry.kind not in CHARGES:
        return None
    charter = charter_of(session, entry.charter)
    return spent(Counter([entry.budget.event]), charter.entry(partner).caps.delta, charter.honest)
