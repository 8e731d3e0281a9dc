"""Blind addition against python integers and SEAL's own adder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.errors import MalformedMessage, OutOfRange
from privacy.he.addition import UNREDUCED, ModularSum, check_words, modular_sum, reduce_words
from privacy.he.parameters import DEFAULT
from tests.privacy.he import seal_oracle

Q = DEFAULT.modulus
WORD = st.one_of(st.integers(0, Q - 1), st.sampled_from([0, 1, Q - 1]))


@settings(max_examples=60)
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(WORD, min_size=n, max_size=n), max_size=50)))
def test_sums_equal_python_integers(rows: list[list[int]]) -> None:
    length = len(rows[0]) if rows else 3
    got = modular_sum((np.array(row, dtype=np.uint64) for row in rows), length)
    assert got.tolist() == [sum(column) % Q for column in zip(*rows, strict=True)] if rows else not got.any()


@pytest.mark.parametrize("count", [1, 14, 15, 16, 17, 31, 200])
def test_the_largest_words_never_overflow(count: int) -> None:
    largest = np.full(3, Q - 1, dtype=np.uint64)
    summed = ModularSum(3)
    for done in range(1, count + 1):
        summed.add(largest)
        if done in (3, 15, count):
            assert summed.total().tolist() == [done * (Q - 1) % Q] * 3


@given(
    st.lists(st.one_of(st.integers(0, UNREDUCED * Q - 1), st.sampled_from([k * Q for k in range(16)])), max_size=40)
)
def test_reduction_equals_the_remainder(words: list[int]) -> None:
    array = np.array(words, dtype=np.uint64)
    reduce_words(array)
    assert array.tolist() == [word % Q for word in words]


def test_sums_equal_seals_own() -> None:
    rng = np.random.default_rng(3)
    uploads = rng.integers(0, Q, (20, 2, DEFAULT.degree), dtype=np.uint64)
    by_seal = uploads[0]
    for upload in uploads[1:]:
        by_seal = seal_oracle.add(by_seal, upload)
    ours = modular_sum((upload.reshape(-1) for upload in uploads), 2 * DEFAULT.degree)
    assert np.array_equal(ours, by_seal.reshape(-1))


@pytest.mark.parametrize("word", [Q, Q + 1, 2**60, 2**63, 2**64 - 1])
@pytest.mark.parametrize("at", [0, 500, 999])
def test_a_word_of_q_or_above_is_refused_and_named(word: int, at: int) -> None:
    words = np.full(1000, Q - 1, dtype=np.uint64)
    check_words(words)
    words[at] = word
    with pytest.raises(OutOfRange, match=f"{word} at word {at};"):
        check_words(words)
    with pytest.raises(OutOfRange):
        ModularSum(1000).add(words)


def test_read_only_buffers_are_taken_and_other_lengths_refused() -> None:
    raw = np.arange(8, dtype="<u8").tobytes()
    assert modular_sum([np.frombuffer(raw, dtype="<u8")] * 3, 8).tolist() == [3 * value for value in range(8)]
    with pytest.raises(MalformedMessage):
        ModularSum(7).add(np.frombuffer(raw, dtype="<u8"))
