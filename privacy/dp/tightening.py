"""Caps that officers tighten: the counts to which a charter's table comes down (protocol 6.4).

Rules:
1. A stop rule on the epsilon spent so far would not be valid where events are chosen adaptively (arXiv 2602.06756):
   so the table itself shrinks, and what it may still hold fits as a whole.
2. What is charged or reserved stays; of the room that is left every row keeps the same share, the largest that
   fits. Charges that no row covers count as they are.
3. Under a Renyi filter counts stay and none is given: the tighter caps lower its bound (decision 13 says what that
   is worth).
"""

from __future__ import annotations

from collections.abc import Mapping

from privacy.dp.accountant import epsilon
from privacy.dp.budget import Budget
from privacy.dp.caps import Caps, filter_of
from privacy.dp.events import Guarantee, TableRow
from privacy.errors import BudgetExhausted


def limited(table: tuple[TableRow, ...], limits: Mapping[str, int]) -> tuple[TableRow, ...]:
    """The table with the counts that a tightened cap has left of it; a limit never adds room."""
    return tuple(
        row.model_copy(update={"count": min(row.count, limits[row.name])}) if row.name in limits else row
        for row in table
    )


def tighten(budget: Budget, caps: Caps, honest: int) -> dict[str, int]:
    """The counts to which a budget's rows come down so that all of them together fit tighter caps.

    Raises BudgetExhausted where what is taken costs more than the caps already.
    """
    if budget.renyi is not None:
        if not filter_of(budget.renyi.order, caps, honest).has_room(budget.held()):
            raise _too_tight(caps)
        return {}
    taken = {row.name: budget.taken(row.name) for row in budget.table}
    recovered = [(held.event, 1) for held in budget.holdings.values() if held.row is None]
    free = {row.name: max(0, row.count - taken[row.name]) for row in budget.table}
    room = sum(free.values())

    def counts(share: int) -> dict[str, int]:
        return {name: taken[name] + free[name] * share // max(1, room) for name in taken}

    def fits(share: int) -> bool:
        left = counts(share)
        rows = [(row.event, left[row.name]) for row in budget.table if row.event.kind != "none"]
        return all(
            epsilon((*rows, *recovered), caps.delta, guarantee, honest) <= caps.epsilon_for(guarantee)
            for guarantee in Guarantee
        )

    if not fits(0):
        raise _too_tight(caps)
    low, high = 0, room + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return counts(low)


def _too_tight(caps: Caps) -> BudgetExhausted:
    return BudgetExhausted(
        f"charges and reservations within {caps.epsilon_in_sum} in the sum and {caps.epsilon_alone} alone",
        "more than that",
        "nothing charged is given back: suspend the participant, or choose a cap above what is spent",
    )
