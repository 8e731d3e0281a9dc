"""The contract: the opened sum is the integer sum, bit for bit, and nothing else opens."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privacy.errors import MalformedMessage, OpeningFailed, OutOfRange, UnsafeParameters
from privacy.he.addition import modular_sum
from privacy.he.envelope import (
    OneTimeKey,
    contribution_seed,
    encrypt,
    error_stream,
    open_sum,
)
from privacy.he.error_sampler import ErrorSampler
from privacy.he.fingerprint import Fingerprint
from privacy.he.lanes import WIDTHS, LaneLayout
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.he.ring import Ring, RingKey
from tests.privacy.he import seal_oracle

R, J = b"R" * 32, b"J" * 32
Q, DELTA, DEGREE = DEFAULT.modulus, DEFAULT.delta, DEFAULT.degree


def seed_of(index: int) -> bytes:
    return index.to_bytes(32, "little")


def words_of(shards: Iterator[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(shards), dtype="<u8")


def opened(
    words: NDArray[np.uint64], key: NDArray[np.int64], n: int, layout: LaneLayout, length: int
) -> np.ndarray:
    return np.concatenate(list(open_sum([words.tobytes()], key, n, layout, length, R, J)))


@cache
def summed(width: int, n: int, length: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """(summed ciphertext, summed key, the integer sum) of n vectors, the first two of them extremes."""
    layout = LaneLayout(width, 64)
    rng = np.random.default_rng(1000 * width + n)
    vectors = [rng.integers(-layout.offset, layout.offset + 1, length) for _ in range(n)]
    for index in range(min(n, 2)):
        vectors[index][: length // 2] = layout.offset * (1 if n % 2 else -1)
    uploads = [encrypt(vector, layout, R, J, seed_of(i), POLYNOMIAL_BYTES) for i, vector in enumerate(vectors)]
    total = modular_sum((words_of(upload.shards) for upload in uploads), layout.polynomials(length) * DEGREE)
    return total, np.sum([upload.key.s for upload in uploads], axis=0), np.sum(vectors, axis=0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 31, 64])
def test_the_opened_sum_is_the_integer_sum(width: int, n: int) -> None:
    layout = LaneLayout(width, 64)
    length = layout.values_per_polynomial + 1001
    total, key, expected = summed(width, n, length)
    assert np.array_equal(opened(total, key, n, layout, length), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_opened_sum_is_exact_for_every_number_of_partners(width: int) -> None:
    """n = 1 to 64, each one more upload than before; random values, and both extremes among them."""
    layout = LaneLayout(width, 64)
    rng = np.random.default_rng(width)
    length = layout.values_per_polynomial
    expected, key = np.zeros(length, dtype=np.int64), np.zeros(DEGREE, dtype=np.int64)
    total = np.zeros(DEGREE, dtype=np.uint64)
    for n in range(1, 65):
        values = rng.integers(-layout.offset, layout.offset + 1, length)
        values[: length // 4], values[-length // 4 :] = layout.offset, -layout.offset
        upload = encrypt(values, layout, R, J, seed_of(n), POLYNOMIAL_BYTES)
        total = modular_sum([total, words_of(upload.shards)], DEGREE)
        key += upload.key.s
        expected += values
        assert np.array_equal(opened(total, key, n, layout, length), expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_extremes_in_every_lane(width: int, sign: int) -> None:
    n = 10
    layout = LaneLayout(width, n)
    values = np.full(layout.values_per_polynomial, sign * layout.offset, dtype=np.int32)
    uploads = [encrypt(values, layout, R, J, seed_of(i), POLYNOMIAL_BYTES) for i in range(n)]
    total = modular_sum((words_of(upload.shards) for upload in uploads), DEGREE)
    key = np.sum([upload.key.s for upload in uploads], axis=0)
    assert np.array_equal(opened(total, key, n, layout, values.size), n * values.astype(np.int64))


@settings(max_examples=12, deadline=None)
@given(st.data(), st.sampled_from(WIDTHS), st.integers(2, 5))
def test_any_vectors_open_to_their_sum(data: st.DataObject, width: int, n: int) -> None:
    layout = LaneLayout(width, 5)
    length = data.draw(st.integers(1, 30))
    value = st.integers(-layout.offset, layout.offset)
    vectors = [data.draw(st.lists(value, min_size=length, max_size=length)) for _ in range(n)]
    uploads = [
        encrypt(np.array(v, dtype=np.int32), layout, R, J, data.draw(st.binary(min_size=32, max_size=32)), 32768)
        for v in vectors
    ]
    total = modular_sum((words_of(upload.shards) for upload in uploads), DEGREE)
    key = np.sum([upload.key.s for upload in uploads], axis=0)
    expected = [sum(column) for column in zip(*vectors, strict=True)]
    assert opened(total, key, n, layout, length).tolist() == expected


def test_seals_own_decryptor_agrees_and_the_residual_is_the_sum_of_errors() -> None:
    n, width = 50, 12
    layout = LaneLayout(width, 64)
    length = layout.values_per_polynomial + 77
    total, key, expected = summed(width, n, length)
    ring = Ring(R, J)
    by_seal = seal_oracle.decrypt(ring, 0, total.reshape(-1, DEGREE), key)
    assert np.array_equal(layout.unpack(by_seal.reshape(-1), n, length), expected)
    products = ring.products(RingKey(key), 0, 2).reshape(-1)
    errors = np.zeros(2 * DEGREE, dtype=np.int64)
    for i in range(n):
        for k in range(2):
            errors[k * DEGREE : (k + 1) * DEGREE] += ErrorSampler(error_stream(seed_of(i), k)).draw(DEGREE)
    for index in range(2 * DEGREE):
        x = (int(total[index]) + int(products[index])) % Q
        residual = (x - DELTA * int(by_seal.reshape(-1)[index]) + Q // 2) % Q - Q // 2
        assert residual == errors[index]
    assert np.abs(errors).max() < DEFAULT.error_bound(n)


def test_one_upload_is_what_the_definition_says() -> None:
    layout = LaneLayout(24, 3)
    values = np.arange(-50, 50)
    upload = encrypt(values, layout, R, J, seed_of(4), POLYNOMIAL_BYTES)
    public = seal_oracle.coefficient_form(Ring(R, J).public_polynomials(0, 1))[0]
    product = seal_oracle.negacyclic_product(public, upload.key.s)
    errors = ErrorSampler(error_stream(seed_of(4), 0)).draw(DEGREE).tolist()
    messages = layout.pack(values).tolist()
    expected = [(DELTA * m + e - p) % Q for m, e, p in zip(messages, errors, product, strict=True)]
    assert words_of(upload.shards).tolist() == expected


def fingerprint_of(words: NDArray[np.uint64]) -> tuple[int, int]:
    fingerprint = Fingerprint(b"f" * 32)
    fingerprint.update(words)
    return fingerprint.value()


@pytest.mark.parametrize("bit", [0, 4, 8, 11, 12, 24, 40, 58])
@pytest.mark.parametrize("at", [0, DEGREE - 1, DEGREE, 2 * DEGREE - 1])
def test_a_flipped_bit_is_refused(bit: int, at: int) -> None:
    """Every flip by the fingerprint; by the opening all but those near a multiple of delta, like errors."""
    n, layout = 5, LaneLayout(12, 64)
    length = layout.values_per_polynomial + 1001
    total, key, expected = summed(12, n, length)
    flipped = total.copy()
    flipped[at] ^= np.uint64(1 << bit)
    assert all(one != other for one, other in zip(fingerprint_of(flipped), fingerprint_of(total), strict=True))
    moved = (2**bit + DELTA // 2) % DELTA - DELTA // 2
    if abs(moved) > 2 * DEFAULT.error_bound(n):
        with pytest.raises(OpeningFailed, match=f"polynomial {at // DEGREE}, coefficient {at % DEGREE};"):
            opened(flipped, key, n, layout, length)
    elif 2**bit < DEFAULT.error_bound(n) / 2:
        assert np.array_equal(opened(flipped, key, n, layout, length), expected)


@pytest.mark.parametrize("position", [0, 77, DEGREE - 1])
@pytest.mark.parametrize("step", [-1, 1, 1000])
def test_a_key_off_by_one_opens_nothing(position: int, step: int) -> None:
    layout = LaneLayout(16, 64)
    length = layout.values_per_polynomial + 1001
    total, key, _ = summed(16, 5, length)
    wrong = key.copy()
    wrong[position] += step
    with pytest.raises(OpeningFailed, match="polynomial 0"):
        opened(total, wrong, 5, layout, length)


def test_one_upload_does_not_open_under_the_summed_key_and_a_failure_names_its_polynomial() -> None:
    layout = LaneLayout(24, 64)
    length = 20 * layout.values_per_polynomial
    uploads = [
        encrypt(np.zeros(length, dtype=np.int32), layout, R, J, seed_of(i), 2 * POLYNOMIAL_BYTES) for i in (1, 2)
    ]
    key = uploads[0].key.s + uploads[1].key.s
    first, second = (words_of(upload.shards) for upload in uploads)
    with pytest.raises(OpeningFailed):
        opened(first, key, 2, layout, length)
    total = modular_sum([first, second], first.size)
    assert not opened(total, key, 2, layout, length).any()
    total[17 * DEGREE + 5] ^= np.uint64(1 << 50)
    with pytest.raises(OpeningFailed, match="polynomial 17, coefficient 5;"):
        opened(total, key, 2, layout, length)


def test_a_lane_out_of_range_is_refused_by_its_polynomial() -> None:
    layout = LaneLayout(24, 64)
    length = 18 * layout.values_per_polynomial
    upload = encrypt(np.full(length, layout.offset, dtype=np.int32), layout, R, J, seed_of(1), 32768)
    words = words_of(upload.shards).copy()
    at = 17 * DEGREE + 3
    words[at] = (int(words[at]) + DELTA) % Q  # a message one larger, exactly
    with pytest.raises(OpeningFailed, match="polynomial 17, coefficient 3;"):
        opened(words, upload.key.s, 1, layout, length)


def test_shards_of_any_size_hold_the_same_words() -> None:
    layout = LaneLayout(12, 10)
    values = np.random.default_rng(0).integers(-layout.offset, layout.offset + 1, 19 * 4 * DEGREE - 5)
    whole = words_of(encrypt(values, layout, R, J, seed_of(0), 100 * POLYNOMIAL_BYTES).shards)
    for polynomials in (1, 7, 16, 17):
        upload = encrypt(values.astype(np.int32), layout, R, J, seed_of(0), polynomials * POLYNOMIAL_BYTES)
        shards = list(upload.shards)
        assert len(shards) == upload.shard_count == -(-19 // polynomials)
        assert upload.polynomials == 19
        assert all(len(shard) == polynomials * POLYNOMIAL_BYTES for shard in shards[:-1])
        assert np.array_equal(np.frombuffer(b"".join(shards), dtype="<u8"), whole)
        parts = list(open_sum(shards, upload.key.s, 1, layout, values.size, R, J))
        assert len(parts) == len(shards)
        assert np.array_equal(np.concatenate(parts), values)


def test_what_is_not_the_whole_sum_is_refused() -> None:
    layout = LaneLayout(16, 64)
    length = layout.values_per_polynomial + 1001
    total, key, _ = summed(16, 5, length)
    raw = total.tobytes()
    for shards in ([raw[:32768]], [], [raw, raw[:32768]], [raw[:-1]], [raw[:32768], b"", raw[32768:]]):
        with pytest.raises(MalformedMessage):
            list(open_sum(shards, key, 5, layout, length, R, J))
    too_large = total.copy()
    too_large[5000] = Q
    with pytest.raises(OutOfRange):
        opened(too_large, key, 5, layout, length)
    for contributors in (0, 65, 1001):
        with pytest.raises(UnsafeParameters):
            list(open_sum([raw], key, contributors, layout, length, R, J))
    for digests in ((J, J), (R, R)):
        with pytest.raises(OpeningFailed):
            list(open_sum([raw], key, 5, layout, length, *digests))


def test_nothing_is_made_from_a_vector_that_does_not_fit() -> None:
    layout = LaneLayout(12, 10)
    values = np.zeros(100_000, dtype=np.int64)
    values[99_999] = layout.offset + 1
    with pytest.raises(OutOfRange, match="at index 99999;"):
        encrypt(values, layout, R, J, seed_of(0), 32768)
    for shard_bytes in (0, 32767, 32768 + 8):
        with pytest.raises(OutOfRange):
            encrypt(values[:10], layout, R, J, seed_of(0), shard_bytes)
    with pytest.raises(OutOfRange):
        encrypt(np.zeros(3), layout, R, J, seed_of(0), 32768)


class Frozen:
    """An entropy source that repeats itself: a virtual machine that was rolled back."""

    def bytes(self, count: int) -> bytes:
        return bytes(count)


def test_with_frozen_entropy_another_context_still_has_another_seed() -> None:
    base = [b"d" * 32, R, J, b"m" * 32]
    seeds = {contribution_seed(Frozen(), *base)}
    for part in range(4):
        changed = list(base)
        changed[part] = b"x" * 32
        seeds.add(contribution_seed(Frozen(), *changed))
    assert len(seeds) == 5
    assert contribution_seed(Frozen(), *base) in seeds


def test_keys_are_small_and_do_not_show() -> None:
    key = OneTimeKey(seed_of(9))
    assert key.s.dtype == np.int64
    assert np.abs(key.s).max() <= 76
    assert 6 < key.s.std() < 7
    upload = encrypt(np.zeros(3, dtype=np.int32), LaneLayout(12, 5), R, J, seed_of(9), 32768)
    assert np.array_equal(upload.key.s, key.s)
    for text in (repr(key), repr(upload)):
        assert "withheld" in text
        assert str(int(key.s[0])) not in text.replace("polynomials", "").replace("1 ", "") or int(key.s[0]) in (
            0,
            1,
        )
    key.wipe()
    assert not key.s.any()
