"""Uniform words against the plain definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.he.parameters import DEFAULT
from privacy.he.uniform import UniformWords, accept_words
from privacy.randomness import Keystream

WORD = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([DEFAULT.modulus - 1, DEFAULT.modulus, 2**60 - 1, 2**60, 2**64 - 1, 0]),
)


@given(st.lists(WORD, max_size=40), st.integers(0, 40))
def test_words_are_masked_and_skipped_as_defined(raw: list[int], places: int) -> None:
    out = np.empty(places, dtype=np.uint64)
    used, accepted = accept_words(np.array(raw, dtype=np.uint64), out)
    kept: list[int] = []
    read = 0
    while read < len(raw) and len(kept) < places:
        word = raw[read] % 2**60
        read += 1
        if word < DEFAULT.modulus:
            kept.append(word)
    assert (used, out[:accepted].tolist()) == (read, kept)


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, 500), max_size=5))
def test_reading_in_parts_gives_the_same_words(key: bytes, parts: list[int]) -> None:
    stream = UniformWords(Keystream(key))
    got = [word for part in parts for word in stream.take(part).tolist()]
    assert got == UniformWords(Keystream(key)).take(sum(parts)).tolist()
    assert all(word < DEFAULT.modulus for word in got)
