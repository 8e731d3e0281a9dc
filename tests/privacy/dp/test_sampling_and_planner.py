"""Poisson sampling by threshold, and the choice of lanes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.dp.mechanism import MechanismPlan
from privacy.dp.planner import lane_offset, plan_lanes
from privacy.dp.sampling import poisson_sample
from privacy.errors import UnsafeParameters
from privacy.he.lanes import LaneLayout
from privacy.randomness import Keystream


@given(st.binary(min_size=32, max_size=32), st.integers(0, 300), st.floats(1e-9, 1.0))
def test_a_record_is_in_if_its_word_is_below_the_threshold(seed: bytes, records: int, gamma: float) -> None:
    words = [int(word) for word in Keystream(seed).words(records)]
    numerator, denominator = gamma.as_integer_ratio()
    expected = [i for i, word in enumerate(words) if word * denominator < numerator * 2**64 - denominator + 1]
    if gamma == 1.0:
        expected = list(range(records))
    batch = poisson_sample(records, gamma, Keystream(seed))
    assert batch.dtype == np.int64
    assert batch.tolist() == expected


@pytest.mark.parametrize("gamma", [0.0, -0.1, 1.1, float("nan")])
def test_rates_that_are_no_probability_are_refused(gamma: float) -> None:
    with pytest.raises(UnsafeParameters):
        poisson_sample(10, gamma, Keystream(bytes(32)))


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
