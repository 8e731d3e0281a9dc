"""Poisson sampling of a batch: each record by itself, with the plan's probability, by our own keystream.

The batch of the proof is the batch that is trained on (protocol 6.2): a data loader's sampler is not used. Which
records, and how many, stays secret: it is part of what the noise hides.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from privacy.errors import UnsafeParameters
from privacy.randomness import Keystream


def poisson_sample(records: int, sampling_rate: float, keystream: Keystream) -> NDArray[np.int64]:
    """Indices, ascending, of the records in the batch: int64[any number, perhaps none].

    Record i is in if word i of the keystream is below floor(gamma 2^64): with probability gamma, at most, to 2^-64.
    At gamma = 1 every record is in and no word is taken.
    """
    if not 0 < sampling_rate <= 1:
        raise UnsafeParameters("a sampling rate in (0, 1]", str(sampling_rate), "set it in the plan")
    if sampling_rate == 1:
        return np.arange(records, dtype=np.int64)
    threshold = math.floor(Fraction(sampling_rate) * 2**64)
    return np.flatnonzero(keystream.words(records) < np.uint64(threshold)).astype(np.int64)
