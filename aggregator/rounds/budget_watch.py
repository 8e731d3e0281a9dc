"""Says in time that a budget is running out: an alarm at each of MARKS, for each guarantee of each participant.

The caps are those in effect: one that officers tighten is marked anew. A row or a filter may end before a cap does:
so the rounds that they allow are marked too.

Rules:
1. It looks every LOOK_SECONDS, beside the rounds and never within their transactions: an epsilon costs tens of
   milliseconds.
2. It looks again once STEP of the charter's table has been charged since the last look, so a long campaign does not
   pay for an epsilon at every round. The figure is the ledger's own; figures.py remembers it for the console.
3. A failing accountant stops no round: the log has it, and joins still obey the table.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds.records import charter_in_force
from aggregator.storage import ledger, oversight
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.service import Service
from aggregator.storage.tables import HoldingRow
from privacy.dp.budget import Budget, HoldingState
from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import WrongState
from privacy.protocol.messages import Charter
from privacy.report import figures

MARKS = (80, 95)
"""Percent of a cap."""
STEP = 0.02
FEW_ROUNDS = 20
"""A row of fewer is for single events, such as an audit: that it is used up is no warning."""
LOOK_SECONDS = 20.0

_log = structlog.get_logger("chorale.budgets")


class BudgetWatch:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._seen: dict[tuple[str, str, Caps], int] = {}
        self._head = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # noqa: BLE001 - rule 3
                _log.exception("budget-watch-failed")

    def look(self) -> None:
        """Raise what is due. Raises AccountingFailed."""
        with self._service.database.read() as session:
            head = ledger.head(session).head
            if head == self._head:
                return
            try:
                digest, charter = charter_in_force(session)
            except WrongState:
                return
            caps = {
                name: oversight.caps(session, digest, name) or charter.entry(name).caps for name in charter.partners
            }
            due = self._due(session, digest, charter, caps)
            budgets = {name: ledger.budget(session, charter, digest, name) for name in due}
        for participant, spent in due.items():
            self._compare(digest, charter, participant, figures.counts(spent.elements()), caps[participant])
            self._count(digest, participant, budgets[participant])
            self._seen[(digest, participant, caps[participant])] = spent.total()
        self._head = head

    def _due(
        self, session: Session, digest: str, charter: Charter, caps: Mapping[str, Caps]
    ) -> dict[str, Counter[PrivacyEvent]]:
        charged: dict[str, Counter[PrivacyEvent]] = {}
        query = (
            select(HoldingRow.participant, HoldingRow.event, func.count())
            .where(HoldingRow.charter == digest, HoldingRow.state == HoldingState.CHARGED.value)
            .group_by(HoldingRow.participant, HoldingRow.event)
        )
        for participant, event, count in session.execute(query):
            charged.setdefault(participant, Counter())[PrivacyEvent.model_validate_json(event)] += count
        total = sum(row.count for row in charter.table)
        step = max(1, math.floor(STEP * total))
        seen = {name: self._seen.get((digest, name, caps[name]), 0) for name in charged}
        return {
            participant: spent
            for participant, spent in charged.items()
            if spent.total() >= seen[participant] + step
            or (spent.total() >= total and seen[participant] != spent.total())
        }

    def _compare(self, digest: str, charter: Charter, participant: str, spent: figures.Counts, caps: Caps) -> None:
        for guarantee in Guarantee:
            epsilon = figures.epsilon(spent, caps.delta, guarantee, charter.honest)
            cap = caps.epsilon_for(guarantee)
            passed = [mark for mark in MARKS if epsilon >= cap * mark / 100]
            if math.isinf(epsilon) or not passed:
                continue  # a cap claims nothing about events of kind none; the pages show them in red
            with self._service.database.write() as session:
                for mark in passed:
                    detail = {
                        "charter": digest,
                        "guarantee": guarantee.value,
                        "percent": mark,
                        "epsilon": round(epsilon, 4),
                        "cap": cap,
                    }
                    raise_alarm(session, "budget_nearly_spent", participant, detail, self._service.now())

    def _count(self, digest: str, participant: str, budget: Budget) -> None:
        for row in budget.table:
            taken, left = budget.taken(row.name), budget.remaining(row.name)
            rounds = taken + left
            passed = [mark for mark in MARKS if rounds >= FEW_ROUNDS and 100 * taken >= rounds * mark]
            if not passed:
                continue
            with self._service.database.write() as session:
                for mark in passed:
                    detail: dict[str, str | int] = {"charter": digest, "row": row.name, "percent": mark}
                    detail |= {"rounds": rounds, "left": left}
                    raise_alarm(session, "rounds_nearly_used", participant, detail, self._service.now())
