"""Both ledgers side by side, attempt by attempt, for people: what this partner's says, and what the service's does.

ledger_watch.py decides whether they agree; this shows where, also when they do not. Epsilons are under the pinned
charter: what the own ledger has under an earlier one is left out on both sides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from client_sdk.partner import Partner
from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.ledger.entry import CHARGES, BudgetChange


@dataclass(frozen=True)
class AttemptLine:
    """own, service: kind of the last entry on that ledger, None where it has none. end: as the journal has it."""

    round: int
    attempt: int
    plan: str
    row: str
    own: str | None
    service: str | None
    end: str | None

    @property
    def differs(self) -> bool:
        """A reservation that stands or lapsed is on the service's ledger alone, and costs nothing."""
        return (self.own in CHARGES) != (self.service in CHARGES)


def attempt_lines(partner: Partner) -> list[AttemptLine]:
    """Every attempt that either ledger names for this partner, by round and attempt."""
    own = {entry.budget.plan: (entry.kind, entry.budget) for entry in partner.own_ledger.entries if entry.budget}
    theirs = partner.ledger_watch.attempts()
    ends = {record.plan: record.ending for record in partner.journal.records()}
    lines = []
    for plan in {**own, **theirs}:
        change = (own.get(plan) or theirs[plan])[1]
        lines.append(
            AttemptLine(
                change.round,
                change.attempt,
                plan,
                change.row,
                own[plan][0] if plan in own else None,
                theirs[plan][0] if plan in theirs else None,
                ends.get(plan),
            )
        )
    return sorted(lines, key=lambda line: (line.round, line.attempt, line.plan))


def service_epsilons(partner: Partner) -> dict[str, float]:
    """Both epsilons of what the service's ledger charges this partner. Raises AccountingFailed."""
    charter = partner.charter
    earlier = {
        entry.budget.plan
        for entry in partner.own_ledger.entries
        if entry.budget is not None and entry.charter != charter.digest
    }
    charged: list[BudgetChange] = [
        change
        for plan, (kind, change) in partner.ledger_watch.attempts().items()
        if kind in CHARGES and plan not in earlier
    ]
    spent: Counter[PrivacyEvent] = Counter(change.event for change in charged)
    delta = charter.entry(partner.name).caps.delta
    names = {Guarantee.IN_SUM: "in_sum", Guarantee.ALONE: "alone"}
    return {name: epsilon(list(spent.items()), delta, of, charter.honest) for of, name in names.items()}
