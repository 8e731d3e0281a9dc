"""The sampler's proved error, with mpmath as the oracle, and its kernel against plain integers."""

from __future__ import annotations

import functools
import itertools

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.dp import discrete_gaussian
from privacy.dp.discrete_gaussian import (
    BLOCK,
    FINE_VARIANCE,
    LARGE_VARIANCE,
    SMALL_VARIANCE,
    MagnitudeTable,
    draw_noise,
    exact_block,
    exact_value,
    gaussian_weights,
    noise_tables,
)
from privacy.dp.noise_error import SAMPLER_ERROR
from privacy.randomness import Keystream

WHOLE = 1 << 191


@pytest.fixture(autouse=True)
def digits() -> None:
    mp.mp.dps = 120


def probabilities(table: MagnitudeTable) -> list[int]:
    """P(|x| = m) x 2^191, for every m of the table."""
    thresholds = (0, *table.thresholds)
    return [after - before for before, after in itertools.pairwise(thresholds)]


def test_the_variances_convolve_to_the_fine_one() -> None:
    assert SMALL_VARIANCE + (1 << 16) * LARGE_VARIANCE == FINE_VARIANCE == (1 << 36) + 16


@pytest.mark.parametrize("variance", [SMALL_VARIANCE, LARGE_VARIANCE])
def test_fixed_point_weights_keep_their_bound(variance: int) -> None:
    largest = 13_400
    weights = gaussian_weights(variance, largest, bits=320)
    for m in (0, 1, 2, 17, 500, 4096, 9999, largest):
        exact = mp.exp(-mp.mpf(m * m) / (2 * variance)) * mp.mpf(2) ** 320
        assert abs(weights[m] - exact) < largest**2 + 64


@functools.cache
def table_error(variance: int) -> mp.mpf:
    """Statistical distance of a whole table from the untruncated discrete Gaussian."""
    mp.mp.dps = 80
    table = noise_tables()[0 if variance == SMALL_VARIANCE else 1]
    # Poisson summation: the sum over all integers is sqrt(2 pi v) (1 + 2 exp(-2 pi^2 v) + ...), to far below 1e-80.
    total = mp.sqrt(2 * mp.pi * variance)
    step = mp.exp(-mp.mpf(1) / (2 * variance))
    square, weight, distance, mass = step * step, mp.mpf(1), mp.mpf(0), mp.mpf(0)
    for m, probability in enumerate(probabilities(table)):
        exact = weight * (2 if m else 1) / total
        distance += abs(exact - mp.mpf(probability) / WHOLE)
        mass += exact
        weight, step = weight * step, step * square
    return (distance + (1 - mass)) / 2


def convolution_error() -> mp.mpf:
    """The factor by which x1 + 256 x2 of untruncated Gaussians is off, at most (docs/noise.md, equation 2)."""
    width = mp.mpf(SMALL_VARIANCE) * LARGE_VARIANCE / FINE_VARIANCE
    first = mp.exp(-2 * mp.pi**2 * width)
    return 4 * first * (1 + mp.mpf(2) ** -100)


def test_a_draw_is_as_close_as_delta_counts_on() -> None:
    small, large = table_error(SMALL_VARIANCE), table_error(LARGE_VARIANCE)
    assert convolution_error() < mp.mpf(2) ** -165
    whole = small + large + convolution_error()
    assert whole < mp.mpf(2) ** -124
    assert whole < SAMPLER_ERROR


def test_the_law_of_the_sum_is_the_fine_gaussian_point_by_point() -> None:
    """P(x1 + 256 x2 = n) from the tables' own integers, at points from the middle to six sigma."""
    small, large = (probabilities(table) for table in noise_tables())

    def law(chances: list[int], value: int) -> int:
        """P(value) x 2^192, without halving: both signs of a magnitude share its chance."""
        return 0 if abs(value) >= len(chances) else chances[abs(value)] << (0 if value else 1)

    total = mp.sqrt(2 * mp.pi * FINE_VARIANCE)
    for n in (0, 1, -1, 127, 128, 129, 256, 12_345, -99_999, 262_144, 700_001, -1_000_003, 1_572_864):
        middle = n // 256
        found = sum(law(small, n - 256 * y) * law(large, y) for y in range(middle - 40, middle + 41))
        exact = mp.exp(-mp.mpf(n * n) / (2 * FINE_VARIANCE)) / total
        assert abs(mp.mpf(found) / (1 << 384) / exact - 1) < mp.mpf(2) ** -110, n
        assert abs(mp.mpf(found) / (1 << 384) - exact) < mp.mpf(2) ** -124, n


@settings(max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 400))
def test_the_kernel_equals_plain_integers(seed: bytes, count: int) -> None:
    words = Keystream(seed).words(2 * count)
    assert np.array_equal(draw_noise(count, Keystream(seed)), exact_block(words, Keystream(bytes(32))))


def test_blocks_join_without_a_seam() -> None:
    count = BLOCK + 17
    words = Keystream(bytes(32)).words(2 * count)
    noise = draw_noise(count, Keystream(bytes(32)))
    around = slice(BLOCK - 20, count)
    expected = exact_block(words[2 * around.start :], Keystream(bytes(32)))
    assert np.array_equal(noise[around], expected)
    assert draw_noise(0, Keystream(bytes(32))).size == 0


class ScriptedKeystream(Keystream):
    """Words chosen by the test: an AES keystream would have to run for 2^50 draws to reach a tie."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(bytes(32))
        self.left = words

    def words(self, count: int) -> np.ndarray:  # type: ignore[type-arg]
        taken, self.left = self.left[:count], self.left[count:]
        assert len(taken) == count, "more words were drawn than the rules say"
        return np.array(taken, dtype=np.uint64)


@pytest.mark.parametrize("table_index", [0, 1])
@pytest.mark.parametrize("magnitude", [0, 1, 300, 2500, 6000, 8000])
def test_ties_are_settled_by_the_words_that_follow(table_index: int, magnitude: int) -> None:
    """63 bits equal to a threshold's upper 63: the next 128 decide, in the kernel's path as in plain integers."""
    table = noise_tables()[table_index]
    threshold = table.thresholds[magnitude]
    high, low = threshold >> 128, threshold & ((1 << 128) - 1)
    for more, expected in ((low - 1, magnitude), (low, None), (low + 1, None)):
        word = (high << 1) | 1
        pair = [more >> 64, more & ((1 << 64) - 1)]
        value = exact_value(word, table, ScriptedKeystream(pair))
        reference = -sum(1 for t in table.thresholds if t <= (high << 128) | more)
        assert value == reference
        if expected is not None:
            assert value == -expected
        other = 2  # decides by itself: magnitude 0
        both = [word, other] if table_index == 0 else [other, word]
        drawn = draw_noise(1, ScriptedKeystream([*both, *pair]))
        assert drawn[0] == (value if table_index == 0 else value * 256)


def test_extreme_words_reach_the_cut_and_no_further() -> None:
    small, large = noise_tables()
    for table, sigma in ((small, SMALL_VARIANCE**0.5), (large, LARGE_VARIANCE**0.5)):
        assert table.thresholds[-1] == WHOLE
        assert len(table.thresholds) - 1 >= 13 * sigma
        highest = table.magnitude(WHOLE - 1)
        assert highest <= len(table.thresholds) - 1
        assert np.all(np.diff(table.high.astype(object)) >= 0)
    farthest = len(small.thresholds) - 1 + 256 * (len(large.thresholds) - 1)
    assert farthest < 13.1 * FINE_VARIANCE**0.5


def test_a_repeated_tie_flag_sends_the_whole_block_to_plain_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = discrete_gaussian.exact_block

    def counted(words: np.ndarray, keystream: Keystream) -> np.ndarray:  # type: ignore[type-arg]
        calls.append(len(words))
        return plain(words, keystream)

    monkeypatch.setattr(discrete_gaussian, "exact_block", counted)
    draw_noise(100, Keystream(bytes(32)))
    assert not calls, "no tie in ordinary draws"
    tie = (noise_tables()[0].thresholds[5] >> 128) << 1
    draw_noise(2, ScriptedKeystream([4, 4, tie, 4, 0, 0]))
    assert calls == [4]
