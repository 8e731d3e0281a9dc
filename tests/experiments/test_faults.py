"""Which experiment sees which planted fault; docs/experiments.md shows this table.

Seeds are fixed, so each case passes or fails for good. Had they been drawn anew: right code alarms with
probability below 1e-5 a case (the probes and sampling by their bounds, the noise audit by the gap that `figures`
shows); a fault that is to be seen is missed in fewer than one of a hundred, but for one silent partner of four
(-5.7 +- 0.75 standard deviations: one in six; over two rounds one in a thousand).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from client_sdk.rehearsal import rehearse_noise, rehearse_sampling
from privacy.dp import accountant
from privacy.dp.audit import audit_noise, guess_coins
from privacy.dp.audit_sampling import SamplingAudit, audit_sampling
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.mechanism import fine_clip
from tests.consortium import SeededSource
from tests.experiments import faults

pytestmark = pytest.mark.statistical

DELTA = 1e-5
PAGE = Path(__file__).parents[2] / "docs" / "experiments.md"
SEEN = {
    faults.nothing_wrong: (),
    faults.no_noise: ("probes", "noise"),
    faults.noise_divided_twice: ("probes", "noise"),
    faults.clip_multiplied_twice: ("noise",),
    faults.no_clipping: ("noise",),
    faults.one_partner_silent: ("probes",),
    faults.batch_shuffled: ("sampling",),
    faults.fixed_size_batches: ("sampling",),
    faults.same_batch_again: ("sampling",),
}
OF_NOISE = [fault for fault in SEEN if "sampling" not in SEEN[fault]] + [faults.batch_shuffled]
OF_SAMPLING = [fault for fault in SEEN if "sampling" in SEEN[fault]] + [faults.nothing_wrong, faults.no_noise]
LONGER = {faults.noise_divided_twice, faults.fixed_size_batches, faults.same_batch_again}
"""Run with the full tests only, as are those that no fault of their kind is in: each takes some seconds."""


def cases(of: list[Any], elsewhere: set[Any]) -> list[Any]:
    return [
        pytest.param(fault, id=fault.__name__, marks=[pytest.mark.full] if fault in LONGER | elsewhere else [])
        for fault in of
    ]


@pytest.fixture(scope="module")
def claimed() -> float:
    event = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=1.0, steps=1)
    return accountant.epsilon(((event, 1),), DELTA, Guarantee.IN_SUM, faults.HONEST)


@pytest.mark.parametrize("fault", cases(OF_NOISE, {faults.batch_shuffled}))
def test_probes_and_noise_audit_see_what_they_can(fault, claimed: float) -> None:  # type: ignore[no-untyped-def]
    with fault():
        made = rehearse_noise(SeededSource(f"{fault.__name__}"))
    assert fine_clip(2.0, 4) == 1 << 18  # the fault is gone again
    audit = audit_noise(guess_coins(made.scores, made.coins), claimed, DELTA)
    assert made.probes.missing == ("probes" in SEEN[fault]), made.probes.deviations
    assert audit.refuted == ("noise" in SEEN[fault]), audit
    assert audit.refuted == (audit.lower_bound > claimed)


@pytest.mark.parametrize("fault", cases(OF_SAMPLING, {faults.no_noise}))
def test_the_sampling_audit_sees_what_it_can(fault) -> None:  # type: ignore[no-untyped-def]
    with fault():
        audit = rehearsed(fault.__name__)
    assert audit.refuted == ("sampling" in SEEN[fault]), audit
    assert audit.twice == 0
    if fault is faults.batch_shuffled:
        assert audit.size_spread < -20
        assert audit.repeats < -20
        assert audit.record_spread < -20
    if fault is faults.fixed_size_batches:
        assert audit.size_spread < -20
        assert abs(audit.repeats) < 5
    if fault is faults.same_batch_again:
        assert audit.repeats > 20
        assert audit.record_spread > 20


def test_the_page_shows_this_table() -> None:
    rows = dict(re.findall(r"^\| [^|]*\(`(\w+)`\) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert set(rows) == {fault.__name__ for fault in SEEN}
    for fault, seen in SEEN.items():
        marks = [cell.strip() for cell in rows[fault.__name__].split("|")]
        for mark, experiment in zip(marks, ("probes", "noise", "sampling"), strict=True):
            assert mark.startswith("**seen**") == (experiment in seen), (fault.__name__, experiment)


def rehearsed(seed: str, records: int = 1000, sampling_rate: float = 0.05, rounds: int = 300) -> SamplingAudit:
    done: list[int] = []
    batches = rehearse_sampling(SeededSource(seed), records, sampling_rate, rounds, done.append)
    assert done == list(range(1, rounds + 1))
    return audit_sampling(batches, records, sampling_rate)
