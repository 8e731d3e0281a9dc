"""Key and error coefficients: a discrete Gaussian from a cumulative table of 128 bits (protocol 5.1).

P(x) is proportional to exp(-x^2 / (2 sigma^2)) for |x| <= 12 sigma. A draw takes the number of table entries
T_i = floor(2^128 P(X <= i)) that do not exceed a uniform 128-bit number, so it is off by at most 2^-128 an entry.
The number's high half is one word of the keystream; its low half is the next word, drawn only when the high half
alone does not decide (a tie, 153 / 2^64). The same keystream therefore gives the same draws in any language.
Not for the noise of differential privacy, whose tables are larger. Not constant time.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.he.parameters import DEFAULT
from privacy.randomness import Keystream

GUIDE_BITS: Final = 12
TABLE_BITS: Final = 128


def cumulative_table(sigma: Decimal, tail: int) -> list[int]:
    """floor(2^128 P(X <= i)) for i = -tail .. tail - 1; the last entry, 2^128, is left out.

    Computed with 80 decimal digits, 41 more than the result has.
    """
    context = Context(prec=80)
    weights = [
        context.exp(context.divide(Decimal(-x * x), context.multiply(Decimal(2), context.multiply(sigma, sigma))))
        for x in range(-tail, tail + 1)
    ]
    total = Decimal(0)
    for weight in weights:
        total = context.add(total, weight)
    scale = Decimal(2**TABLE_BITS)
    table: list[int] = []
    running = Decimal(0)
    for weight in weights[:-1]:
        running = context.add(running, weight)
        table.append(int(context.divide(context.multiply(scale, running), total)))
    return table


def _guide(high: list[int]) -> list[int]:
    """For each value of a word's top bits, the first index whose entry is not below all words with these bits."""
    guide: list[int] = []
    index = 0
    for top in range(2**GUIDE_BITS):
        while index < len(high) and high[index] < top << (64 - GUIDE_BITS):
            index += 1
        guide.append(index)
    return guide


TABLE: Final = cumulative_table(Decimal(str(DEFAULT.sigma)), DEFAULT.tail)
_HIGH: Final = np.array([entry >> 64 for entry in TABLE], dtype=np.uint64)
_LOW: Final = np.array([entry & (2**64 - 1) for entry in TABLE], dtype=np.uint64)
_GUIDE: Final = np.array(_guide([entry >> 64 for entry in TABLE]), dtype=np.uint8)
_SHIFT: Final = np.uint64(64 - GUIDE_BITS)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sample_words(
    words: NDArray[np.uint64],
    out: NDArray[np.int16],
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    guide: NDArray[np.uint8],
) -> tuple[int, int]:
    """Draws into `out` until words or places end; returns (words used, draws made).

    A tie on the last word is left unread, for the caller to come back with one word more.
    """
    entries = high.size
    tail = entries // 2
    used = 0
    made = 0
    while used < words.size and made < out.size:
        word = words[used]
        index = np.int64(guide[word >> _SHIFT])
        while index < entries and high[index] < word:
            index += 1
        taken = 1
        if index < entries and high[index] == word:
            if used + 1 >= words.size:
                break
            taken = 2
            second = words[used + 1]
            while index < entries and high[index] == word and low[index] <= second:
                index += 1
        out[made] = index - tail
        used += taken
        made += 1
    return used, made


class ErrorSampler:
    """Draws coefficients from a keystream, in order; reading n then m gives the same as reading n + m."""

    def __init__(self, keystream: Keystream) -> None:
        self._keystream = keystream

    def draw(self, count: int) -> NDArray[np.int16]:
        """`count` draws, int16[count], each within +-76."""
        out = np.empty(count, dtype=np.int16)
        unread: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        done = 0
        while done < count:
            # Every draw takes a word at least, so none is read that a later draw would have needed first.
            fresh = self._keystream.words(max(1, count - done - unread.size))
            words = np.concatenate([unread, fresh]) if unread.size else fresh
            used, made = sample_words(words, out[done:], _HIGH, _LOW, _GUIDE)
            unread = words[used:]
            done += made
        return out
