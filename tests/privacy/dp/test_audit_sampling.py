"""The sampling audit on batches of known law. Seeds are fixed; false alarms, drawn anew, below 1e-5 a sampler."""

from __future__ import annotations

import numpy as np
import pytest

from privacy.dp.audit_sampling import audit_sampling
from privacy.dp.sampling import poisson_sample
from privacy.errors import OutOfRange
from privacy.randomness import Keystream


def poisson(rate: float, records: int, rounds: int, seed: int) -> list[np.ndarray]:
    stream = Keystream(bytes([seed]) * 32)
    return [poisson_sample(records, rate, stream) for _ in range(rounds)]


def test_a_right_sampler_gives_standard_figures() -> None:
    """Of 100 audits: each figure's mean and standard deviation are 0 and 1 within 5 of their own deviations."""
    audits = [audit_sampling(poisson(0.05, 400, 200, seed), 400, 0.05) for seed in range(100)]
    assert not any(audit.refuted for audit in audits)
    for name in audits[0].deviations:
        found = np.array([audit.deviations[name] for audit in audits])
        assert abs(found.mean()) < 0.5, name
        assert abs(found.std() - 1) < 0.36, name


@pytest.mark.parametrize("true_rate", [0.045, 0.055])
def test_another_rate_is_seen_by_the_mean_size(true_rate: float) -> None:
    audit = audit_sampling(poisson(true_rate, 1000, 200, 3), 1000, 0.05)
    assert audit.refuted
    assert abs(audit.mean_size) > 5


def test_some_records_more_often_than_others_are_seen_by_the_record_spread() -> None:
    """Half of the records at 0.06 and half at 0.04: sizes are as they should be."""
    stream = Keystream(bytes([9]) * 32)
    often = [poisson_sample(500, 0.06, stream) for _ in range(400)]
    seldom = [poisson_sample(500, 0.04, stream) + 500 for _ in range(400)]
    audit = audit_sampling([np.concatenate(pair) for pair in zip(often, seldom, strict=True)], 1000, 0.05)
    assert abs(audit.mean_size) < 5
    assert audit.record_spread > 5


def test_a_record_twice_in_a_batch_refutes_at_once() -> None:
    batches = poisson(0.05, 400, 200, 1)
    batches[7] = np.append(batches[7], batches[7][:1])
    audit = audit_sampling(batches, 400, 0.05)
    assert audit.twice == 1
    assert audit.refuted


def test_batches_of_nobody_are_refuted_and_not_an_error() -> None:
    assert audit_sampling([np.zeros(0, dtype=np.int64)] * 200, 400, 0.05).refuted


@pytest.mark.parametrize(
    ("rate", "records", "rounds"), [(1.0, 100, 100), (0.0, 100, 100), (0.05, 99, 200), (0.05, 200, 99)]
)
def test_too_little_to_judge_by_is_refused(rate: float, records: int, rounds: int) -> None:
    with pytest.raises(OutOfRange):
        audit_sampling([np.zeros(0, dtype=np.int64)] * rounds, records, rate)
