"""The sampler against its table, and its table against the exact distribution."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from privacy.he import error_sampler
from privacy.he.error_sampler import TABLE, ErrorSampler, sample_words
from privacy.he.parameters import DEFAULT
from privacy.randomness import Keystream

TAIL = DEFAULT.tail
HIGH = np.array([entry >> 64 for entry in TABLE], dtype=np.uint64)
LOW = np.array([entry & (2**64 - 1) for entry in TABLE], dtype=np.uint64)
GUIDE = np.array(error_sampler._guide([entry >> 64 for entry in TABLE]), dtype=np.uint8)


def exact_weights() -> list[mpf]:
    with mp.workdps(60):
        sigma = mpf("6.364")
        weights = [mp.exp(-(mpf(x) ** 2) / (2 * sigma**2)) for x in range(-TAIL, TAIL + 1)]
        total = mp.fsum(weights)
        return [weight / total for weight in weights]


def plain_draws(words: list[int], count: int) -> tuple[list[int], int]:
    """The definition: entries of the table that do not exceed a 128-bit number, its low word read on a tie only."""
    made: list[int] = []
    used = 0
    while used < len(words) and len(made) < count:
        high = words[used]
        if any(entry >> 64 == high for entry in TABLE):
            if used + 1 >= len(words):
                break
            number, taken = (high << 64) + words[used + 1], 2
        else:
            number, taken = high << 64, 1
        made.append(bisect_right(TABLE, number) - TAIL)
        used += taken
    return made, used


def test_the_table_is_within_one_unit_of_the_exact_distribution() -> None:
    assert len(TABLE) == 2 * TAIL == 152
    with mp.workdps(60):
        running = mpf(0)
        for entry, weight in zip(TABLE, exact_weights(), strict=False):
            running += weight
            assert 0 <= mpf(2) ** 128 * running - entry < 1


def test_the_tails_beyond_the_cut_are_below_2_to_the_minus_100() -> None:
    with mp.workdps(60):
        sigma = mpf("6.364")
        beyond = 2 * mp.fsum(mp.exp(-(mpf(x) ** 2) / (2 * sigma**2)) for x in range(TAIL + 1, TAIL + 400))
        assert beyond / (sigma * mp.sqrt(2 * mp.pi)) < mpf(2) ** -100


NEAR_ENTRIES = st.builds(
    lambda entry, step: min(max((entry >> 64) + step, 0), 2**64 - 1), st.sampled_from(TABLE), st.integers(-1, 1)
)
LOW_WORDS = st.builds(
    lambda entry, step: min(max((entry & (2**64 - 1)) + step, 0), 2**64 - 1),
    st.sampled_from(TABLE),
    st.integers(-1, 1),
)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.integers(0, 2**64 - 1), NEAR_ENTRIES, LOW_WORDS), max_size=30), st.integers(0, 30))
def test_draws_follow_the_definition_ties_included(words: list[int], places: int) -> None:
    out = np.empty(places, dtype=np.int16)
    used, made = sample_words(np.array(words, dtype=np.uint64), out, HIGH, LOW, GUIDE)
    assert (out[:made].tolist(), used) == plain_draws(words, places)


def test_a_tie_on_both_sides_of_every_entry() -> None:
    for index, entry in enumerate(TABLE):
        high, low = entry >> 64, entry & (2**64 - 1)
        pairs = [(high, low, index + 1)]
        if low:
            pairs.append((high, low - 1, index))
        for first, second, expected in pairs:
            out = np.empty(1, dtype=np.int16)
            words = np.array([first, second], dtype=np.uint64)
            assert sample_words(words, out, HIGH, LOW, GUIDE) == (2, 1)
            # Entries in the far tails may share their high word; the definition decides among them.
            assert out[0] == bisect_right(TABLE, (first << 64) + second) - TAIL
            assert out[0] >= expected - TAIL or second < low


class TieThenRest:
    """A keystream of given words: fakes a tie on the last word of a read."""

    def __init__(self, words: list[int]) -> None:
        self._words = words
        self.reads: list[int] = []

    def words(self, count: int) -> np.ndarray:
        self.reads.append(count)
        given_out, self._words = self._words[:count], self._words[count:]
        return np.array(given_out, dtype=np.uint64)


def test_a_tie_at_the_end_of_a_read_takes_the_next_word_of_the_stream() -> None:
    entry = TABLE[80]
    stream = TieThenRest([5, entry >> 64, entry & (2**64 - 1), 2**63])
    assert ErrorSampler(stream).draw(2).tolist() == plain_draws([5, entry >> 64, entry & (2**64 - 1)], 2)[0]  # type: ignore[arg-type]
    assert stream.reads == [2, 1]


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, 300), max_size=5))
def test_drawing_in_parts_gives_the_same_draws(key: bytes, parts: list[int]) -> None:
    sampler = ErrorSampler(Keystream(key))
    got = [value for part in parts for value in sampler.draw(part).tolist()]
    assert got == ErrorSampler(Keystream(key)).draw(sum(parts)).tolist()


@pytest.mark.statistical
def test_two_million_draws_have_the_exact_frequencies() -> None:
    """Chi-square over 51 cells; the seed is fixed, a fresh one would fail with probability 1e-6."""
    count = 2_000_000
    draws = ErrorSampler(Keystream(b"frequencies of the error sampler")).draw(count)
    weights = [float(weight) for weight in exact_weights()]
    expected = [count * sum(weights[: TAIL - 24])]
    observed = [int((draws < -24).sum())]
    for x in range(-24, 25):
        expected.append(count * weights[x + TAIL])
        observed.append(int((draws == x).sum()))
    expected.append(count * sum(weights[TAIL + 25 :]))
    observed.append(int((draws > 24).sum()))
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    with mp.workdps(30):
        assert mp.gammainc(mpf(50) / 2, mpf(statistic) / 2, regularized=True) > 1e-6
    variance = sum(weights[x + TAIL] * x * x for x in range(-TAIL, TAIL + 1))
    assert abs(float(draws.astype(np.float64).var()) - variance) < 5 * variance * (2 / count) ** 0.5
