"""The date by which a participant's rounds are used up, at its pace."""

from __future__ import annotations

import pytest

from aggregator.console.standing import forecast
from privacy.ledger.entry import BudgetChange
from privacy.report.tally import Charge
from tests.privacy.ledger.chains import plan_digest
from tests.privacy.report.reports import EVENT, report

HOUR = 3600


def charges(*hours: int) -> list[Charge]:
    change = BudgetChange(
        plan=plan_digest(1), round=1, attempt=1, event=EVENT, row="training", charged=1, reserved=0
    )
    return [Charge(index, hour * HOUR, change, recovered=False) for index, hour in enumerate(hours, start=1)]


@pytest.mark.parametrize(
    ("hours", "now", "due"),
    [
        ((0, 2, 4), 4, 4 + 2 * 10),  # two hours a charge
        ((0, 2, 4), 5, 5 + 2 * 10),  # the next is not late yet
        ((0, 2, 4), 12, 12 + 4 * 10),  # three in twelve hours: idle time slows the pace
    ],
)
def test_the_pace_is_that_of_charges_and_slows_while_none_come(hours: tuple[int, ...], now: int, due: int) -> None:
    budget = report().participants[0].model_copy(update={"rounds_left": 10})
    assert forecast(budget, charges(*hours), now * HOUR) == due * HOUR


def test_there_is_no_date_without_a_pace_or_an_end() -> None:
    budget = report().participants[0]
    assert forecast(budget.model_copy(update={"rounds_left": 10}), charges(1), HOUR) is None
    assert forecast(budget.model_copy(update={"rounds_left": None}), charges(1, 2), HOUR) is None
