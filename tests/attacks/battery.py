"""Statistics by which words mod q are told from uniform ones, for the view test. It knows no protocol.

Rules:
1. Each statistic gives a p-value under uniformity; one below ALPHA is a rejection. A battery of k statistics over
   uniform words rejects with probability at most k ALPHA.
2. It has to reject what it is there for: a key that was used twice, errors that are zero, a key that is known.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import erfc, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from privacy.he.parameters import DEFAULT
from privacy.he.ring import Ring, RingKey

Q: Final = DEFAULT.modulus
N: Final = DEFAULT.degree
ALPHA: Final = 1e-6
Words = NDArray[Any]  # object[4096]: integers of 0 to q - 1


def p_values(words: Words) -> dict[str, float]:
    """For integers of 0 to q - 1: their high part, low part, mean, and what neighbours have in common."""
    share = np.array([int(word) / Q for word in words])
    high = np.bincount((share * 64).astype(int), minlength=64)
    low = np.bincount(np.array([int(word) & 63 for word in words]), minlength=64)
    centred = share - 0.5
    serial = float(np.sum(centred * np.roll(centred, 1))) * 12 / sqrt(len(share))
    mean = float(np.sum(centred)) * sqrt(12 / len(share))
    return {
        "high": _chi_square(high),
        "low": _chi_square(low),
        "mean": erfc(abs(mean) / sqrt(2)),
        "serial": erfc(abs(serial) / sqrt(2)),
    }


def _chi_square(counts: NDArray[np.int64]) -> float:
    expected = counts.sum() / len(counts)
    return float(chi2.sf(np.sum((counts - expected) ** 2) / expected, len(counts) - 1))


def rejections(residuals: dict[str, Words], ring: Ring) -> list[str]:
    """What tells residuals b - delta m of one polynomial from uniform: each, over a, and sums and differences."""
    public = public_polynomial(ring)
    looked_at: dict[str, Words] = {}
    for name, words in residuals.items():
        looked_at[name] = words
        looked_at[f"{name} / a"] = divided(words, public)
    for (first, words), (second, others) in combinations(residuals.items(), 2):
        looked_at[f"{first} - {second}"] = (words - others) % Q
        looked_at[f"{first} + {second}"] = (words + others) % Q
    return [
        f"{name}: {statistic}"
        for name, words in looked_at.items()
        for statistic, p in p_values(words).items()
        if p < ALPHA
    ]


# --- arithmetic mod X^4096 + 1 and q, by the book: the adversary brings its own ------------------------------


def public_polynomial(ring: Ring) -> Words:
    """a_0 in coefficient form: its product with the key 1."""
    one = np.zeros(N, dtype=np.int64)
    one[0] = 1
    return np.asarray(ring.products(RingKey(one), 0, 1)).reshape(-1).astype(object)


@lru_cache(maxsize=1)
def _root() -> int:
    """A primitive 2N-th root of one."""
    base = 2
    while True:
        root = pow(base, (Q - 1) // (2 * N), Q)
        if pow(root, N, Q) == Q - 1:
            return root
        base += 1


def _transform(values: Words, root: int) -> Words:
    if len(values) == 1:
        return values
    even, odd = _transform(values[::2], root * root % Q), _transform(values[1::2], root * root % Q)
    turned = odd * np.array(_powers(root, len(odd)), dtype=object) % Q
    return np.concatenate([(even + turned) % Q, (even - turned) % Q])


@lru_cache(maxsize=64)
def _powers(root: int, count: int) -> tuple[int, ...]:
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * root % Q)
    return tuple(powers)


def _evaluated(words: Words) -> Words:
    """Values at the odd powers of the 2N-th root."""
    root = _root()
    return _transform(words * np.array(_powers(root, N), dtype=object) % Q, root * root % Q)


def divided(words: Words, by: Words) -> Words:
    """words / by mod X^N + 1; `by` has no root there but with probability N / q."""
    root = _root()
    inverses = np.array([pow(int(value), -1, Q) for value in _evaluated(by)], dtype=object)
    back = _transform(_evaluated(words) * inverses % Q, pow(root, -2, Q))
    scale = np.array(_powers(pow(root, -1, Q), N), dtype=object) * pow(N, -1, Q)
    quotient: Words = back * scale % Q
    return quotient
