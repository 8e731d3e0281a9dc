"""Probes: is the noise of an opened sum as much as its contributors owe? (protocol 6.2)

Rules:
1. Every noised vector ends in coordinates that are zero before the noise. Opened, their mean square over
   |U| (sigma_i^2 + 1/12) is the *ratio*: with honest noise chi-square over its degrees of freedom, one a probe, so
   1 with standard deviation sqrt(2 / probes). The 1/12 is the rounding to the coarse grid.
2. Ratios of several sums, weighted by their probes, are one such ratio over all those probes.
3. A ratio ALARM_DEVIATIONS below 1 is an alarm: noise is missing. One as far above is said: noise beyond what is
   owed costs accuracy, never privacy.
4. The figures are a function of noise alone: they tell nothing about any record, and may be published.

False alarms. The lower tail of chi-square is lighter than the normal one: with 1,024 probes 3.2e-8 a sum, and below
2.9e-7 (the normal tail) for any number of sums together. Every round is looked at twice, by itself and with all
before it, so over T rounds the chance of any false alarm is at most T (3.2e-8 + 2.9e-7), however the looks hang
together: 1e-4 in 300 rounds. (`false_alarm_bound`; looks at a growing sample are strongly dependent, so the true
chance is smaller.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from privacy.dp.mechanism import PROBES, MechanismPlan

ALARM_DEVIATIONS: Final = 5.0


@dataclass(frozen=True)
class ProbeStatistic:
    """ratio: variance of the probes over what honest noises give, near 1. probes: how many it rests on."""

    ratio: float
    probes: int

    @property
    def deviations(self) -> float:
        """Standard deviations from 1; noise that someone left out shows as negative."""
        return (self.ratio - 1) * sqrt(self.probes / 2)

    @property
    def missing(self) -> bool:
        """Rule 3: the alarm."""
        return self.deviations < -ALARM_DEVIATIONS

    @property
    def excessive(self) -> bool:
        """Rule 3: more noise than is owed."""
        return self.deviations > ALARM_DEVIATIONS


def probe_statistic(probe_sums: NDArray[np.int64], contributors: int, plan: MechanismPlan) -> ProbeStatistic:
    """Test opened probes (int64[at least one], of one sum of |U| contributors) against |U| (sigma_i^2 + 1/12)."""
    expected = contributors * (plan.sigma_units**2 + 1 / 12)
    found = sum(int(value) ** 2 for value in probe_sums) / probe_sums.size
    return ProbeStatistic(found / expected, probe_sums.size)


def together(sums: Sequence[ProbeStatistic]) -> ProbeStatistic:
    """Rule 2; at least one sum."""
    probes = sum(one.probes for one in sums)
    return ProbeStatistic(sum(one.ratio * one.probes for one in sums) / probes, probes)


def false_alarm_bound(rounds: int, probes: int = PROBES, deviations: float = ALARM_DEVIATIONS) -> float:
    """The chance that honest noise falls `deviations` below 1 at any look of `rounds` rounds is at most this.

    Union bound over one look at each sum and one at all so far.

    Chi-square's lower tail by Wilson and Hilferty (PNAS 17 (1931), 684): the cube root of the ratio is nearly
    normal with mean 1 - 2 / (9 n) and variance 2 / (9 n); 5 deviations down it is within 3 % of the exact tail
    from n = 1,024 on.
    """
    spread = 2 / (9 * probes)
    lowest = max(0.0, 1 - deviations * sqrt(2 / probes))
    one_sum = _normal_tail((1 - spread - lowest ** (1 / 3)) / sqrt(spread))
    return min(1.0, rounds * (one_sum + _normal_tail(deviations)))


def _normal_tail(deviations: float) -> float:
    return erfc(deviations / sqrt(2)) / 2
