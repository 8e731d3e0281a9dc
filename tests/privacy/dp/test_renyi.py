"""The Renyi filter: its divergences against mpmath, its conversion against the library's, and what it lets pass."""

from __future__ import annotations

import math

import dp_accounting.rdp
import mpmath as mp
import pytest
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.dp import renyi
from privacy.dp.accountant import IMPLEMENTATION_SHARE, calibrate_noise, epsilon
from privacy.dp.budget import Budget
from privacy.dp.caps import Caps, check_filter, filter_of
from privacy.dp.events import Guarantee, PrivacyEvent, TableRow
from privacy.dp.renyi import RenyiFilter, best_order, bound, divergence
from privacy.errors import AccountingFailed, BudgetExhausted, UnsafeParameters

DELTA = 1e-5
IN_SUM, ALONE = Guarantee.IN_SUM, Guarantee.ALONE
NONE = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0)
CAPS = Caps(epsilon_alone=60.0, epsilon_in_sum=6.0, delta=DELTA)


def training(z: float, gamma: float = 0.05) -> PrivacyEvent:
    return PrivacyEvent(kind="distributed", noise_multiplier=z, sampling_rate=gamma)


def statistics(z: float) -> PrivacyEvent:
    return PrivacyEvent(kind="statistics", noise_multiplier=z, sampling_rate=1.0)


def integrated(order: int, z: float, gamma: float, sign: int) -> float:
    """Mironov, Talwar, Zhang 2019, section 3.3: log E[(mix / N(0, z^2))^alpha] / (alpha - 1), or the reverse."""
    power = order if sign > 0 else 1 - order

    def moment(x: mp.mpf) -> mp.mpf:
        ratio = (1 - gamma) + gamma * mp.exp((2 * x - 1) / (2 * mp.mpf(z) ** 2))
        return mp.npdf(x, 0, z) * ratio**power

    edges = mp.linspace(-12 * z - order, order + 12 * z, 48)
    return float(mp.log(mp.quad(moment, edges)) / (order - 1))


def converted(order: int, spent: float, delta: float) -> float:
    """Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), proposition 12, at the share of delta that is ours."""
    usable = delta * (1 - IMPLEMENTATION_SHARE)
    return spent + math.log((order - 1) / order) - math.log(order * usable) / (order - 1)


@pytest.mark.parametrize(
    ("order", "z", "gamma"), [(2, 1.0, 0.05), (8, 1.0, 0.05), (32, 2.0, 0.01), (5, 0.7, 0.5), (64, 4.0, 0.01)]
)
def test_divergences_are_the_integrals(order: int, z: float, gamma: float) -> None:
    with mp.workdps(30):
        add, remove = integrated(order, z, gamma, -1), integrated(order, z, gamma, 1)
    found = divergence(order, z, gamma)
    assert found == pytest.approx(max(add, remove), rel=1e-9)
    assert found >= max(add, remove) * (1 - 1e-15), "never below the true one"


@pytest.mark.parametrize(("order", "z"), [(2, 1.0), (7, 3.5), (512, 100.0)])
def test_gamma_one_is_the_plain_gaussian(order: int, z: float) -> None:
    assert divergence(order, z, 1.0) == pytest.approx(order / (2 * z * z), rel=1e-9)


@given(st.integers(3, 400), st.floats(0.5, 50.0), st.floats(1e-9, 1e-3))
def test_the_bound_is_the_conversion_turned_around(order: int, target: float, delta: float) -> None:
    try:
        limit = bound(order, target, delta)
    except UnsafeParameters:
        return
    assert converted(order, limit, delta) == pytest.approx(target, rel=1e-9)
    theirs, _ = compute_epsilon([order], [limit], delta * (1 - IMPLEMENTATION_SHARE))
    assert theirs == pytest.approx(target, rel=1e-9) or theirs == 0.0


EVENTS = [training(0.9), training(1.2, 0.1), training(2.0, 0.3), statistics(12.0)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=12), st.sampled_from([4, 6, 9]))
def test_whatever_order_events_are_chosen_in_the_cap_holds(choices: list[PrivacyEvent], order: int) -> None:
    """As many of each as fit, in the order drawn: then nothing drawn fits again, and the exact cost is within."""
    kept = filter_of(order, CAPS, 4)
    rows: list[tuple[PrivacyEvent, int]] = []
    for event in choices:
        fits = kept.room_for(rows, event)
        if fits:
            rows.append((event, fits if event is choices[-1] else max(1, fits // 3)))
        assert kept.has_room(rows)
    last = choices[-1]
    assert not kept.has_room([*rows, (last, 1)])
    for guarantee in Guarantee:
        assert epsilon(rows, DELTA, guarantee, 4) <= CAPS.epsilon_for(guarantee)
        assert converted(order, kept.spent(rows, guarantee), DELTA) <= CAPS.epsilon_for(guarantee) * (1 + 1e-12)


def test_order_of_rows_and_how_they_are_split_moves_nothing() -> None:
    kept = filter_of(6, CAPS, 4)
    rows = [(EVENTS[0], 3), (EVENTS[1], 5), (EVENTS[3], 1)]
    assert kept.spent(rows, IN_SUM) == kept.spent(rows[::-1], IN_SUM)
    assert kept.spent([*rows, (NONE, 4)], IN_SUM) == kept.spent(rows, IN_SUM), "kind none claims nothing"
    local = PrivacyEvent(kind="local", noise_multiplier=1.0, sampling_rate=0.05, steps=20)
    assert kept.spent([(local, 2)], ALONE) == pytest.approx(40 * divergence(6, 1.0, 0.05), rel=1e-12)
    assert kept.room_for(rows, NONE) > 1_000_000


def test_the_tighter_guarantee_refuses() -> None:
    caps = Caps(epsilon_alone=6.0, epsilon_in_sum=6.0, delta=DELTA)
    both = filter_of(6, caps, 4)
    alone = RenyiFilter(6, 4, tuple((g, limit if g is ALONE else 1e6) for g, limit in both.bounds))
    in_sum = RenyiFilter(6, 4, tuple((g, limit if g is IN_SUM else 1e6) for g, limit in both.bounds))
    event = training(2.0)
    assert both.room_for((), event) == alone.room_for((), event) < in_sum.room_for((), event)


def test_a_budget_with_a_filter_refuses_before_its_rows_are_full() -> None:
    table = (
        TableRow(name="big", event=training(0.9), count=500),
        TableRow(name="few", event=statistics(9.0), count=2),
    )
    kept = filter_of(6, CAPS, 4)
    check_filter(table, 6, CAPS, 4)
    budget = Budget(table, renyi=kept)
    fits = kept.room_for((), training(0.9))
    assert 0 < fits < 500
    assert budget.remaining("big") == fits
    for number in range(fits):
        budget = budget.reserve(f"{number:064x}", training(0.9))
    assert budget.remaining("big") == 0
    with pytest.raises(BudgetExhausted, match="filter of order 6"):
        budget.reserve("f" * 64, training(0.9))
    assert budget.reserve(f"{0:064x}", training(0.9)) is budget, "a repeated join is no second event"
    freed = budget.lapse(f"{0:064x}")
    assert freed.remaining("big") == 1
    charged = freed.reserve("f" * 64, training(0.9)).charge("f" * 64)
    assert charged.remaining("big") == 0
    beyond = charged.charge_recovered("e" * 64, training(0.9))
    assert beyond.remaining("big") == 0, "what was proved to have happened is charged, room or not"
    with pytest.raises(BudgetExhausted):
        Budget(table, renyi=kept).reserve("a" * 64, training(0.8))
    rows = Budget(table, renyi=kept).reserve("a" * 64, statistics(9.0)).reserve("b" * 64, statistics(9.0))
    with pytest.raises(BudgetExhausted):
        rows.reserve("c" * 64, statistics(9.0))


def test_caps_and_orders_that_leave_nothing_are_refused() -> None:
    with pytest.raises(UnsafeParameters, match="an order at which"):
        bound(2, 3.0, 1e-6)
    with pytest.raises(UnsafeParameters, match="rows that fit the filter"):
        check_filter((TableRow(name="bare", event=training(0.1, 1.0), count=1),), 6, CAPS, 4)
    with pytest.raises(UnsafeParameters):
        divergence(1, 1.0, 0.1)
    with pytest.raises(UnsafeParameters):
        divergence(513, 1.0, 0.1)
    for delta in (0.0, math.nan, 1.0, 1e-14):
        with pytest.raises(AccountingFailed):
            bound(8, 3.0, delta)


@pytest.mark.parametrize("answer", [math.inf, math.nan, -1e-3, 0.0])
def test_nonsense_from_the_library_fails_closed(monkeypatch: pytest.MonkeyPatch, answer: float) -> None:
    class Nonsense:
        rdp = (answer,)

        def __init__(self, orders: list[float]) -> None: ...

        def compose(self, event: object) -> Nonsense:
            return self

    monkeypatch.setattr(dp_accounting.rdp, "RdpAccountant", Nonsense)
    renyi.divergence.cache_clear()
    with pytest.raises(AccountingFailed):
        divergence(8, 1.25, 0.07)


def test_an_exception_of_the_library_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(orders: list[float]) -> None:
        raise OverflowError("math range error")

    monkeypatch.setattr(dp_accounting.rdp, "RdpAccountant", broken)
    with pytest.raises(AccountingFailed, match="OverflowError"):
        divergence(8, 1.26, 0.07)


def test_what_a_filter_costs() -> None:
    """Beside a table of one event: epsilon 3 over 300 rounds of 5 % batches, h = 1; the best order known before."""
    z = calibrate_noise(3.0, 5e-6, 0.05, 300)
    caps = {IN_SUM: 3.0, ALONE: 3.0}
    chosen = best_order([(training(z), 300)], [(caps, 5e-6)], 1)
    assert chosen.order == 7
    assert chosen.share == pytest.approx(0.83, abs=0.01)
    fits = {order: RenyiFilter.of_caps(order, caps, 5e-6, 1).room_for((), training(z)) for order in range(5, 65)}
    assert max(fits, key=lambda order: fits[order]) == 7
    assert fits[7] == math.floor(300 * chosen.share)
    assert [order for order, share in chosen.beside if share < chosen.share] == [6, 8]


def test_the_best_order_is_of_the_partner_that_allows_least_and_passes_over_what_shuts_a_row_out() -> None:
    wide, tight = {IN_SUM: 8.0, ALONE: 60.0}, {IN_SUM: 2.0, ALONE: 60.0}
    rows = [(training(1.2), 400), (statistics(4.0), 1)]
    both = best_order(rows, [(wide, DELTA), (tight, DELTA)], 4)
    assert both == best_order(rows, [(tight, DELTA)], 4)
    assert both.order > best_order(rows, [(wide, DELTA)], 4).order
    kept = RenyiFilter.of_caps(both.order, tight, DELTA, 4)
    assert both.share == pytest.approx(kept.share(rows))
    assert kept.share([(event, 2 * count) for event, count in rows]) == pytest.approx(both.share / 2)
    strong, weak = (statistics(0.95), 1), (training(0.55, 0.001), 40_000)
    caps = {IN_SUM: 6.0, ALONE: 1e3}
    assert best_order([weak], [(caps, DELTA)], 4).order == 3, "at which the strong one fits not even once"
    order = best_order([weak, strong], [(caps, DELTA)], 4).order
    assert order > 3
    assert RenyiFilter.of_caps(order, caps, DELTA, 4).room_for((), strong[0]) >= 1
    with pytest.raises(UnsafeParameters, match="an order from 2 to 64"):
        best_order([(statistics(0.1), 1)], [(caps, DELTA)], 4)
    with pytest.raises(AccountingFailed):
        best_order(rows, [(wide, 0.0)], 4)
