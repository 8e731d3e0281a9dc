"""Uniform words mod q from a keystream: the public polynomials and the fingerprint's factors (protocol 5.1, 5.4).

Rule: a keystream is read as little-endian 64-bit words, each masked to 60 bits; words >= q are skipped. So the
result is exactly uniform, and the same on any machine and in any language.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.he.parameters import DEFAULT
from privacy.randomness import Keystream

_MASK: Final = np.uint64(2**60 - 1)
_MODULUS: Final = np.uint64(DEFAULT.modulus)
_SPARE_WORDS: Final = 64
"""0.51 % of words are skipped: 21 of 4096, standard deviation 4.6. With 64 to spare a second read is for show."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def accept_words(raw: NDArray[np.uint64], out: NDArray[np.uint64]) -> tuple[int, int]:
    """Masks and filters `raw` into `out` until either ends; returns (words used, words accepted)."""
    accepted = 0
    used = 0
    while used < raw.size and accepted < out.size:
        word = raw[used] & _MASK
        used += 1
        # Stored always, counted when it is below q: no branch to mispredict.
        out[accepted] = word
        accepted += word < _MODULUS
    return used, accepted


class UniformWords:
    """Reads words uniform in [0, q) from a keystream; reading n then m gives the same as reading n + m."""

    def __init__(self, keystream: Keystream) -> None:
        self._keystream = keystream
        self._unread: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)

    def fill(self, out: NDArray[np.uint64]) -> None:
        """Fills `out` (uint64[n], contiguous) with the next n words."""
        done = 0
        while done < out.size:
            if self._unread.size == 0:
                self._unread = self._keystream.words(out.size - done + _SPARE_WORDS)
            used, accepted = accept_words(self._unread, out[done:])
            self._unread = self._unread[used:]
            done += accepted

    def take(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words, uint64[count]."""
        out = np.empty(count, dtype=np.uint64)
        self.fill(out)
        return out
