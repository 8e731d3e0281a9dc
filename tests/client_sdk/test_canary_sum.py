"""The noise audit over a sum that was encrypted, added blind and opened by a quorum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client_sdk.attempt import Outcome
from client_sdk.canary_sum import CanarySheet, audit_next_sum
from client_sdk.model_state import ModelState
from privacy.dp.audit import NoiseAudit
from privacy.errors import UnsafeParameters
from privacy.protocol.messages import Campaign, Plan, VectorLayout
from tests.client_sdk.choir import PARAMETERS, STATISTICS, Choir, choir, together
from tests.consortium import SeededSource
from tests.experiments import faults


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Choir, Campaign, ModelState]]:
    with choir(tmp_path_factory.mktemp("canaries")) as made:
        _, campaign, state = made.constitute()
        yield made, campaign, state


def audited(three: tuple[Choir, Campaign, ModelState], attempt: int) -> dict[str, tuple[Outcome, NoiseAudit]]:
    made, campaign, state = three
    made.post_plan(
        campaign, state.digest, kind="statistics", event=STATISTICS, attempt=attempt,
        layout=VectorLayout(parameters=PARAMETERS, probes=1024, lane_width=24, shift=8),
    )  # fmt: skip

    def act(name: str) -> tuple[Outcome, NoiseAudit]:
        with made.agent(name) as agent:
            return audit_next_sum(agent, campaign)

    return together(made.names, act)


@pytest.mark.full
def test_missing_noise_is_refuted_by_everyone_through_the_whole_protocol(
    three: tuple[Choir, Campaign, ModelState],
) -> None:
    """At z 20, where 0.15 is claimed. Right noise may be refuted by one partner of 20: only guesses are tested."""
    made, _, _ = three
    for attempt, fault in ((1, faults.nothing_wrong), (2, faults.no_noise)):
        with fault():
            found = audited(three, attempt)
        broken = fault is faults.no_noise
        for name, (outcome, audit) in found.items():
            assert outcome.confirmed, name
            assert len(outcome.report.contributors) == 3
            assert audit.guesses.canaries == pytest.approx(PARAMETERS / 3, abs=1)
            assert (audit.guesses.correct == audit.guesses.guessed) == broken
            if broken:
                assert audit.refuted, audit
                assert audit.lower_bound > audit.claimed
        sheets = {(made.root / name / "canaries" / outcome.plan.digest).read_bytes() for name in made.names}
        assert len(sheets) == 3  # everyone has its own coins


def test_a_sheet_is_drawn_once_and_deals_the_coordinates_out(tmp_path: Path) -> None:
    plan = Plan.model_construct(layout=VectorLayout(parameters=100, probes=1024, lane_width=16, shift=14))
    plan.__dict__["digest"] = "ab" * 32
    sheets = [CanarySheet.kept(tmp_path / str(p), plan, p, 3, SeededSource(str(p))) for p in range(3)]
    assert sorted(np.concatenate([sheet.places for sheet in sheets]).tolist()) == list(range(100))
    again = CanarySheet.kept(tmp_path / "0", plan, 0, 3, SeededSource("another"))
    assert (again.coins == sheets[0].coins).all()
    rows = np.concatenate(list(sheets[0].vectors(0.5)))
    assert rows.shape == (int(sheets[0].coins.sum()), 100)
    assert (rows.max(axis=1) == 500.0).all()
    assert np.count_nonzero(rows) == len(rows)
    assert (np.flatnonzero(rows.sum(axis=0)) == sheets[0].places[sheets[0].coins]).all()
    with pytest.raises(UnsafeParameters):
        CanarySheet.kept(tmp_path, plan, 0, 101, SeededSource("0"))
