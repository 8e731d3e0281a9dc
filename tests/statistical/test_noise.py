"""The sampler against its exact distribution. Seeds are fixed: each test passes or fails for good.

False alarms, had the seed been drawn anew: chi-square below 1e-6 each, moments below 1e-6.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from privacy.dp.discrete_gaussian import FINE_VARIANCE, draw_noise
from privacy.dp.mechanism import MechanismPlan
from privacy.dp.privatise import RecordSum, privatise
from privacy.dp.probes import probe_statistic
from privacy.dp.sampling import poisson_sample
from privacy.randomness import Keystream

pytestmark = pytest.mark.statistical

SIGMA = math.sqrt(FINE_VARIANCE)
SMALLEST_P = 1e-6


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    return draw_noise(2_000_000, Keystream(bytes(range(32))))


def test_the_shape_is_gaussian(draws: np.ndarray) -> None:
    """200 equally likely cells; at width 2^18 the discrete law's cells differ from the continuous by 1e-11."""
    edges = stats.norm.ppf(np.arange(1, 200) / 200) * SIGMA
    cells = np.searchsorted(np.ceil(edges), draws, side="right")
    counts = np.bincount(cells, minlength=200)
    width = np.diff(np.concatenate([[-np.inf], np.ceil(edges) - 0.5, [np.inf]]) / SIGMA)
    assert (width > 0).all()
    expected = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], np.ceil(edges) - 0.5, [np.inf]]) / SIGMA))
    assert stats.chisquare(counts, expected * draws.size).pvalue > SMALLEST_P


def test_moments(draws: np.ndarray) -> None:
    n = draws.size
    scaled = draws / SIGMA
    assert abs(scaled.mean()) < 5 / math.sqrt(n)
    assert abs((scaled**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs((scaled**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((scaled**4).mean() - 3) < 5 * math.sqrt(96 / n)


def test_the_low_bits_are_uniform_and_neighbours_independent(draws: np.ndarray) -> None:
    """The residue mod 256 is x1's alone: any seam between the two tables would show here."""
    assert stats.chisquare(np.bincount(draws & 255, minlength=256)).pvalue > SMALLEST_P
    assert stats.chisquare(np.bincount((draws >> 4) & 255, minlength=256)).pvalue > SMALLEST_P
    correlation = np.mean((draws[1:] / SIGMA) * (draws[:-1] / SIGMA))
    assert abs(correlation) < 5 / math.sqrt(draws.size)


def test_tails_hold_what_they_should(draws: np.ndarray) -> None:
    for sigmas in (2, 3, 4):
        expected = draws.size * 2 * stats.norm.sf(sigmas)
        beyond = int(np.count_nonzero(np.abs(draws) > sigmas * SIGMA))
        assert stats.binomtest(beyond, draws.size, expected / draws.size).pvalue > SMALLEST_P


def test_a_sampled_batch_is_binomial() -> None:
    sizes = [len(poisson_sample(2000, 0.05, Keystream(bytes([i, j] * 16)))) for i in range(20) for j in range(20)]
    mean, variance = np.mean(sizes), np.var(sizes)
    assert abs(mean - 100) < 5 * math.sqrt(95 / 400)
    assert abs(variance / 95 - 1) < 5 * math.sqrt(2 / 400)


def uploads(plan: MechanismPlan, silent: int, seed: int) -> np.ndarray:
    """The sum of five participants' uploads, `silent` of whom added no noise."""
    total = np.zeros(plan.length, dtype=np.int64)
    for participant in range(5 - silent):
        stream = Keystream(bytes([seed, participant] * 16))
        total += privatise(RecordSum(plan), stream).values
    return total


def test_probes_show_a_participant_without_noise() -> None:
    plan = MechanismPlan(clip=1.0, noise_multiplier=1.0, honest=4, dimension=3, shift=16, lane_offset=204)
    honest = [probe_statistic(uploads(plan, 0, seed)[3:], 5, plan).deviations for seed in range(40)]
    silent = [probe_statistic(uploads(plan, 1, seed)[3:], 5, plan).deviations for seed in range(40)]
    assert abs(np.mean(honest)) < 5 / math.sqrt(40)
    assert np.mean(silent) == pytest.approx(-4.5, abs=5 * 0.8 / math.sqrt(40))
    pooled = np.concatenate([uploads(plan, 1, seed)[3:] for seed in range(10)])
    assert probe_statistic(pooled, 5, plan).deviations < -10
