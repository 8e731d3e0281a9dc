"""The envelope: a vector of integers in, a ciphertext under a key used once; a sum and the summed key in, the
summed vector out (protocol 5.1).

Rules:
1. b_k = -a_k s + e_k + delta m_k mod q, in coefficient form, as little-endian 64-bit words.
2. s, every e_k and the share polynomials come from one hedged seed that is bound to round, cohort and message;
   a seed encrypts one vector, ever.
3. An opening holds only if every coefficient's error is small and every lane is in range: both are checked on all
   of them, and a vector that fails is never returned.
Works a shard at a time, sixteen polynomials at a time within it. Does not share keys (shamir), and does not know
who contributed. Not constant time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from math import floor
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.errors import MalformedMessage, OpeningFailed, OutOfRange, UnsafeParameters
from privacy.he.addition import check_words
from privacy.he.error_sampler import ErrorSampler
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.he.ring import BATCH, Ring, RingKey
from privacy.randomness import Keystream, RandomSource, hedged_seed

DEGREE: Final = DEFAULT.degree
_Q: Final = np.uint64(DEFAULT.modulus)
_TWO_Q: Final = np.uint64(2 * DEFAULT.modulus)
_DELTA: Final = np.uint64(DEFAULT.delta)
_HALF_DELTA: Final = np.uint64(DEFAULT.delta // 2)
_PLAIN: Final = np.uint64(2**DEFAULT.plain_bits)
_ALL_WELL: Final = -1


def contribution_seed(
    source: RandomSource,
    device_secret: bytes,
    round_digest: bytes,
    cohort_digest: bytes,
    message_digest: bytes,
) -> bytes:
    """The 32-byte seed of one upload's key, errors and share polynomials (protocol 5.1)."""
    return hedged_seed(source, device_secret, "envelope", round_digest, cohort_digest, message_digest)


def key_stream(seed: bytes) -> Keystream:
    """The keystream from which s is drawn."""
    return Keystream(sha256(b"chorale/1 s" + seed).digest())


def error_stream(seed: bytes, polynomial: int) -> Keystream:
    """The keystream from which e_k is drawn, one for each k so that shards can be made in any order."""
    return Keystream(sha256(b"chorale/1 e" + seed + polynomial.to_bytes(8, "little")).digest())


def share_stream(seed: bytes) -> Keystream:
    """The keystream from which the key's share polynomials are drawn (`shamir.deal`)."""
    return Keystream(sha256(b"chorale/1 shares" + seed).digest())


class OneTimeKey:
    """s, int64[4096], |s| <= 76: the key of one upload. Wiped once its shares are dealt and its shards are made."""

    def __init__(self, seed: bytes) -> None:
        self.s: NDArray[np.int64] = ErrorSampler(key_stream(seed)).draw(DEGREE).astype(np.int64)

    def wipe(self) -> None:
        self.s[:] = 0

    def __repr__(self) -> str:
        return "OneTimeKey(<withheld>)"


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mask_messages(
    products: NDArray[np.uint64],
    errors: NDArray[np.int16],
    messages: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None:
    """out = delta m + e - a s mod q. Below 3 q + 76 with 2 q added, and above 0: two subtractions do."""
    for index in range(messages.size):
        error = np.uint64(np.int64(errors[index]))  # two's complement: the wrap-around cancels in the sum
        word = _DELTA * messages[index] + error + _TWO_Q - products[index]
        word = min(word, word - _TWO_Q)
        out[index] = min(word, word - _Q)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def unmask_sum(
    products: NDArray[np.uint64], summed: NDArray[np.uint64], bound: int, out: NDArray[np.uint64]
) -> int:
    """out = sum of messages from x = B + a S mod q; returns the first coefficient of |error| > bound, or -1.

    M = floor((x + 2037) / 4075), E = x - 4075 M. M = 2^48 is 0 with an error below 0: there E = x - q.
    """
    limit = np.int64(bound)
    for index in range(summed.size):
        word = products[index] + summed[index]
        word = min(word, word - _Q)
        message = (word + _HALF_DELTA) // _DELTA
        error = np.int64(word - _DELTA * message)
        if message == _PLAIN:
            message = np.uint64(0)
            error -= np.int64(1)
        if abs(error) > limit:
            return index
        out[index] = message
    return _ALL_WELL


@dataclass(frozen=True)
class Encryption:
    """One upload in the making: its key, and its shards, each made when it is asked for, once."""

    key: OneTimeKey
    shards: Iterator[bytes]
    polynomials: int
    shard_count: int

    def __repr__(self) -> str:
        return f"Encryption({self.polynomials} polynomials, {self.shard_count} shards, key withheld)"


def _check_shard_bytes(shard_bytes: int) -> int:
    if shard_bytes < POLYNOMIAL_BYTES or shard_bytes % POLYNOMIAL_BYTES:
        raise OutOfRange(
            f"shards of a multiple of {POLYNOMIAL_BYTES} bytes", str(shard_bytes), "choose such a shard size"
        )
    return shard_bytes // POLYNOMIAL_BYTES


def encrypt(
    values: NDArray[Any],
    layout: LaneLayout,
    round_digest: bytes,
    cohort_digest: bytes,
    seed: bytes,
    shard_bytes: int,
) -> Encryption:
    """Encrypts int32[length] or int64[length] under a fresh key from `seed` (protocol 5.1).

    `round_digest` and `cohort_digest` are R and J, 32 bytes each; `shard_bytes` is a multiple of 32,768. The last
    shard may be shorter. `values` must not change until the shards are made.
    Raises OutOfRange before anything is made if a value does not fit its lane.
    """
    in_shard = _check_shard_bytes(shard_bytes)
    layout.check_values(values)
    polynomials = layout.polynomials(values.size)
    key = OneTimeKey(seed)
    shards = _shards(values, layout, Ring(round_digest, cohort_digest), key, seed, polynomials, in_shard)
    return Encryption(key, shards, polynomials, -(-polynomials // in_shard))


def _shards(
    values: NDArray[Any],
    layout: LaneLayout,
    ring: Ring,
    key: OneTimeKey,
    seed: bytes,
    polynomials: int,
    in_shard: int,
) -> Iterator[bytes]:
    ring_key = RingKey(key.s)
    per_polynomial = layout.values_per_polynomial
    try:
        for first in range(0, polynomials, in_shard):
            count = min(in_shard, polynomials - first)
            shard = np.empty(count * DEGREE, dtype="<u8")
            for start in range(0, count, BATCH):
                size = min(BATCH, count - start)
                k = first + start
                messages = layout.pack(values[k * per_polynomial : (k + size) * per_polynomial])
                errors = np.concatenate([ErrorSampler(error_stream(seed, k + i)).draw(DEGREE) for i in range(size)])
                products = ring.products(ring_key, k, size).reshape(-1)
                mask_messages(products, errors, messages, shard[start * DEGREE : (start + size) * DEGREE])
            yield shard.tobytes()
    finally:
        ring_key.wipe()


def open_sum(
    shards: Iterable[bytes],
    summed_key: NDArray[np.int64],
    contributors: int,
    layout: LaneLayout,
    length: int,
    round_digest: bytes,
    cohort_digest: bytes,
) -> Iterator[NDArray[np.int64]]:
    """Opens a sum of `contributors` uploads under S = `summed_key`, int64[4096]: int64 sums, shard by shard.

    The parts together are int64[length]. A sum counts only when the iterator has ended: until then a later
    polynomial may still show that the key was false.
    Raises OpeningFailed, naming the polynomial, if an error exceeds the bound or a lane its range; MalformedMessage
    if the shards are not the polynomials of `length` values; OutOfRange if a word is >= q; UnsafeParameters for
    more contributors than the lanes or the parameter set allow.
    """
    DEFAULT.check_contributors(contributors)
    if contributors > layout.n_max:
        raise UnsafeParameters(
            f"at most {layout.n_max} contributors in these lanes", str(contributors), "use the plan's own layout"
        )
    bound = floor(DEFAULT.error_bound(contributors))
    expected = layout.polynomials(length)
    ring = Ring(round_digest, cohort_digest)
    ring_key = RingKey(summed_key)
    k = 0
    try:
        for shard in shards:
            if not shard or len(shard) % POLYNOMIAL_BYTES or k + len(shard) // POLYNOMIAL_BYTES > expected:
                raise MalformedMessage(
                    f"shards of whole polynomials, {expected} in all",
                    f"{len(shard)} bytes after {k} polynomials",
                    "download the sum again and check its root",
                )
            words = np.frombuffer(shard, dtype="<u8")
            check_words(words)
            parts = []
            for start in range(0, words.size, BATCH * DEGREE):
                batch = words[start : start + BATCH * DEGREE]
                parts.append(_open_batch(ring, ring_key, batch, k, bound, contributors, layout, length))
                k += batch.size // DEGREE
            yield np.concatenate(parts)
    finally:
        ring_key.wipe()
    if k != expected:
        raise MalformedMessage(f"{expected} polynomials", str(k), "download the sum's missing shards")


def _open_batch(
    ring: Ring,
    ring_key: RingKey,
    batch: NDArray[np.uint64],
    k: int,
    bound: int,
    contributors: int,
    layout: LaneLayout,
    length: int,
) -> NDArray[np.int64]:
    size = batch.size // DEGREE
    products = ring.products(ring_key, k, size).reshape(-1)
    messages = np.empty(batch.size, dtype=np.uint64)
    bad = unmask_sum(products, batch, bound, messages)
    if bad != _ALL_WELL:
        raise OpeningFailed(
            f"errors within {bound} in a sum of {contributors}",
            f"a larger one in polynomial {k + bad // DEGREE}, coefficient {bad % DEGREE}",
            "try other openings; if none opens it, the attempt is void",
        )
    held = min(length - k * layout.values_per_polynomial, size * layout.values_per_polynomial)
    try:
        return layout.unpack(messages, contributors, held, first_polynomial=k)
    except OutOfRange as outside:
        raise OpeningFailed(
            outside.expected, outside.came, "the attempt is void: a contributor left its lanes"
        ) from outside
