"""This partner's own chain of charges (protocol 6.4): written when it accepts a cohort, before it trains.

Rules:
1. The chain is verified whole when the folder is opened.
2. Spent is the larger of both chains: a charge that only the service's chain proves is *recovered* here.
3. Nothing charged is ever given back.
"""

from __future__ import annotations

from collections.abc import Iterable

from client_sdk.journal import Journal, append_own
from privacy.dp.budget import Budget
from privacy.errors import LedgerBroken
from privacy.ledger.chain import BudgetMove, ChainVerifier, next_budget_entry
from privacy.ledger.entry import NO_ROW, BudgetChange, LedgerEntry
from privacy.protocol.messages import ChainHead, Charter, Plan


class OwnLedger:
    """The chain in one journal. Raises LedgerBroken if it does not verify."""

    def __init__(self, journal: Journal, partner: str) -> None:
        self._journal = journal
        self._partner = partner
        self._verifier = ChainVerifier(own=True)
        self._entries: list[LedgerEntry] = []
        for line in self.lines():
            self._entries.append(self._verifier.add_line(line))

    def lines(self) -> list[bytes]:
        """The chain as JSON Lines without line ends, for export and offline verification."""
        rows = self._journal.query("SELECT entry FROM own_ledger ORDER BY place")
        return [row[0] for row in rows]

    @property
    def head(self) -> ChainHead:
        return self._verifier.head

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        return tuple(self._entries)

    def charges(self) -> dict[str, BudgetChange]:
        """Charged attempts by R."""
        return {entry.budget.plan: entry.budget for entry in self._entries if entry.budget is not None}

    def charter_of(self, plan: str) -> str | None:
        """The digest of the charter under which an attempt is charged here."""
        return self._verifier.totals.charters.get(plan)

    def budget(self, charter: Charter) -> Budget:
        """What this chain holds against the table, and the filter, of one charter."""
        budget = Budget(charter.table, renyi=charter.filter_for(self._partner))
        for entry in self._entries:
            if entry.budget is not None and entry.charter == charter.digest:
                budget = budget.charge_recovered(entry.budget.plan, entry.budget.event)
        return budget

    def next_charge(self, plan: Plan, charter: Charter, at: int) -> LedgerEntry | None:
        """The entry that charges this plan, not yet written; None if it is charged already.

        Raises BudgetExhausted.
        """
        if plan.digest in self.charges():
            return None
        holding = self.budget(charter).reserve(plan.digest, plan.event).holdings[plan.digest]
        assert holding.row is not None  # reserve always finds a row, or raises
        move = BudgetMove.of_plan("charge", self._partner, plan, charter.table[holding.row].name)
        return self._entry(move, charter.digest, at, "")

    def written(self, entry: LedgerEntry | None) -> None:
        """Take up what the journal has just committed."""
        if entry is not None:
            self._take(entry)

    def recover(self, changes: Iterable[tuple[Charter, BudgetChange]], at: int) -> None:
        """Rule 2: append charges that the service's chain proves, each under its charter, room or not."""
        for charter, change in changes:
            rows = {row.name for row in charter.table}
            if change.row not in rows and change.row != NO_ROW:
                raise LedgerBroken(
                    self.head.count + 1,
                    f"a charge in one of the rows {', '.join(sorted(rows))}",
                    change.row,
                    "raise the alarm: the service's ledger charges what the charter does not know",
                )
            move = BudgetMove(
                "recovered", self._partner, change.plan, change.round, change.attempt, change.event, change.row
            )
            entry = self._entry(move, charter.digest, at, "the service's ledger proves this charge")
            with self._journal.transaction("charge recovered") as database:
                append_own(database, change.plan, entry)
            self._take(entry)

    def _entry(self, move: BudgetMove, charter: str, at: int, reason: str) -> LedgerEntry:
        before = self._verifier.totals.row(charter, self._partner, move.row)
        return next_budget_entry(self.head, charter, at, move, before, held=False, reason=reason)

    def _take(self, entry: LedgerEntry) -> None:
        self._verifier.add(entry)
        self._entries.append(entry)
