"""The probe test in plain numbers; its distribution is tests/statistical/test_probes.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from privacy.dp.mechanism import MechanismPlan
from privacy.dp.probes import ALARM_DEVIATIONS, ProbeStatistic, false_alarm_bound, probe_statistic, together

PLAN = MechanismPlan(clip=1.0, noise_multiplier=1.0, honest=4, dimension=1, shift=16, lane_offset=204)


def test_a_ratio_in_plain_numbers() -> None:
    found = probe_statistic(np.array([3, -3, 3, -3], dtype=np.int64), 2, PLAN)
    assert found.ratio == pytest.approx(9 / (2 * (16 + 1 / 12)))
    assert found.probes == 4
    assert found.deviations == pytest.approx((found.ratio - 1) * math.sqrt(2))


def test_sums_together_weigh_by_their_probes() -> None:
    pooled = together([ProbeStatistic(0.5, 1024), ProbeStatistic(1.0, 3072)])
    assert pooled == ProbeStatistic(0.875, 4096)
    one = np.arange(-8, 8, dtype=np.int64)
    parts = [probe_statistic(one[:4], 1, PLAN), probe_statistic(one[4:], 1, PLAN)]
    assert together(parts).ratio == pytest.approx(probe_statistic(one, 1, PLAN).ratio)


def test_an_alarm_is_beyond_five_deviations_on_either_side() -> None:
    edge = ALARM_DEVIATIONS * math.sqrt(2 / 1024)
    for step in (-1e-9, 1e-9):
        below, above = ProbeStatistic(1 - edge + step, 1024), ProbeStatistic(1 + edge + step, 1024)
        assert (below.missing, below.excessive) == (step < 0, False)
        assert (above.missing, above.excessive) == (False, step > 0)
    assert ProbeStatistic(0.0, 1024).missing


@pytest.mark.parametrize("probes", [1024, 4096, 1024 * 300])
@pytest.mark.parametrize("deviations", [3.0, ALARM_DEVIATIONS])
def test_the_bound_is_no_smaller_than_chi_squares_tails(probes: int, deviations: float) -> None:
    def exact(degrees: int) -> float:
        return float(stats.chi2.cdf(degrees * (1 - deviations * math.sqrt(2 / degrees)), degrees))

    looks = exact(probes) + max(exact(probes * sums) for sums in (1, 2, 10, 100, 1000))
    assert looks <= false_alarm_bound(1, probes, deviations)
    assert false_alarm_bound(1, probes, deviations) < 2 * looks + 2.9e-7
    assert false_alarm_bound(300, 1024) < 1e-4
