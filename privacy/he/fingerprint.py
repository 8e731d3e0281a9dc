"""Fingerprints: everyone checks that the published sum is the sum of the uploads (protocol 5.4).

F = (sum over k of rho_k sum over j of tau_j b_kj, the same with rho' and tau') mod q. F is linear in b, so the
fingerprint of the sum is the sum of the fingerprints; a sum that differs passes with probability (2 / q)^2.
The factors come from AES-256-CTR under SHA-256("chorale/1 rho", hash of the seal's body), drawn as a_k is: 4,096 of
tau, 4,096 of tau', then rho_k and rho'_k for each k in turn. They are independent words, known only after the seal.
No SEAL and no secrets here: the service may compute these too.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.errors import MalformedMessage
from privacy.he.addition import check_words
from privacy.he.parameters import DEFAULT
from privacy.he.uniform import UniformWords
from privacy.randomness import Keystream

DEGREE: Final = DEFAULT.degree
MODULUS: Final = DEFAULT.modulus
LIMB_BITS: Final = 30
SUMS: Final = 6
_LIMB: Final = np.uint64(2**LIMB_BITS - 1)
_LIMB_SHIFT: Final = np.uint64(LIMB_BITS)
_HALF: Final = np.uint64(2**32 - 1)
_HALF_SHIFT: Final = np.uint64(32)

FingerprintValue = tuple[int, int]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold(polynomials: NDArray[np.uint64], tau: NDArray[np.uint64], sums: NDArray[np.uint64]) -> None:
    """The pieces of sum_j tau_j b_kj for each row k: sums[k] is uint64[6], see `_assemble`.

    Words below 2^60 split into limbs of 30 bits, so products lie below 2^60 and the middle pair below 2^61; their
    halves of 32 bits are summed apart, 4,096 of them stay below 2^44.
    """
    for k in range(polynomials.shape[0]):
        row = polynomials[k]
        low0 = low1 = mid0 = mid1 = high0 = high1 = np.uint64(0)
        for j in range(row.size):
            b0 = row[j] & _LIMB
            b1 = row[j] >> _LIMB_SHIFT
            t0 = tau[j] & _LIMB
            t1 = tau[j] >> _LIMB_SHIFT
            low = b0 * t0
            mid = b0 * t1 + b1 * t0
            high = b1 * t1
            low0 += low & _HALF
            low1 += low >> _HALF_SHIFT
            mid0 += mid & _HALF
            mid1 += mid >> _HALF_SHIFT
            high0 += high & _HALF
            high1 += high >> _HALF_SHIFT
        sums[k, 0] = low0
        sums[k, 1] = low1
        sums[k, 2] = mid0
        sums[k, 3] = mid1
        sums[k, 4] = high0
        sums[k, 5] = high1


def _assemble(sums: NDArray[np.uint64]) -> int:
    """The folded coefficient behind one row of `fold`'s pieces, not reduced."""
    low0, low1, mid0, mid1, high0, high1 = (int(piece) for piece in sums)
    low, mid, high = low0 + (low1 << 32), mid0 + (mid1 << 32), high0 + (high1 << 32)
    return low + (mid << LIMB_BITS) + (high << 2 * LIMB_BITS)


class Fingerprint:
    """F of one upload, or of the sum, taken a range of polynomials at a time and in order."""

    def __init__(self, seal_body_digest: bytes) -> None:
        self._factors = UniformWords(Keystream(sha256(b"chorale/1 rho" + seal_body_digest).digest()))
        self._tau = (self._factors.take(DEGREE), self._factors.take(DEGREE))
        self._value = [0, 0]

    def update(self, polynomials: NDArray[np.uint64]) -> None:
        """Takes the next whole polynomials, uint64[count * 4096] or uint64[count, 4096], words below q.

        Raises MalformedMessage for anything else, and OutOfRange for a word >= q.
        """
        if polynomials.size % DEGREE or polynomials.dtype != np.uint64:
            raise MalformedMessage(
                f"whole polynomials of {DEGREE} uint64",
                f"{polynomials.size} of {polynomials.dtype}",
                "pass whole shards",
            )
        check_words(polynomials.reshape(-1))
        rows = polynomials.reshape(-1, DEGREE)
        rho = self._factors.take(2 * len(rows)).reshape(-1, 2)
        sums = np.empty((len(rows), SUMS), dtype=np.uint64)
        for side in range(2):
            fold(rows, self._tau[side], sums)
            total = sum(int(rho[k, side]) * _assemble(sums[k]) for k in range(len(rows)))
            self._value[side] = (self._value[side] + total) % MODULUS

    def value(self) -> FingerprintValue:
        """F so far: two integers below q."""
        return self._value[0], self._value[1]


def add(fingerprints: Iterable[FingerprintValue]) -> FingerprintValue:
    """The sum of fingerprints mod q, to which that of the sum must be equal."""
    first = second = 0
    for one, other in fingerprints:
        first, second = (first + one) % MODULUS, (second + other) % MODULUS
    return first, second
