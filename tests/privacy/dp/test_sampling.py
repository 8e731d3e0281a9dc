"""Poisson sampling: a record is in by a threshold on a word of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.dp.sampling import poisson_sample
from privacy.errors import UnsafeParameters
from privacy.randomness import Keystream


@given(st.binary(min_size=32, max_size=32), st.integers(0, 300), st.floats(1e-9, 1.0))
def test_a_record_is_in_if_its_word_is_below_the_threshold(seed: bytes, records: int, gamma: float) -> None:
    words = [int(word) for word in Keystream(seed).words(records)]
    numerator, denominator = gamma.as_integer_ratio()
    expected = [i for i, word in enumerate(words) if word * denominator < numerator * 2**64 - denominator + 1]
    if gamma == 1.0:
        expected = list(range(records))
    batch = poisson_sample(records, gamma, Keystream(seed))
    assert batch.dtype == np.int64
    assert batch.tolist() == expected


@pytest.mark.parametrize("gamma", [0.0, -0.1, 1.1, float("nan")])
def test_rates_that_are_no_probability_are_refused(gamma: float) -> None:
    with pytest.raises(UnsafeParameters):
        poisson_sample(10, gamma, Keystream(bytes(32)))
