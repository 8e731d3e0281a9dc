"""Integer noise: the discrete Gaussian of variance parameter 2^36 + 16, drawn from a keystream.

Rules (protocol 6.2; the proof is in docs/noise.md):
1. A draw is X = x1 + 256 x2, with x1 and x2 discrete Gaussians of variance parameters 393,232 and 1,048,570:
   393,232 + 256^2 x 1,048,570 = 2^36 + 16. By the convolution theorem (Micciancio and Walter, CRYPTO 2017,
   section 4; Peikert, CRYPTO 2010, theorem 3.1) the law of X is off by a factor of at most 1 +- 2^-165.
2. Tails of each are cut beyond 13 sigma, and thresholds hold 191 bits: a draw is within 2^-124 (statistical
   distance) of the untruncated discrete Gaussian.
3. Words are taken in blocks of at most 65,536 draws: two a draw, x1's first. The lowest bit is the sign (1:
   negative), the other 63 bits are looked up among the thresholds of the magnitude. Where they leave it
   undecided (2^-50 a draw), 128 bits more do, two words, the more significant first; those words follow the
   block's, in the order of the draws.
4. No floating-point number decides anything.
Not constant time: an attacker who can time this process is outside the threat model.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.randomness import Keystream

FINE_VARIANCE = (1 << 36) + 16
STRETCH_BITS = 8
SMALL_VARIANCE = 393_232
LARGE_VARIANCE = 1_048_570
TAIL_SIGMAS = 13
BLOCK = 1 << 16

_HIGH_BITS = 63
_LOW_BITS = 128
_GUIDE_BITS = 13


@dataclass(frozen=True)
class MagnitudeTable:
    """Cumulative law of |x|: a 191-bit number u gives the number of thresholds that are <= u.

    thresholds: P(|x| <= m) x 2^191, rounded down, for m = 0, 1, ...; the last is 2^191.
    high: their upper 63 bits, uint64. guide: for each value of a word's upper 13 bits the first magnitude that
    may be meant, uint16.
    """

    thresholds: tuple[int, ...]
    high: NDArray[np.uint64]
    guide: NDArray[np.uint16]

    def magnitude(self, u: int) -> int:
        return bisect_right(self.thresholds, u)


def gaussian_weights(variance: int, largest: int, bits: int) -> list[int]:
    """exp(-m^2 / (2 variance)) x 2^bits for m = 0..largest, each off by less than largest^2 + 64 units.

    By p(m + 1) = p(m) r(m), r(m + 1) = r(m) g^2 with g = exp(-1 / (2 variance)) = r(0), in fixed point.
    """
    one = 1 << bits
    ratio, term, n = one, one, 0
    while term:
        n += 1
        term = term // (2 * variance * n)
        ratio += -term if n % 2 else term
    square = (ratio * ratio) >> bits
    weights = [one]
    for _ in range(largest):
        weights.append((weights[-1] * ratio) >> bits)
        ratio = (ratio * square) >> bits
    return weights


def magnitude_table(variance: int) -> MagnitudeTable:
    """The table of |x| for a discrete Gaussian of this variance parameter, cut beyond 13 sigma."""
    largest = math.isqrt(TAIL_SIGMAS**2 * variance) + 1
    weights = gaussian_weights(variance, largest, bits=320)
    weights[1:] = [2 * weight for weight in weights[1:]]
    total, scale = sum(weights), 1 << (_HIGH_BITS + _LOW_BITS)
    thresholds, cumulated = [], 0
    for weight in weights:
        cumulated += weight
        thresholds.append(cumulated * scale // total)
    guide_step = 1 << (_HIGH_BITS + _LOW_BITS - _GUIDE_BITS)
    return MagnitudeTable(
        thresholds=tuple(thresholds),
        high=np.array([threshold >> _LOW_BITS for threshold in thresholds], dtype=np.uint64),
        guide=np.array(
            [bisect_right(thresholds, g * guide_step) for g in range(1 << _GUIDE_BITS)], dtype=np.uint16
        ),
    )


@lru_cache(maxsize=1)
def noise_tables() -> tuple[MagnitudeTable, MagnitudeTable]:
    """The tables of x1 and of x2: made once in a process, in about 50 ms."""
    return magnitude_table(SMALL_VARIANCE), magnitude_table(LARGE_VARIANCE)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _draw_block(
    words: NDArray[np.uint64],
    small_high: NDArray[np.uint64],
    small_guide: NDArray[np.uint16],
    large_high: NDArray[np.uint64],
    large_guide: NDArray[np.uint16],
    out: NDArray[np.int64],
) -> bool:
    """Fill `out` from two words a draw; True if 63 bits equal a threshold's upper 63: `exact_block` then decides.

    The first step past the guide is arithmetic, a branch there would be mispredicted in a draw of six: 3.6 ns a
    draw with it, 5.8 without. Indices are unsigned to spare numba's test for negative ones.
    """
    tie = False
    one = np.uint64(1)
    guide_shift = np.uint64(64 - _GUIDE_BITS)
    for i in range(out.size):
        word = words[2 * i]
        u = word >> one
        magnitude = np.uint64(small_guide[word >> guide_shift])
        magnitude += np.uint64(small_high[magnitude] < u)
        while small_high[magnitude] < u:
            magnitude += one
        tie |= small_high[magnitude] == u
        sign = np.int64(word & one)
        x1 = (np.int64(magnitude) ^ -sign) + sign

        word = words[2 * i + 1]
        u = word >> one
        magnitude = np.uint64(large_guide[word >> guide_shift])
        magnitude += np.uint64(large_high[magnitude] < u)
        while large_high[magnitude] < u:
            magnitude += one
        tie |= large_high[magnitude] == u
        sign = np.int64(word & one)
        x2 = (np.int64(magnitude) ^ -sign) + sign
        out[i] = x1 + (x2 << STRETCH_BITS)
    return tie


def exact_value(word: int, table: MagnitudeTable, keystream: Keystream) -> int:
    """The signed value of a word in plain integers: what the kernel must equal, and what decides a tie."""
    first = (word >> 1) << _LOW_BITS
    magnitude = table.magnitude(first)
    if magnitude != table.magnitude(first | ((1 << _LOW_BITS) - 1)):
        upper, lower = (int(more) for more in keystream.words(2))
        magnitude = table.magnitude(first | upper << 64 | lower)
    return -magnitude if word & 1 else magnitude


def exact_block(words: NDArray[np.uint64], keystream: Keystream) -> NDArray[np.int64]:
    """The draws that `words` (two a draw) mean, in plain integers; ties take further words from the keystream."""
    small, large = noise_tables()
    values = [exact_value(int(word), (small, large)[i % 2], keystream) for i, word in enumerate(words)]
    return np.array([x1 + (x2 << STRETCH_BITS) for x1, x2 in zip(values[::2], values[1::2], strict=True)], np.int64)


def noise_blocks(count: int, keystream: Keystream) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """`count` draws as (index of the first, int64 values), at most 65,536 at a time (rule 3).

    The array is reused: take what is needed before asking for the next.
    """
    small, large = noise_tables()
    values = np.empty(min(count, BLOCK), dtype=np.int64)
    for start in range(0, count, BLOCK):
        block = values[: min(BLOCK, count - start)]
        words = keystream.words(2 * block.size)
        if _draw_block(words, small.high, small.guide, large.high, large.guide, block):
            block[:] = exact_block(words, keystream)
        yield start, block


def draw_noise(count: int, keystream: Keystream) -> NDArray[np.int64]:
    """`count` independent draws, int64, in units of the fine grid (standard deviation 2^18)."""
    noise = np.empty(count, dtype=np.int64)
    for start, block in noise_blocks(count, keystream):
        noise[start : start + block.size] = block
    return noise
