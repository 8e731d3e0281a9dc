"""Audit of sampling: were the batches of many rounds Poisson samples at the plan's rate? (protocol 6.2)

The proof of amplification needs each record in each batch by itself, with probability gamma. A loader that
shuffles an epoch and deals it out gives batches of one size, and no record twice within 1 / gamma rounds; a claim
computed for Poisson sampling is then false (arXiv 2403.17673), and no audit of one run's noise would notice.

Rules:
1. Four figures, each in standard deviations from what Poisson sampling gives, two-sided:
   *mean size*: the sum of the batch sizes against T N gamma; *size spread*: their squared deviations from N gamma
   against T N gamma (1 - gamma); *repeats*: of each batch, records that were in any of the round(1 / gamma) - 1
   batches before, given how many those are: Binomial(that many, gamma), whatever came before; *record spread*: how
   often each record came, against T gamma (1 - gamma).
2. Spreads are chi-square over their degrees of freedom, made normal by the cube root of Wilson and Hilferty
   (PNAS 17 (1931), 684).
3. Beyond ALARM_DEVIATIONS on either side the sampler is refuted. All four together alarm on a right sampler with
   probability below 1e-5. A record twice in one batch refutes it at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from privacy.errors import OutOfRange

ALARM_DEVIATIONS: Final = 5.0
LEAST_EXPECTED: Final = 5.0
"""Mean batch size, and mean count of a record, below which the figures are not normal enough."""


@dataclass(frozen=True)
class SamplingAudit:
    """Figures in standard deviations (rule 1). twice: records that stood in one batch more than once."""

    rounds: int
    records: int
    sampling_rate: float
    mean_size: float
    size_spread: float
    repeats: float
    record_spread: float
    twice: int

    @property
    def deviations(self) -> dict[str, float]:
        return {
            "mean size": self.mean_size,
            "size spread": self.size_spread,
            "repeats": self.repeats,
            "record spread": self.record_spread,
        }

    @property
    def refuted(self) -> bool:
        return self.twice > 0 or any(abs(one) > ALARM_DEVIATIONS for one in self.deviations.values())


def audit_sampling(batches: Sequence[NDArray[np.int64]], records: int, sampling_rate: float) -> SamplingAudit:
    """batches: for each round the indices, below `records`, of those that were trained on, in any order.

    Raises OutOfRange where there is too little to judge by: gamma 1, or fewer expected than LEAST_EXPECTED.
    """
    rounds, gamma = len(batches), sampling_rate
    if not (0 < gamma < 1 and min(records, rounds) * gamma >= LEAST_EXPECTED):
        raise OutOfRange(
            f"a sampling rate below 1, and records and rounds of at least {LEAST_EXPECTED:g} / rate",
            f"rate {gamma}, {records} records, {rounds} rounds",
            "rehearse more rounds or more records; at rate 1 there is nothing to sample",
        )
    present = np.zeros((rounds, records), dtype=np.bool_)
    for number, batch in enumerate(batches):
        present[number, batch] = True
    sizes, counts = present.sum(axis=1), present.sum(axis=0)
    each = gamma * (1 - gamma)
    return SamplingAudit(
        rounds=rounds,
        records=records,
        sampling_rate=gamma,
        mean_size=float((sizes.sum() - rounds * records * gamma) / math.sqrt(rounds * records * each)),
        size_spread=_spread(np.square(sizes - records * gamma).sum() / (records * each), rounds),
        repeats=_repeats(present, gamma),
        record_spread=_spread(np.square(counts - rounds * gamma).sum() / (rounds * each), records),
        twice=sum(batch.size for batch in batches) - int(sizes.sum()),
    )


def _repeats(present: NDArray[np.bool_], gamma: float) -> float:
    """Sum over rounds of (repeats - gamma x candidates), a martingale, over the root of its variance."""
    window = max(1, round(1 / gamma) - 1)
    repeated, candidates = 0, 0
    for number in range(1, len(present)):
        before = present[max(0, number - window) : number].any(axis=0)
        repeated += int(np.count_nonzero(present[number] & before))
        candidates += int(np.count_nonzero(before))
    if candidates == 0:
        return 0.0
    return (repeated - gamma * candidates) / math.sqrt(gamma * (1 - gamma) * candidates)


def _spread(chi_square: float, degrees: int) -> float:
    """Rule 2."""
    variance = 2 / (9 * degrees)
    return float((float(chi_square / degrees) ** (1 / 3) - (1 - variance)) / math.sqrt(variance))
