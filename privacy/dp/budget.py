"""A participant's budget: what may be reserved, charged and lapsed against the charter's table.

Rules (protocol 6.4):
1. An attempt holds at most one row, the first in the table's order that covers its event and has room;
   reserved and charged attempts both take room, in the row and in the filter.
2. Moves: nothing -> reserved -> charged, reserved -> lapsed (the attempt closed without a cohort). Each move
   may be repeated and then changes nothing. Nothing charged is ever given back; a lapsed attempt is never
   reserved again.
3. What a chain proves to have happened is *recovered*: charged without a reservation, and even beyond the
   table, for spent is the larger of both chains.
caps.py says which table and filter a charter may have, tightening.py to what counts a tightened cap brings it down.
Pure: it stores nothing and signs nothing; the ledger does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from privacy.dp.events import PrivacyEvent, TableRow
from privacy.dp.renyi import RenyiFilter
from privacy.errors import BudgetExhausted, Conflict, UnsafeParameters, WrongState


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
                f"{self._where()} with room for {event.described}",
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
        """Charge what another chain proves (rule 3), room or not. Raises Conflict on another event."""
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
                f"the event that attempt {attempt} holds: {held.event.described}",
                event.described,
                "an attempt has one plan and one event: do not go on with this plan",
            )

    def _with(self, attempt: str, holding: Holding) -> Budget:
        return Budget(self.table, MappingProxyType({**self.holdings, attempt: holding}), self.renyi)


def _lapsed(attempt: str) -> WrongState:
    return WrongState(
        "an attempt that is open",
        f"attempt {attempt}, which closed without a cohort",
        "wait for the next attempt",
    )
