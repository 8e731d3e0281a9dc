"""A tightened cap: what it leaves fits, takes nothing back, and could not be more."""

from __future__ import annotations

import pytest

from privacy.dp.accountant import epsilon
from privacy.dp.budget import Budget
from privacy.dp.caps import Caps, filter_of
from privacy.dp.events import Guarantee, PrivacyEvent, TableRow
from privacy.dp.tightening import limited, tighten
from privacy.errors import BudgetExhausted

HONEST = 4
STRONG = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=0.05)
WEAK = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.05)
TABLE = (TableRow(name="strong", event=STRONG, count=40), TableRow(name="weak", event=WEAK, count=20))
WIDE = Caps(epsilon_alone=500.0, epsilon_in_sum=20.0, delta=1e-5)
TIGHT = Caps(epsilon_alone=60.0, epsilon_in_sum=1.6, delta=1e-5)


def spent(weak: int) -> Budget:
    budget = Budget(TABLE)
    for number in range(weak):
        budget = budget.reserve(f"{number:064x}", WEAK).charge(f"{number:064x}")
    return budget


def cost(counts: dict[str, int]) -> float:
    return epsilon(((STRONG, counts["strong"]), (WEAK, counts["weak"])), 1e-5, Guarantee.IN_SUM, HONEST)


def test_what_is_left_fits_and_one_more_of_each_row_would_not() -> None:
    left = tighten(spent(3), TIGHT, HONEST)
    assert left["weak"] >= 3
    assert left["strong"] < 40
    assert cost(left) <= TIGHT.epsilon_in_sum
    assert cost({name: count + 1 for name, count in left.items()}) > TIGHT.epsilon_in_sum


def test_caps_that_are_wide_enough_take_nothing() -> None:
    assert tighten(spent(3), WIDE, HONEST) == {"strong": 40, "weak": 20}


def test_less_than_is_spent_is_refused() -> None:
    with pytest.raises(BudgetExhausted, match="nothing charged is given back"):
        tighten(spent(12), Caps(epsilon_alone=60.0, epsilon_in_sum=0.5, delta=1e-5), HONEST)


def test_a_charge_that_no_row_covers_counts() -> None:
    bare = PrivacyEvent(kind="distributed", noise_multiplier=0.9, sampling_rate=0.05)
    with_it = spent(3).charge_recovered("f" * 64, bare)
    assert with_it.holdings["f" * 64].row is None
    left, without = tighten(with_it, TIGHT, HONEST), tighten(spent(3), TIGHT, HONEST)
    assert sum(left.values()) < sum(without.values())


def test_under_a_filter_counts_stay_unless_the_bound_is_passed() -> None:
    fits = filter_of(10, TIGHT, HONEST).room_for((), STRONG)
    budget = Budget((TableRow(name="strong", event=STRONG, count=400),), renyi=filter_of(10, WIDE, HONEST))
    assert 0 < fits < budget.remaining("strong")
    for number in range(fits):
        budget = budget.reserve(f"{number:064x}", STRONG)
    assert tighten(budget, TIGHT, HONEST) == {}
    with pytest.raises(BudgetExhausted):
        tighten(budget.reserve("f" * 64, STRONG), TIGHT, HONEST)


def test_a_limit_never_adds_room() -> None:
    assert [row.count for row in limited(TABLE, {"strong": 7, "weak": 99})] == [7, 20]
