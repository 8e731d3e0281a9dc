"""What a participant accepts at most, and which table or filter of a charter keeps to it.

Rules (protocol 6.1, 6.4):
1. A table is acceptable if the PLD of all its rows together fits both caps; then any adaptive order of its
   events does (arXiv 2207.08335).
2. A charter with a Renyi filter instead need not hold that: its rows say what an event may be at most, each count
   is a ceiling, and the filter refuses what would pass a cap (renyi.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, TableRow
from privacy.dp.renyi import RenyiFilter
from privacy.errors import UnsafeParameters


class Caps(BaseModel):
    """The most epsilon, at `delta`, that a participant accepts under each guarantee (protocol 6.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epsilon_alone: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    epsilon_in_sum: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]

    def epsilon_for(self, guarantee: Guarantee) -> float:
        return self.epsilon_alone if guarantee is Guarantee.ALONE else self.epsilon_in_sum


MAX_TABLE_STEPS: Final = 200_000
"""Far more than campaigns run. Unbounded, a charter with little noise keeps whoever checks it busy for hours."""


def check_table(table: Sequence[TableRow], caps: Caps, honest: int) -> None:
    """Rule 1. Rows of kind *none* claim nothing and are left out: whether they may stand is the charter's word.

    honest: h = n_min - c. Raises UnsafeParameters, or AccountingFailed.
    """
    if len({row.name for row in table}) != len(table):
        raise UnsafeParameters("rows with names of their own", "a name that stands twice", "rename one of them")
    rows = [(row.event, row.count) for row in table if row.event.kind != "none"]
    steps = sum(event.steps * count for event, count in rows)
    if steps > MAX_TABLE_STEPS:
        raise UnsafeParameters(
            f"a table of at most {MAX_TABLE_STEPS:,} sampled Gaussians in all",
            f"{steps:,}",
            "lower counts or steps: what no campaign runs need not be allowed",
        )
    for guarantee in Guarantee:
        cost = epsilon(rows, caps.delta, guarantee, honest)
        cap = caps.epsilon_for(guarantee)
        if cost > cap:
            raise UnsafeParameters(
                f"a table of epsilon at most {cap} ({guarantee.value}) at delta {caps.delta}",
                f"epsilon {cost:.4f}",
                "lower counts or sampling rates, raise noise multipliers, or agree on another cap",
            )


def filter_of(order: int, caps: Caps, honest: int) -> RenyiFilter:
    """The filter of these caps. Raises UnsafeParameters where this order leaves one of them no room at all."""
    epsilons = {guarantee: caps.epsilon_for(guarantee) for guarantee in Guarantee}
    return RenyiFilter.of_caps(order, epsilons, caps.delta, honest)


def check_filter(table: Sequence[TableRow], order: int, caps: Caps, honest: int) -> None:
    """Rule 2: that each row could happen, once at least. Raises UnsafeParameters."""
    renyi = filter_of(order, caps, honest)
    for row in table:
        if not renyi.room_for((), row.event):
            raise UnsafeParameters(
                f"rows that fit the filter of order {order} once, for epsilon {caps.epsilon_in_sum:g} in the sum"
                f" and {caps.epsilon_alone:g} alone at delta {caps.delta:g}",
                f"row {row.name}, {row.event.described}",
                "raise its noise, or agree on other caps or another order",
            )
