"""The rules of a participant's budget: what may be reserved, charged and lapsed against the charter's table.

Rules (protocol 6.4):
1. A table is acceptable if the PLD of all its rows together fits both caps; then any adaptive order of its
   events does (arXiv 2207.08335). A charter with a Renyi filter instead need not hold that: its rows say what an
   event may be at most, each count is a ceiling, and the filter refuses what would pass a cap (renyi.py).
2. An attempt holds at most one row, the first in the table's order that covers its event and has room;
   reserved and charged attempts both take room, in the row and in the filter.
3. Moves: nothing -> reserved -> charged, reserved -> lapsed (the attempt closed without a cohort). Each move
   may be repeated and then changes nothing. Nothing charged is ever given back; a lapsed attempt is never
   reserved again.
4. What a chain proves to have happened is *recovered*: charged without a reservation, and even beyond the
   table, for spent is the larger of both chains.
Pure: it stores nothing and signs nothing; the ledger does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent, TableRow
from privacy.dp.renyi import RenyiFilter
from privacy.errors import BudgetExhausted, Conflict, UnsafeParameters, WrongState


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


def limited(table: tuple[TableRow, ...], limits: Mapping[str, int]) -> tuple[TableRow, ...]:
    """The table with the counts that a tightened cap has left of it; a limit never adds room."""
    return tuple(
        row.model_copy(update={"count": min(row.count, limits[row.name])}) if row.name in limits else row
        for row in table
    )


def tighten(budget: Budget, caps: Caps, honest: int) -> dict[str, int]:
    """The counts to which a budget's rows come down so that all of them together fit tighter caps.

    A stop rule on the epsilon spent so far would not be valid where events are chosen adaptively (arXiv
    2602.06756): so the table itself shrinks, and what it may still hold fits as a whole. What is charged or
    reserved stays; of the room that is left every row keeps the same share, the largest that fits. Charges that no
    row covers count as they are. Under a Renyi filter counts stay and none is given: the tighter caps lower its
    bound (decision 13 says what that is worth). Raises BudgetExhausted where what is taken costs more than the caps
    already.
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


def filter_of(order: int, caps: Caps, honest: int) -> RenyiFilter:
    """The filter of these caps. Raises UnsafeParameters where this order leaves one of them no room at all."""
    epsilons = {guarantee: caps.epsilon_for(guarantee) for guarantee in Guarantee}
    return RenyiFilter.of_caps(order, epsilons, caps.delta, honest)


def check_filter(table: Sequence[TableRow], order: int, caps: Caps, honest: int) -> None:
    """Rule 1, for a charter with a filter: that each row could happen, once at least. Raises UnsafeParameters."""
    renyi = filter_of(order, caps, honest)
    for row in table:
        if not renyi.room_for((), row.event):
            raise UnsafeParameters(
                f"rows that fit the filter of order {order} once, for epsilon {caps.epsilon_in_sum:g} in the sum"
                f" and {caps.epsilon_alone:g} alone at delta {caps.delta:g}",
                f"row {row.name}, {_words(row.event)}",
                "raise its noise, or agree on other caps or another order",
            )


class HoldingState(Enum):
    RESERVED = "reserved"
    CHARGED = "charged"
    LAPSED = "lapsed"


@dataclass(frozen=True)
class Holding:
    """An attempt's place in the budget. `row`: index into the table; None: recovered, no row covers it."""

    event: PrivacyEvent
    row: int | None
    state: HoldingState


@dataclass(frozen=True)
class Budget:
    """One participant's budget under one charter; every move returns a new one.

    holdings: by attempt, the round digest R in hex.
    """

    table: tuple[TableRow, ...]
    holdings: Mapping[str, Holding] = field(default_factory=lambda: MappingProxyType({}))
    renyi: RenyiFilter | None = None

    def reserve(self, attempt: str, event: PrivacyEvent) -> Budget:
        """Take room for `event`. Raises BudgetExhausted; Conflict or WrongState on a used attempt."""
        held = self.holdings.get(attempt)
        if held is not None:
            self._same_event(attempt, held, event)
            if held.state is HoldingState.LAPSED:
                raise _lapsed(attempt)
            return self
        row = self._row_with_room(event)
        if row is None:
            raise BudgetExhausted(
                f"{self._where()} with room for {_words(event)}",
                f"remaining {[(r.name, self.remaining(r.name)) for r in self.table]}",
                "plan a weaker event, or sign a charter for a new epoch",
            )
        return self._with(attempt, Holding(event, row, HoldingState.RESERVED))

    def charge(self, attempt: str) -> Budget:
        """The cohort is published: the reservation is charged for good. Raises WrongState without one."""
        held = self.holdings.get(attempt)
        if held is None:
            raise WrongState("a reservation to charge", f"none for attempt {attempt}", "reserve at the join first")
        if held.state is HoldingState.LAPSED:
            raise _lapsed(attempt)
        if held.state is HoldingState.CHARGED:
            return self
        return self._with(attempt, Holding(held.event, held.row, HoldingState.CHARGED))

    def lapse(self, attempt: str) -> Budget:
        """The attempt closed without a cohort: its room is free again. Raises WrongState if it is charged."""
        held = self.holdings.get(attempt)
        if held is None or held.state is HoldingState.LAPSED:
            return self
        if held.state is HoldingState.CHARGED:
            raise WrongState(
                "a reservation",
                f"attempt {attempt} is charged",
                "leave it: nothing charged is ever given back",
            )
        return self._with(attempt, Holding(held.event, held.row, HoldingState.LAPSED))

    def charge_recovered(self, attempt: str, event: PrivacyEvent) -> Budget:
        """Charge what another chain proves (rule 4), room or not. Raises Conflict on another event."""
        held = self.holdings.get(attempt)
        if held is not None:
            self._same_event(attempt, held, event)
            if held.state is HoldingState.CHARGED:
                return self
            if held.state is HoldingState.RESERVED:
                return self.charge(attempt)
        row = self._row_with_room(event)
        if row is None:
            row = next((i for i, candidate in enumerate(self.table) if event.fits_row(candidate.event)), None)
        return self._with(attempt, Holding(event, row, HoldingState.CHARGED))

    def spent(self) -> tuple[tuple[PrivacyEvent, int], ...]:
        """Charged events and their counts, in the order of their first charge: what the accountant reads."""
        return self._counts(HoldingState.CHARGED)

    def remaining(self, row: str) -> int:
        """How many more events of this row fit, reservations used up; 0 also where recovery passed a limit."""
        index = self._index(row)
        left = max(0, self.table[index].count - self._taken(index))
        if self.renyi is None:
            return 0 if self.passed else left
        return min(left, self.renyi.room_for(self.held(), self.table[index].event))

    @property
    def passed(self) -> bool:
        """Recovery charged what the table did not foresee: its counts no longer add up to what fits the caps."""
        taken = [held.row for held in self.holdings.values() if held.state is not HoldingState.LAPSED]
        return None in taken or any(taken.count(index) > row.count for index, row in enumerate(self.table))

    def taken(self, row: str) -> int:
        """Reserved and charged in the row of this name; above its count where recovery passed it."""
        return self._taken(self._index(row))

    def _index(self, row: str) -> int:
        for index, candidate in enumerate(self.table):
            if candidate.name == row:
                return index
        raise UnsafeParameters(
            f"one of the rows {[r.name for r in self.table]}", repr(row), "name a row of this charter's table"
        )

    def _taken(self, index: int) -> int:
        return sum(
            1 for held in self.holdings.values() if held.row == index and held.state is not HoldingState.LAPSED
        )

    def held(self) -> tuple[tuple[PrivacyEvent, int], ...]:
        """What took place or may yet: a reservation's event counts until it lapses."""
        return self._counts(HoldingState.CHARGED, HoldingState.RESERVED)

    def _counts(self, *states: HoldingState) -> tuple[tuple[PrivacyEvent, int], ...]:
        counts: dict[PrivacyEvent, int] = {}
        for held in self.holdings.values():
            if held.state in states:
                counts[held.event] = counts.get(held.event, 0) + 1
        return tuple(counts.items())

    def _where(self) -> str:
        if self.renyi is None:
            return "a row of the charter's table"
        return f"a row of the charter's table, and a filter of order {self.renyi.order},"

    def _row_with_room(self, event: PrivacyEvent) -> int | None:
        if self.passed if self.renyi is None else not self.renyi.has_room((*self.held(), (event, 1))):
            return None
        for index, row in enumerate(self.table):
            if event.fits_row(row.event) and self._taken(index) < row.count:
                return index
        return None

    def _same_event(self, attempt: str, held: Holding, event: PrivacyEvent) -> None:
        if held.event != event:
            raise Conflict(
                f"the event that attempt {attempt} holds: {_words(held.event)}",
                _words(event),
                "an attempt has one plan and one event: do not go on with this plan",
            )

    def _with(self, attempt: str, holding: Holding) -> Budget:
        return Budget(self.table, MappingProxyType({**self.holdings, attempt: holding}), self.renyi)


def _too_tight(caps: Caps) -> BudgetExhausted:
    return BudgetExhausted(
        f"charges and reservations within {caps.epsilon_in_sum} in the sum and {caps.epsilon_alone} alone",
        "more than that",
        "nothing charged is given back: suspend the participant, or choose a cap above what is spent",
    )


def _lapsed(attempt: str) -> WrongState:
    return WrongState(
        "an attempt that is open",
        f"attempt {attempt}, which closed without a cohort",
        "wait for the next attempt",
    )


def _words(event: PrivacyEvent) -> str:
    return (
        f"{event.kind}, noise multiplier {event.noise_multiplier}, sampling rate {event.sampling_rate},"
        f" {event.steps} step(s)"
    )
