"""The noise audit over a sum that was encrypted, added blind and opened by a quorum."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.operator.answers import RoundDocument
from aggregator.operator.client import OperatorClient
from aggregator.operator.conductor import Assignment, Conductor
from aggregator.operator.plan_record import PlanRecord
from aggregator.operator.planning import Phases, vector_layout
from aggregator.operator.signed_http import SignedHttp
from client_sdk.attempt import Attempt, Outcome
from client_sdk.canary_sum import CanarySheet, audit_next_sum
from client_sdk.model_state import ModelState
from privacy.clock import SystemClock
from privacy.dp.audit import LONGEST_SUM, NoiseAudit
from privacy.errors import BudgetExhausted, ConfigurationError, UnsafeParameters
from privacy.protocol.messages import Campaign, Plan, VectorLayout
from privacy.protocol.signing import Verifier
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import PARAMETERS, STATISTICS, Choir, choir, together
from tests.consortium import SeededSource
from tests.experiments import faults


class Told:
    """A Watcher of the conductor."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, int, str, str]] = []

    def proposed(self, plan: Plan) -> None:
        return None

    def changed(self, document: RoundDocument) -> None:
        return None

    def ended(self, document: RoundDocument) -> None:
        self.ends.append((document.number, document.attempt, document.plan.body.kind, document.state.value))

    def notice(self, text: str) -> None:
        raise AssertionError(text)


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


def test_the_operator_conducts_a_sum_of_canaries_between_rounds_of_training(tmp_path: Path) -> None:
    """Two sums of canaries and a round of training around one, all signed by the conductor."""
    with choir(tmp_path, parameters=64) as made:
        charter, campaign, state = made.constitute()
        rows = {row.name: row for row in charter.table}
        told = Told()

        def conduct(row: str, rounds: int, canaries: int | None = None) -> None:
            work = Assignment(
                charter=charter,
                campaign=made.signed_campaign,
                row=rows[row],
                layout=vector_layout(charter, campaign, rows[row], None, canaries),
                phases=Phases(30, 30, 30),
                last_round=rounds,
                max_attempts=1,
            )
            record = PlanRecord(tmp_path / "plans.jsonl")
            key, clock = made.operator_key, SystemClock()
            http = SignedHttp(made.url, key, clock, SystemRandom(), time.sleep)
            Conductor(OperatorClient(http), record, key, work, "one", clock, Verifier(), told).run()
            http.close()

        def audit(name: str) -> tuple[Outcome, NoiseAudit]:
            with made.agent(name) as agent:
                return audit_next_sum(agent, campaign)

        def train(name: str) -> Outcome:
            with made.agent(name) as agent:
                for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
                    assert isinstance(item, Attempt)
                    joined = agent.join(item)
                    agent.contribute(joined, np.zeros(joined.plan.layout.length, dtype=np.int32))
                    return agent.finish(joined)
                raise AssertionError("stopped")

        def alongside(act: Any, *work: Any) -> dict[str, Any]:
            with ThreadPoolExecutor(1) as pool:
                conducted = pool.submit(conduct, *work)
                found = together(made.names, act)
                conducted.result()
            return found

        standing = state.digest
        for sums in (1, 2):
            found = alongside(audit, "statistics", sums, 3000)
            for name, (outcome, judged) in found.items():
                assert outcome.confirmed, name
                assert (outcome.plan.kind, outcome.plan.layout.parameters) == ("statistics", 3000)
                assert outcome.state.digest == standing
                assert judged.guesses.canaries == 1000
            if sums == 1:
                (standing,) = {one.state.digest for one in alongside(train, "training", 1).values()}
                assert standing != state.digest
        assert told.ends == [
            (1, 1, "statistics", "confirmed"),
            (1, 2, "training", "confirmed"),
            (2, 1, "statistics", "confirmed"),
        ]
        conduct("statistics", 2, 3000)  # nothing is left to do
        assert len(told.ends) == 3
        with pytest.raises(BudgetExhausted, match="room for another event of row statistics"):
            conduct("statistics", 3, 3000)  # the table has two


def test_canaries_go_with_statistics_rows_alone_and_fit_a_machine(tmp_path: Path) -> None:
    with choir(tmp_path, parameters=64) as made:
        charter, campaign, _ = made.constitute()
        statistics, training = charter.table
        for row, canaries in ((statistics, None), (training, 3000), (statistics, 2), (statistics, LONGEST_SUM + 1)):
            with pytest.raises(ConfigurationError, match="canaries"):
                vector_layout(charter, campaign, row, None, canaries)
        assert vector_layout(charter, campaign, statistics, None, LONGEST_SUM).parameters == LONGEST_SUM


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
