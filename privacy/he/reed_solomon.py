"""Locating errors in one Reed-Solomon codeword over p = 2^31 - 1 (S. Gao, 2003, algorithm 1).

A codeword is a polynomial of degree below k at n distinct points; up to (n - k) // 2 places may be false. The
extended Euclidean algorithm on g0 = prod (x - a_j) and the interpolation g1 of the received word stops at the
first remainder r of degree below (n + k) / 2; with r = u g0 + v g1 the polynomial is r / v if that divides, and
the decoding has failed if not. Polynomials are uint64 arrays, lowest coefficient first, entries below p.
Works on one codeword; what the codewords of a shared key have in common is `shamir`'s affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.errors import OpeningFailed
from privacy.he.parameters import DEFAULT

PRIME: Final = DEFAULT.share_prime
_P: Final = np.uint64(PRIME)
Polynomial = NDArray[np.uint64]


def inverse(value: int) -> int:
    """1 / value mod p; value is not 0 mod p."""
    return pow(value, -1, PRIME)


def _trim(polynomial: Polynomial) -> Polynomial:
    nonzero = np.flatnonzero(polynomial)
    return polynomial[: int(nonzero[-1]) + 1] if nonzero.size else polynomial[:0]


def _subtract_scaled(target: Polynomial, source: Polynomial, factor: int, shift: int) -> None:
    """target -= factor x^shift source, in place; target is long enough."""
    part = target[shift : shift + source.size]
    # factor and entries are below 2^31, so the product is below 2^62.
    part[:] = (part + _P - source * np.uint64(factor) % _P) % _P


def _divide(numerator: Polynomial, denominator: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder; the denominator is trimmed and not zero."""
    rest = numerator.copy()
    steps = numerator.size - denominator.size + 1
    if steps <= 0:
        return np.zeros(0, dtype=np.uint64), _trim(rest)
    quotient = np.zeros(steps, dtype=np.uint64)
    leading = inverse(int(denominator[-1]))
    for shift in range(steps - 1, -1, -1):
        factor = int(rest[shift + denominator.size - 1]) * leading % PRIME
        quotient[shift] = factor
        _subtract_scaled(rest, denominator, factor, shift)
    return quotient, _trim(rest)


def _multiply_linear(polynomial: Polynomial, root: int) -> Polynomial:
    """polynomial * (x - root)."""
    out = np.zeros(polynomial.size + 1, dtype=np.uint64)
    out[1:] = polynomial
    _subtract_scaled(out, polynomial, root % PRIME, 0)
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def values_at(polynomial: Polynomial, points: Polynomial) -> Polynomial:
    """polynomial(points[j]) mod p, uint64[n], by Horner's rule."""
    out = np.zeros(points.size, dtype=np.uint64)
    for j in range(points.size):
        value = np.uint64(0)
        for power in range(polynomial.size - 1, -1, -1):
            value = (value * points[j] + polynomial[power]) % _P
        out[j] = value
    return out


def _interpolate(points: Polynomial, word: Polynomial) -> tuple[Polynomial, Polynomial]:
    """(prod (x - a_j), the polynomial of degree below n through the word), by Newton's form."""
    product = np.ones(1, dtype=np.uint64)
    through = np.zeros(points.size, dtype=np.uint64)
    for j, point in enumerate(points):
        here = points[j : j + 1]
        missing = (int(word[j]) - int(values_at(_trim(through), here)[0])) % PRIME
        factor = missing * inverse(int(values_at(product, here)[0])) % PRIME
        _subtract_scaled(through, product, PRIME - factor if factor else 0, 0)
        product = _multiply_linear(product, int(point))
    return product, _trim(through)


def false_positions(points: Sequence[int], word: NDArray[np.uint64], dimension: int) -> set[int]:
    """The indices at which uint64[n] differs from the only codeword within (n - dimension) // 2 places.

    Raises OpeningFailed if there is no such codeword.
    """
    count = len(points)
    correctable = (count - dimension) // 2
    failed = OpeningFailed(
        f"at most {correctable} false positions among {count} openings for a quorum of {dimension}",
        "more",
        "wait for further openings, or try subsets of the quorum's size",
    )
    at = np.array(points, dtype=np.uint64)
    older, newer = _interpolate(at, word)
    older_v, newer_v = np.zeros(0, dtype=np.uint64), np.ones(1, dtype=np.uint64)
    while newer.size and 2 * (newer.size - 1) >= count + dimension:
        quotient, rest = _divide(older, newer)
        following = np.zeros(max(older_v.size, quotient.size + newer_v.size), dtype=np.uint64)
        following[: older_v.size] = older_v
        for shift, factor in enumerate(quotient):
            _subtract_scaled(following, newer_v, int(factor), shift)
        older, newer = newer, rest
        older_v, newer_v = newer_v, _trim(following)
    found, rest = _divide(newer, newer_v)
    found = _trim(found)
    if rest.size or found.size > dimension:
        raise failed
    false = {int(index) for index in np.flatnonzero(values_at(found, at) != word)}
    if len(false) > correctable:
        raise failed
    return false
