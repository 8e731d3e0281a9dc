"""Sharing a one-time key among the cohort, and recovering the sum of keys (protocol 4, steps 2 and 5).

Rules:
1. Shares are points of polynomials of degree t - 1 over p = 2^31 - 1, one polynomial a coefficient of the key, at
   x = 1 .. m. Shares of several keys add: the sum of shares is a share of the sum.
2. With more than t shares, up to (m - t) // 2 false positions are corrected and named (Reed-Solomon, S. Gao, "A new
   algorithm for decoding Reed-Solomon codes", 2003). False positions are located on random combinations of all
   4,096 codewords, and every coefficient of the remaining positions is then verified exactly.
3. A named position is evidence, not proof: a false dealer can make an honest receiver look false.
4. With exactly t shares nothing can be corrected; whether S is right then shows when the sum is opened. A caller
   whose decoding fails may come back with further shares, or with subsets of t.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.errors import MalformedMessage, NotEnoughOpenings, OpeningFailed, OutOfRange
from privacy.he.parameters import DEFAULT
from privacy.he.reed_solomon import PRIME, false_positions, inverse
from privacy.randomness import Keystream

DEGREE: Final = DEFAULT.degree
COMBINATIONS: Final = 4
"""A false position hides from one random combination with probability 1 / p, from all with 2^-124."""

_P: Final = np.uint64(PRIME)
_BITS: Final = np.uint64(31)


@dataclass(frozen=True)
class Recovered:
    """The sum of keys, int64[4096], and the points whose shares were found false, in order."""

    secret: NDArray[np.int64]
    accused: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Recovered(<withheld>, accused={self.accused})"


def field_elements(keystream: Keystream, count: int) -> NDArray[np.uint64]:
    """`count` uniform elements of [0, p): little-endian 32-bit words masked to 31 bits, p itself skipped."""
    out: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
    while out.size < count:
        raw = np.frombuffer(keystream.bytes(4 * (count - out.size)), dtype="<u4") & np.uint32(PRIME)
        out = np.concatenate([out, raw[raw != PRIME].astype(np.uint64)])
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def evaluate(coefficients: NDArray[np.uint64], points: NDArray[np.uint64], out: NDArray[np.uint32]) -> None:
    """out[j] = the polynomials uint64[degree + 1, n] (lowest first) at points[j] mod p, by Horner's rule."""
    row = np.empty(coefficients.shape[1], dtype=np.uint64)
    for j in range(points.size):
        point = points[j]
        row[:] = coefficients[-1]
        for power in range(coefficients.shape[0] - 2, -1, -1):
            lower = coefficients[power]
            for i in range(row.size):
                # Below 2^32 x 2^31 + 2^31, folded once to below 2^33 and once more to below 2^31 + 4.
                value = row[i] * point + lower[i]
                value = (value & _P) + (value >> _BITS)
                row[i] = (value & _P) + (value >> _BITS)
        for i in range(row.size):
            out[j, i] = row[i] % _P


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def combine(weights: NDArray[np.uint64], rows: NDArray[np.uint32], out: NDArray[np.uint64]) -> None:
    """out[k] = sum over j of weights[k, j] rows[j] mod p; weights uint64[k, m], rows uint32[m, n]."""
    for k in range(weights.shape[0]):
        for i in range(rows.shape[1]):
            out[k, i] = 0
        for j in range(rows.shape[0]):
            weight = weights[k, j]
            for i in range(rows.shape[1]):
                # Below 2^62 + 2^32: folded once it is below 2^32.
                value = out[k, i] + weight * np.uint64(rows[j, i])
                out[k, i] = (value & _P) + (value >> _BITS)
        for i in range(rows.shape[1]):
            out[k, i] %= _P


def deal(secret: NDArray[np.int64], receivers: int, quorum: int, keystream: Keystream) -> NDArray[np.uint32]:
    """Shares of a key, uint32[receivers, 4096]: row j is for point j + 1. Any `quorum` of them recover it.

    `secret`: int64[4096], |s| < p / 2. The polynomials' coefficients of degree 1, then 2, ... come from
    `keystream`.
    """
    if not 1 <= quorum <= receivers:
        raise NotEnoughOpenings(f"a quorum of 1 to {receivers} receivers", str(quorum), "wait for a larger cohort")
    coefficients = np.empty((quorum, DEGREE), dtype=np.uint64)
    coefficients[0] = np.mod(secret, PRIME).astype(np.uint64)
    coefficients[1:] = field_elements(keystream, (quorum - 1) * DEGREE).reshape(quorum - 1, DEGREE)
    shares = np.empty((receivers, DEGREE), dtype=np.uint32)
    evaluate(coefficients, np.arange(1, receivers + 1, dtype=np.uint64), shares)
    coefficients[:] = 0
    return shares


def add_shares(shares: Iterable[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    """One receiver's shares of several keys, each uint32[4096] -> its share of their sum, uint32[4096]."""
    total = np.zeros(DEGREE, dtype=np.uint64)
    for share in shares:
        total += share
    return (total % PRIME).astype(np.uint32)


def lagrange_weights(points: Sequence[int], at: Sequence[int]) -> NDArray[np.uint64]:
    """w[k, j] with f(at[k]) = sum of w[k, j] f(points[j]) mod p for every f of degree below len(points)."""
    denominators = []
    for j, own in enumerate(points):
        product = 1
        for i, other in enumerate(points):
            if i != j:
                product = product * (own - other) % PRIME
        denominators.append(inverse(product))
    rows = []
    for target in at:
        differences = [(target - point) % PRIME for point in points]
        # Products of all but one, without dividing by a difference that may be 0.
        before = [1]
        for difference in differences:
            before.append(before[-1] * difference % PRIME)
        after = 1
        row = [0] * len(points)
        for j in range(len(points) - 1, -1, -1):
            row[j] = before[j] * after % PRIME * denominators[j] % PRIME
            after = after * differences[j] % PRIME
        rows.append(row)
    return np.array(rows, dtype=np.uint64).reshape(len(at), len(points))


def _check_shares(points: Sequence[int], shares: NDArray[np.uint32], quorum: int) -> None:
    if shares.shape != (len(points), DEGREE) or shares.dtype != np.uint32:
        raise MalformedMessage(
            f"shares of uint32[{len(points)}, {DEGREE}]",
            f"{shares.dtype} of {shares.shape}",
            "one row a point",
        )
    if len(set(points)) != len(points) or not all(0 < point < PRIME for point in points):
        raise MalformedMessage(f"distinct points of 1 to {PRIME - 1}", str(list(points)), "count a receiver once")
    if quorum < 1 or len(points) < quorum:
        raise NotEnoughOpenings(f"{quorum} openings", str(len(points)), "wait for further openings")
    if shares.size and int(shares.max()) >= PRIME:
        raise OutOfRange(f"shares below {PRIME}", str(int(shares.max())), "refuse this opening")


def _locate(points: Sequence[int], shares: NDArray[np.uint32], quorum: int) -> set[int]:
    """Rows that are false in some random combination of the columns; the combinations are fixed by the shares."""
    digest = sha256(b"chorale/1 shamir check")
    digest.update(quorum.to_bytes(8, "little") + len(points).to_bytes(8, "little"))
    for point in points:
        digest.update(point.to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(shares, dtype="<u4").tobytes())
    factors = field_elements(Keystream(digest.digest()), COMBINATIONS * DEGREE).reshape(COMBINATIONS, DEGREE)
    words = np.empty((COMBINATIONS, len(points)), dtype=np.uint64)
    combine(factors, np.ascontiguousarray(shares.T), words)
    false: set[int] = set()
    for word in words:
        false |= false_positions(points, word, quorum)
    return false


def recover(points: Sequence[int], shares: NDArray[np.uint32], quorum: int, key_bound: int) -> Recovered:
    """The secret behind m shares, row j of uint32[m, 4096] being that of points[j].

    Raises NotEnoughOpenings below `quorum` shares; OpeningFailed if more positions are false than can be corrected,
    or a coefficient of the result exceeds `key_bound`; OutOfRange and MalformedMessage for shares that are none.
    """
    _check_shares(points, shares, quorum)
    correctable = (len(points) - quorum) // 2
    false = _locate(points, shares, quorum) if len(points) > quorum else set()
    good = [row for row in range(len(points)) if row not in false]
    failure = (
        f"at most {correctable} false positions among {len(points)} openings for a quorum of {quorum}",
        "wait for further openings, or try subsets of the quorum's size",
    )
    if len(false) > correctable:
        raise OpeningFailed(failure[0], f"{len(false)} of them", failure[1])
    base, rest = good[:quorum], good[quorum:]
    targets = [0] + [points[row] for row in rest]
    found = np.empty((len(targets), DEGREE), dtype=np.uint64)
    combine(lagrange_weights([points[row] for row in base], targets), shares[base], found)
    if not np.array_equal(found[1:], shares[rest]):
        raise OpeningFailed(failure[0], "shares that fit no polynomial", failure[1])
    secret = found[0].astype(np.int64)
    secret[secret > PRIME // 2] -= PRIME
    over = np.abs(secret) > key_bound
    if over.any():
        raise OpeningFailed(
            f"a summed key within +-{key_bound}", f"more at coefficient {int(np.argmax(over))}", failure[1]
        )
    return Recovered(secret, tuple(sorted(points[row] for row in false)))
