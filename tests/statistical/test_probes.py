"""How often the probe test alarms, by the real mechanism. Seeds are fixed: each test passes or fails for good.

False alarms, had the seed been drawn anew: 1e-6 each.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from privacy.dp.mechanism import MechanismPlan
from privacy.dp.privatise import RecordSum, privatise
from privacy.dp.probes import ProbeStatistic, false_alarm_bound, probe_statistic, together
from privacy.randomness import Keystream

pytestmark = pytest.mark.statistical

PLAN = MechanismPlan(clip=1.0, noise_multiplier=1.0, honest=4, dimension=0, shift=16, lane_offset=204)
SUMS = 12_000
SMALLEST_P = 1e-6


def opened(contributors: int, silent: int, stream: Keystream) -> ProbeStatistic:
    """One opened sum's probes, `silent` contributors of which added nothing."""
    total = np.zeros(PLAN.length, dtype=np.int64)
    for _ in range(contributors - silent):
        total += privatise(RecordSum(PLAN), stream).values
    return probe_statistic(total, contributors, PLAN)


@pytest.fixture(scope="module")
def honest() -> list[ProbeStatistic]:
    stream = Keystream(bytes(range(7, 39)))
    return [opened(1, 0, stream) for _ in range(SUMS)]


@pytest.mark.parametrize("threshold", [1.0, 2.0, 3.0])
def test_one_sums_false_alarms_are_those_of_chi_square(honest: list[ProbeStatistic], threshold: float) -> None:
    """At 5 deviations nothing would be seen in this many sums; the law is the same at any threshold."""
    below = sum(one.deviations < -threshold for one in honest)
    above = sum(one.deviations > threshold for one in honest)
    edge = threshold * np.sqrt(2 / 1024)
    for count, chance in (
        (below, stats.chi2.cdf(1024 * (1 - edge), 1024)),
        (above, stats.chi2.sf(1024 * (1 + edge), 1024)),
    ):
        assert stats.binomtest(count, SUMS, chance).pvalue > SMALLEST_P
    assert not any(one.missing or one.excessive for one in honest)


def test_repeated_looks_alarm_less_often_than_the_bound(honest: list[ProbeStatistic]) -> None:
    """Campaigns of 40 rounds, each round looked at by itself and with all before it, at a threshold of 3."""
    alarmed = 0
    for start in range(0, SUMS, 40):
        campaign = honest[start : start + 40]
        looks = [together(campaign[: n + 1]).deviations for n in range(40)] + [one.deviations for one in campaign]
        alarmed += min(looks) < -3
    bound = false_alarm_bound(40, deviations=3.0)
    assert stats.binomtest(alarmed, SUMS // 40, bound, alternative="greater").pvalue > SMALLEST_P
    assert alarmed > 0  # a test that never alarms would pass too


def test_one_silent_partner_of_five_is_found_by_the_second_round() -> None:
    """-4.5 in one round and -6.4 in two: 1 - 3e-2 by the second round, and all by the fourth."""
    stream = Keystream(bytes(range(32)))
    by_round = [0, 0, 0, 0]
    for _ in range(60):
        campaign = [opened(5, 1, stream) for _ in range(4)]
        for n in range(4):
            by_round[n] += together(campaign[: n + 1]).missing
    assert by_round[3] == 60
    assert by_round[1] >= 48


def test_one_silent_partner_of_forty_is_found_over_many_rounds() -> None:
    """-0.57 in one round: never by itself; together -5 after about 78 rounds, -8.9 after 250."""
    stream = Keystream(bytes(range(1, 33)))
    campaign = [opened(40, 1, stream) for _ in range(250)]
    assert not any(one.missing for one in campaign)
    assert not together(campaign[:20]).missing
    assert together(campaign).missing
