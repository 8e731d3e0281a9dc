"""What the planner proposes keeps every bound, is no more than is needed, and names the bound that decided."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.mechanism import CLAMP_SIGMAS, SIGNAL_SIGMAS, MechanismPlan
from privacy.dp.planner import (
    ROOMY_SIGMAS,
    SAMPLING_RATES,
    BudgetTerms,
    delta_for,
    lane_offset,
    plan_budget,
    plan_curve,
    plan_lanes,
)
from privacy.errors import UnsafeParameters
from privacy.he.lanes import LaneLayout

TERMS = BudgetTerms(target_epsilon=3.0, rounds=100, records=20_000, contributors=10, honest=2, parameters=1_000_000)
IN_SUM, ALONE = Guarantee.IN_SUM, Guarantee.ALONE


def test_the_curve_is_the_accountants_at_each_point() -> None:
    event = PrivacyEvent(kind="distributed", noise_multiplier=1.5, sampling_rate=0.05)
    curve = plan_curve(event, 1e-5, 4, 100, points=6)
    assert len(curve) <= 6
    assert curve[0].rounds == 1
    assert curve[-1].rounds == 100
    for point in curve:
        assert point.epsilon_in_sum == epsilon([(event, point.rounds)], 1e-5, IN_SUM, 4)
        assert point.epsilon_alone == epsilon([(event, point.rounds)], 1e-5, ALONE, 4)
        assert point.epsilon_in_sum < point.epsilon_alone
    assert [p.epsilon_in_sum for p in curve] == sorted({p.epsilon_in_sum for p in curve})
    assert [p.rounds for p in plan_curve(event, 1e-5, 4, 1)] == [1]
    for rounds, points in ((0, 6), (10, 1)):
        with pytest.raises(UnsafeParameters):
            plan_curve(event, 1e-5, 4, rounds, points)


def test_the_cap_in_the_sum_binds_where_nothing_else_is_asked() -> None:
    plan = plan_budget(dataclasses.replace(TERMS, sampling_rate=0.05))
    assert plan.delta == delta_for(20_000) == 1 / 200_000
    assert plan.expected_batch == 1000
    rows = ((plan.event, 100),)
    assert epsilon(rows, plan.delta, IN_SUM, 2) == plan.epsilon_in_sum <= 3.0
    weaker = plan.event.model_copy(update={"noise_multiplier": plan.event.noise_multiplier - 1e-4})
    assert epsilon(((weaker, 100),), plan.delta, IN_SUM, 2) > 3.0, "less noise would pass the cap"
    assert plan.binding == ("cap in the sum", "lane")
    assert all(bound.needs <= bound.limit for bound in plan.bounds)
    assert plan.lanes.width == 12


@pytest.mark.full
def test_a_tight_cap_alone_binds_instead() -> None:
    plan = plan_budget(dataclasses.replace(TERMS, sampling_rate=0.05, cap_alone=2.0))
    assert plan.epsilon_alone <= 2.0
    assert plan.epsilon_in_sum < 1.5
    assert "cap alone" in plan.binding
    assert "cap in the sum" not in plan.binding
    loose = plan_budget(dataclasses.replace(TERMS, sampling_rate=0.05, cap_alone=1000.0))
    assert "cap in the sum" in loose.binding


def test_a_large_roster_takes_the_wide_lane_at_a_shift_between() -> None:
    plan = plan_budget(dataclasses.replace(TERMS, sampling_rate=0.05, contributors=200))
    assert plan.lanes.width == 24
    bounds = {bound.name: bound for bound in plan.bounds}
    assert bounds["lane"].binds
    roomy = bounds["lane"].needs * (ROOMY_SIGMAS + CLAMP_SIGMAS) // (SIGNAL_SIGMAS + CLAMP_SIGMAS)
    assert roomy <= bounds["lane"].limit
    assert 2 * roomy > bounds["lane"].limit, "a finer shift would not have fitted"
    assert bounds["fine grid"].needs == plan.lanes.shift > 0


@pytest.mark.full
def test_the_sampling_rate_chosen_is_the_least_that_is_near_whole_batches() -> None:
    terms = dataclasses.replace(TERMS, rounds=20)
    chosen = plan_budget(terms)
    assert chosen.event.sampling_rate in SAMPLING_RATES

    def noise_over_batch(rate: float) -> float:
        return plan_budget(dataclasses.replace(terms, sampling_rate=rate)).event.noise_multiplier / rate

    whole = noise_over_batch(1.0)
    assert noise_over_batch(chosen.event.sampling_rate) <= 1.25 * whole
    below = SAMPLING_RATES[SAMPLING_RATES.index(chosen.event.sampling_rate) - 1]
    assert noise_over_batch(below) > 1.25 * whole


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"records": 0}, "at least one record"),
        ({"sampling_rate": 1.5}, "a sampling rate"),
        ({"rounds": 0}, "at least one event"),
        ({"target_epsilon": -1.0}, "a finite positive epsilon"),
        ({"contributors": 60_000}, "a lane offset"),
        ({"parameters": 10**15, "rounds": 10}, "rounding of"),
    ],
)
def test_terms_that_cannot_be_met_say_which_bound_fails(changes: dict[str, float], expected: str) -> None:
    with pytest.raises(UnsafeParameters, match=expected):
        plan_budget(dataclasses.replace(TERMS, **{"sampling_rate": 0.05, **changes}))  # type: ignore[arg-type]


@pytest.mark.full
def test_a_vector_too_long_for_the_samplers_error_is_refused() -> None:
    """At epsilon 44 in the sum the clamp's 1.5e-23 a draw, times e^44, passes its share of delta."""
    terms = dataclasses.replace(TERMS, target_epsilon=44.0, rounds=5, sampling_rate=0.5, parameters=64_000_000)
    with pytest.raises(UnsafeParameters, match="implementation error"):
        plan_budget(terms)


@given(st.floats(0.3, 20), st.integers(2, 12), st.integers(2, 1000))
def test_the_plan_proposed_is_one_the_mechanism_accepts_and_no_finer_is_roomy(
    z: float, honest: int, contributors: int
) -> None:
    lanes = plan_lanes(z, honest, contributors)
    plan = MechanismPlan(1.0, z, honest, 100, lanes.shift, lanes.lane_offset)
    assert plan.bound == lanes.bound
    assert lanes.lane_offset == lane_offset(lanes.width, contributors)
    assert contributors * 2 * lanes.lane_offset < 1 << lanes.width
    assert LaneLayout(lanes.width, contributors).offset == lanes.lane_offset, "the envelope packs the same lanes"
    assert lanes.records_to_bound == pytest.approx((plan.bound << plan.shift) / plan.fine_clip)
    assert (lanes.binding == "lane") == (lanes.shift > 0)
    if lanes.shift:  # a finer grid would clamp within 64 sigma
        finer = 2 * plan.sigma_units
        assert lanes.lane_offset - 10 * finer < 64 * finer
    if lanes.shift < 16:
        assert plan.bound >= 64 * plan.sigma_units
    if lanes.width > 12:
        narrower = lane_offset({16: 12, 24: 16}[lanes.width], contributors)
        with pytest.raises(UnsafeParameters):
            dataclasses.replace(plan, shift=16, lane_offset=narrower)


def test_the_width_grows_with_the_roster() -> None:
    assert [plan_lanes(1.0, 4, n).width for n in (2, 12, 13, 195, 196, 1000)] == [12, 12, 16, 16, 24, 24]
    with pytest.raises(UnsafeParameters):
        plan_lanes(1.0, 4, 60_000)
