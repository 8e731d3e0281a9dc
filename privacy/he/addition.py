"""Adding ciphertexts without a key: all that the service computes (protocol 4, step 3).

No SEAL and no secrets here. Words lie below q; sixteen of them lie below 2^64, so fifteen additions go by before
one reduction, and a reduction is four conditional subtractions (8q, 4q, 2q, q). Equal to SEAL's `Evaluator.add`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.errors import MalformedMessage, OutOfRange
from privacy.he.parameters import DEFAULT

MODULUS: Final = DEFAULT.modulus
UNREDUCED: Final = 16
assert UNREDUCED * MODULUS < 2**64

_Q1: Final = np.uint64(MODULUS)
_Q2: Final = np.uint64(2 * MODULUS)
_Q4: Final = np.uint64(4 * MODULUS)
_Q8: Final = np.uint64(8 * MODULUS)
_ALL_WELL: Final = -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def any_too_large(words: NDArray[np.uint64]) -> bool:
    """Whether a word is >= q. Without an early exit, so that it runs in vector registers."""
    bad = np.uint64(0)
    for index in range(words.size):
        bad |= np.uint64(words[index] >= _Q1)
    return bool(bad != 0)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def add_words(total: NDArray[np.uint64], words: NDArray[np.uint64]) -> bool:
    """total += words, no reduction; returns whether a word was >= q."""
    bad = np.uint64(0)
    for index in range(words.size):
        word = words[index]
        bad |= np.uint64(word >= _Q1)
        total[index] += word
    return bool(bad != 0)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def reduce_words(total: NDArray[np.uint64]) -> None:
    """Brings sums below 16 q to below q. A difference that would be negative wraps round and loses the minimum."""
    for index in range(total.size):
        word = total[index]
        word = min(word, word - _Q8)
        word = min(word, word - _Q4)
        word = min(word, word - _Q2)
        total[index] = min(word, word - _Q1)


def check_words(words: NDArray[np.uint64]) -> None:
    """Raises OutOfRange, naming the first, if a word of uint64[n] is >= q."""
    if any_too_large(words):
        first = int(np.argmax(words >= _Q1))
        raise OutOfRange(
            f"words below q = {MODULUS}",
            f"{int(words[first])} at word {first}",
            "send the ciphertext as encrypted",
        )


class ModularSum:
    """Adds uint64[length] arrays mod q, holding one array of that length whatever their number."""

    def __init__(self, length: int) -> None:
        self._total = np.zeros(length, dtype=np.uint64)
        self._held = 1  # sums of `_held` words below q; zero is one of them

    def add(self, words: NDArray[np.uint64]) -> None:
        """Adds one array. Raises MalformedMessage for another length; OutOfRange for a word >= q, after which the
        sum is void."""
        if words.shape != self._total.shape:
            raise MalformedMessage(
                f"{self._total.size} words", f"shape {words.shape}", "add the same range of every upload"
            )
        if self._held == UNREDUCED:
            reduce_words(self._total)
            self._held = 1
        self._held += 1
        if add_words(self._total, words):
            check_words(words)

    def total(self) -> NDArray[np.uint64]:
        """The sum so far, uint64[length], words below q."""
        reduce_words(self._total)
        self._held = 1
        return self._total.copy()


def modular_sum(arrays: Iterable[NDArray[np.uint64]], length: int) -> NDArray[np.uint64]:
    """The sum mod q of uint64[length] arrays, taken one at a time."""
    summed = ModularSum(length)
    for words in arrays:
        summed.add(words)
    return summed.total()
