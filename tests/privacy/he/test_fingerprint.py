"""Fingerprints against python integers, and what they notice."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.errors import MalformedMessage, OutOfRange
from privacy.he.addition import modular_sum
from privacy.he.fingerprint import Fingerprint, _assemble, add, fold
from privacy.he.parameters import DEFAULT
from privacy.he.uniform import UniformWords
from privacy.randomness import Keystream

Q, DEGREE = DEFAULT.modulus, DEFAULT.degree
SEAL = b"seal" * 8
WORD = st.one_of(st.integers(0, Q - 1), st.sampled_from([0, 1, Q - 1, 2**30 - 1, 2**30, Q - 2**30]))


def of(words: np.ndarray, seal: bytes = SEAL) -> tuple[int, int]:
    fingerprint = Fingerprint(seal)
    fingerprint.update(words)
    return fingerprint.value()


def plain(words: np.ndarray, seal: bytes) -> tuple[int, int]:
    drawn = UniformWords(Keystream(sha256(b"chorale/1 rho" + seal).digest()))
    count = words.size // DEGREE
    factors = [int(word) for word in drawn.take(2 * DEGREE + 2 * count)]
    values = [0, 0]
    for side in range(2):
        tau = factors[side * DEGREE : (side + 1) * DEGREE]
        for k in range(count):
            row = words[k * DEGREE : (k + 1) * DEGREE].tolist()
            inner = sum(t * b for t, b in zip(tau, row, strict=True))
            values[side] += factors[2 * DEGREE + 2 * k + side] * inner
    return values[0] % Q, values[1] % Q


@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=40))
def test_folding_equals_python_integers(pairs: list[tuple[int, int]]) -> None:
    words = np.array([[word for word, _ in pairs]], dtype=np.uint64)
    sums = np.empty((1, 6), dtype=np.uint64)
    fold(words, np.array([factor for _, factor in pairs], dtype=np.uint64), sums)
    assert _assemble(sums[0]) == sum(word * factor for word, factor in pairs)


def test_folding_the_largest_words_does_not_overflow() -> None:
    largest = np.full((1, DEGREE), Q - 1, dtype=np.uint64)
    sums = np.empty((1, 6), dtype=np.uint64)
    fold(largest, largest[0], sums)
    assert _assemble(sums[0]) == DEGREE * (Q - 1) ** 2


def test_a_fingerprint_is_what_the_protocol_says() -> None:
    words = np.random.default_rng(1).integers(0, Q, 3 * DEGREE, dtype=np.uint64)
    assert of(words) == plain(words, SEAL)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), max_size=4))
def test_fingerprints_add_and_come_in_parts(n: int, tag: int, parts: list[int]) -> None:
    rng = np.random.default_rng(tag)
    uploads = rng.integers(0, Q, (n, 3 * DEGREE), dtype=np.uint64)
    total = modular_sum(uploads, 3 * DEGREE)
    assert add(of(upload) for upload in uploads) == of(total)
    in_parts = Fingerprint(SEAL)
    at = 0
    for part in [*parts, 3]:
        in_parts.update(total[at * DEGREE : min(3, at + part) * DEGREE])
        at = min(3, at + part)
    assert in_parts.value() == of(total)


@pytest.mark.parametrize("where", [((0, 0), (0, 1)), ((0, 5), (2, 5)), ((1, 4095), (2, 0))])
def test_two_flipped_top_bits_are_noticed(where: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """What sums mod 2^64 would let pass."""
    words = np.random.default_rng(2).integers(0, 2**58, (3, DEGREE), dtype=np.uint64)
    before = of(words)
    for k, j in where:
        words[k, j] ^= np.uint64(1 << 59)
    after = of(words)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_moves_between_words_are_noticed_in_both_halves() -> None:
    words = np.random.default_rng(2).integers(1, Q - 1, (3, DEGREE), dtype=np.uint64)
    before = of(words)
    for one, other in (((0, 0), (0, 1)), ((0, 0), (1, 0)), ((2, 9), (1, 4000))):
        moved = words.copy()
        moved[one] += np.uint64(1)
        moved[other] -= np.uint64(1)
        assert all(a != b for a, b in zip(of(moved), before, strict=True))
    swapped = words[[1, 0, 2]]
    assert of(swapped)[0] != before[0]


def test_another_seal_has_another_fingerprint_and_nothing_has_zero() -> None:
    words = np.random.default_rng(2).integers(0, Q, DEGREE, dtype=np.uint64)
    assert of(words)[0] != of(words, b"other" * 6)[0]
    assert Fingerprint(SEAL).value() == (0, 0) == of(np.zeros(2 * DEGREE, dtype=np.uint64))


def test_what_are_no_polynomials_is_refused() -> None:
    fingerprint = Fingerprint(SEAL)
    for words in (np.zeros(DEGREE - 1, dtype=np.uint64), np.zeros(DEGREE, dtype=np.int64)):
        with pytest.raises(MalformedMessage):
            fingerprint.update(words)  # type: ignore[arg-type]
    with pytest.raises(OutOfRange):
        fingerprint.update(np.full(DEGREE, Q, dtype=np.uint64))
    assert fingerprint.value() == (0, 0)
