"""The ring against python integers, and what SEAL refuses."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
import zstandard

from privacy.errors import MalformedMessage, OutOfRange
from privacy.he.parameters import DEFAULT
from privacy.he.ring import BATCH, MemoryFile, Ring, RingKey, ciphertext_container, ciphertext_words
from privacy.randomness import Keystream
from tests.privacy.he import seal_oracle

R, J = bytes(range(32)), bytes(range(32, 64))
KEY = np.random.default_rng(5).integers(-76, 77, DEFAULT.degree)


def test_public_polynomials_are_the_words_of_their_keystream() -> None:
    got = Ring(R, J).public_polynomials(7, 2)
    for row, k in enumerate((7, 8)):
        raw = Keystream(sha256(b"chorale/1 a" + R + J + k.to_bytes(8, "little")).digest()).bytes(8 * 5000)
        plain = [int.from_bytes(raw[i : i + 8], "little") % 2**60 for i in range(0, len(raw), 8)]
        assert got[row].tolist() == [word for word in plain if word < DEFAULT.modulus][: DEFAULT.degree]


@pytest.mark.parametrize("bound", [1, 77, 77_000])
def test_products_equal_python_integers(bound: int) -> None:
    key = np.random.default_rng(bound).integers(-bound, bound + 1, DEFAULT.degree)
    ring = Ring(R, J)
    public = seal_oracle.coefficient_form(ring.public_polynomials(3, 1))[0]
    assert ring.products(RingKey(key), 3, 1)[0].tolist() == seal_oracle.negacyclic_product(public, key)


@pytest.mark.parametrize("count", [1, 2, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_a_batch_of_any_size_gives_what_single_polynomials_give(count: int) -> None:
    ring, key = Ring(R, J), RingKey(KEY)
    together = ring.products(key, 10, count)
    assert together.shape == (count, DEFAULT.degree)
    for row in {0, count // 2, count - 1}:
        assert np.array_equal(together[row], ring.products(key, 10 + row, 1)[0])


def test_a_key_of_zeros_gives_zeros_where_seal_would_refuse() -> None:
    ring = Ring(R, J)
    assert not ring.products(RingKey(np.zeros(DEFAULT.degree, dtype=np.int64)), 0, 3).any()


@pytest.mark.parametrize("position", [0, 1, DEFAULT.degree - 1])
def test_a_key_of_one_coefficient_rotates(position: int) -> None:
    key = np.zeros(DEFAULT.degree, dtype=np.int64)
    key[position] = -1
    ring = Ring(R, J)
    public = seal_oracle.coefficient_form(ring.public_polynomials(0, 1))[0].astype(object)
    rotated = [-public[i - position] if i >= position else public[i - position] for i in range(DEFAULT.degree)]
    assert ring.products(RingKey(key), 0, 1)[0].tolist() == [value % DEFAULT.modulus for value in rotated]


def test_another_round_or_cohort_has_other_polynomials() -> None:
    base = Ring(R, J).public_polynomials(0, 2)
    assert not np.array_equal(base[0], base[1])
    for other in (Ring(J, J), Ring(R, R)):
        assert not np.array_equal(base[0], other.public_polynomials(0, 1)[0])


def test_digests_and_keys_of_another_size_are_refused() -> None:
    with pytest.raises(MalformedMessage):
        Ring(R[:31], J + b"x")
    with pytest.raises(OutOfRange):
        RingKey(KEY[:-1])
    for huge in (2**46, -(2**63)):
        key = KEY.copy()
        key[9] = huge
        with pytest.raises(OutOfRange):
            RingKey(key)


def test_a_wiped_key_shows_and_gives_nothing() -> None:
    key = RingKey(KEY)
    assert "76" not in repr(key)
    key.wipe()
    assert not Ring(R, J).products(key, 0, 1).any()


@pytest.mark.parametrize(("at", "value"), [(0, 0), (3, 3), (4, 9), (5, 1), (8, 7)])
def test_a_container_of_another_form_is_refused(at: int, value: int) -> None:
    ring, file = Ring(R, J), MemoryFile()
    held = seal_oracle.ciphertext(ring.public_polynomials(0, 2), ntt=True)
    held.save(file.path)
    raw = bytearray(file.read())
    assert ciphertext_words(bytes(raw)).size == 2 * DEFAULT.degree
    raw[at] = value
    with pytest.raises(MalformedMessage):
        ciphertext_words(bytes(raw))


@pytest.mark.parametrize("kept", [0, 7, 16, 17, 80, 300])
def test_a_container_cut_short_is_refused(kept: int) -> None:
    whole = ciphertext_container(2, ntt=False) + bytes(2 * 8 * DEFAULT.degree)
    with pytest.raises(MalformedMessage):
        ciphertext_words(_of_length(whole[:kept]))


@pytest.mark.parametrize("packed", [b"", b"no zstd", zstandard.compress(bytes(64 << 20)), zstandard.compress(b"")])
def test_a_packed_container_is_unpacked_within_its_bound_or_not_at_all(packed: bytes) -> None:
    whole = ciphertext_container(2, ntt=False)[:5] + b"\x02" + bytes(10) + packed
    with pytest.raises(MalformedMessage):
        ciphertext_words(_of_length(whole))


def _of_length(container: bytes) -> bytes:
    """With the length that its header says."""
    return container[:8] + len(container).to_bytes(8, "little") + container[16:]


def test_seal_refuses_words_of_q_and_above() -> None:
    words = np.zeros((2, DEFAULT.degree), dtype=np.uint64)
    words[1, 0] = DEFAULT.modulus
    with pytest.raises(RuntimeError):
        seal_oracle.ciphertext(words, ntt=False)
