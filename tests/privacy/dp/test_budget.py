"""Budget rules: a stateful test against a plain model, and each refusal by itself."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from privacy.dp.budget import Budget, HoldingState
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import BudgetExhausted, Conflict, UnsafeParameters, WrongState


def training(z: float, gamma: float = 0.1) -> PrivacyEvent:
    return PrivacyEvent(kind="distributed", noise_multiplier=z, sampling_rate=gamma)


STATISTICS = PrivacyEvent(kind="statistics", noise_multiplier=8.0, sampling_rate=1.0)
TABLE = (
    TableRow(name="a-strong", event=training(2.0), count=3),
    TableRow(name="b-weak", event=training(1.0), count=2),
    TableRow(name="c-counts", event=STATISTICS, count=1),
)
EVENTS = [training(2.5), training(2.0, 0.05), training(1.5), training(1.0), training(0.5), STATISTICS]
ATTEMPTS = [f"{i:064x}" for i in range(9)]


class BudgetAgainstAModel(RuleBasedStateMachine):
    """The model: a list of (attempt, event, row, state), read from the start at each question."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(TABLE)
        self.model: dict[str, list[object]] = {}
        self.charged: dict[str, PrivacyEvent] = {}

    def free(self, event: PrivacyEvent, *, with_room: bool) -> int | None:
        for index, row in enumerate(TABLE):
            taken = sum(1 for _, r, s in self.model.values() if r == index and s != "lapsed")
            if event.fits_row(row.event) and (taken < row.count or not with_room):
                return index
        return None

    def passed(self) -> bool:
        rows = [row for _, row, state in self.model.values() if state != "lapsed"]
        return None in rows or any(rows.count(index) > row.count for index, row in enumerate(TABLE))

    @rule(attempt=st.sampled_from(ATTEMPTS), event=st.sampled_from(EVENTS))
    def reserve(self, attempt: str, event: PrivacyEvent) -> None:
        held = self.model.get(attempt)
        row = None if self.passed() else self.free(event, with_room=True)
        if held is not None and held[0] != event:
            with pytest.raises(Conflict):
                self.budget.reserve(attempt, event)
        elif held is not None and held[2] == "lapsed":
            with pytest.raises(WrongState):
                self.budget.reserve(attempt, event)
        elif held is not None:
            assert self.budget.reserve(attempt, event) == self.budget
        elif row is None:
            with pytest.raises(BudgetExhausted):
                self.budget.reserve(attempt, event)
        else:
            self.budget = self.budget.reserve(attempt, event)
            self.model[attempt] = [event, row, "reserved"]

    @rule(attempt=st.sampled_from(ATTEMPTS))
    def charge(self, attempt: str) -> None:
        held = self.model.get(attempt)
        if held is None or held[2] == "lapsed":
            with pytest.raises(WrongState):
                self.budget.charge(attempt)
        else:
            self.budget = self.budget.charge(attempt)
            held[2] = "charged"
            self.charged[attempt] = held[0]  # type: ignore[assignment]

    @rule(attempt=st.sampled_from(ATTEMPTS))
    def lapse(self, attempt: str) -> None:
        held = self.model.get(attempt)
        if held is not None and held[2] == "charged":
            with pytest.raises(WrongState):
                self.budget.lapse(attempt)
        else:
            self.budget = self.budget.lapse(attempt)
            if held is not None:
                held[2] = "lapsed"

    @rule(attempt=st.sampled_from(ATTEMPTS), event=st.sampled_from(EVENTS))
    def recover(self, attempt: str, event: PrivacyEvent) -> None:
        held = self.model.get(attempt)
        if held is not None and held[0] != event:
            with pytest.raises(Conflict):
                self.budget.charge_recovered(attempt, event)
            return
        self.budget = self.budget.charge_recovered(attempt, event)
        if held is not None and held[2] != "lapsed":
            held[2] = "charged"
        else:
            row = self.free(event, with_room=True)
            row = row if row is not None else self.free(event, with_room=False)
            self.model[attempt] = [event, row, "charged"]
        self.charged[attempt] = event

    @invariant()
    def spent_is_what_was_ever_charged(self) -> None:
        counts: dict[PrivacyEvent, int] = {}
        for event in self.charged.values():
            counts[event] = counts.get(event, 0) + 1
        assert dict(self.budget.spent()) == counts

    @invariant()
    def room_is_what_the_model_has(self) -> None:
        for index, row in enumerate(TABLE):
            taken = sum(1 for _, r, s in self.model.values() if r == index and s != "lapsed")
            assert self.budget.remaining(row.name) == (0 if self.passed() else row.count - taken)


BudgetAgainstAModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBudgetAgainstAModel = BudgetAgainstAModel.TestCase


def test_moves_return_new_budgets_and_leave_the_old_one() -> None:
    empty = Budget(TABLE)
    reserved = empty.reserve(ATTEMPTS[0], training(2.0))
    assert not empty.holdings
    assert reserved.holdings[ATTEMPTS[0]].state is HoldingState.RESERVED
    with pytest.raises(TypeError):
        reserved.holdings[ATTEMPTS[1]] = reserved.holdings[ATTEMPTS[0]]  # type: ignore[index]


def test_a_strong_event_overflows_into_a_weak_row_never_the_reverse() -> None:
    budget = Budget(TABLE)
    for attempt in ATTEMPTS[:5]:
        budget = budget.reserve(attempt, training(2.0)).charge(attempt)
    with pytest.raises(BudgetExhausted, match="a-strong"):
        budget.reserve(ATTEMPTS[5], training(2.0))
    weak = Budget(TABLE).reserve(ATTEMPTS[0], training(1.0)).reserve(ATTEMPTS[1], training(1.0))
    with pytest.raises(BudgetExhausted):
        weak.reserve(ATTEMPTS[2], training(1.0))
    assert weak.remaining("a-strong") == 3


def test_a_row_that_is_not_in_the_table() -> None:
    with pytest.raises(UnsafeParameters):
        Budget(TABLE).remaining("z")
