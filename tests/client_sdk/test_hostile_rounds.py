"""Rounds in which someone lies: a false share, a false sum, a dropped upload, a member that never comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import aggregator.rounds.seal
import client_sdk.opening
from aggregator.rounds.blind_sum import sum_shard
from client_sdk.attempt import Attempt, Outcome
from client_sdk.model_state import ModelState
from privacy.errors import AttemptOver, PolicyRefused
from privacy.he.addition import MODULUS
from privacy.he.parameters import DEFAULT
from privacy.he.shamir import add_shares
from privacy.protocol.messages import Campaign
from tests.client_sdk.choir import PARAMETERS, PROBES, Choir, choir, take_part, together, values_for

LIAR = "partner-02"


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Choir, Campaign, list[ModelState]]]:
    with choir(tmp_path_factory.mktemp("choir"), size=5) as made:
        _, campaign, state = made.constitute()
        yield made, campaign, [state]


def everyone(made: Choir, campaign: Campaign, absent: str | None = None) -> dict[str, Outcome]:
    def act(name: str) -> Outcome:
        acting.name = name
        with made.agent(name) as agent:
            return take_part(agent, campaign, upload=name != absent)

    return together(made.names, act)


acting = threading.local()


def test_a_false_share_is_set_aside_and_named(
    five: tuple[Choir, Campaign, list[ModelState]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, campaign, standing = five
    made.post_plan(campaign, standing[0].digest, round=standing[0].round + 1)

    def lying(shares: Iterable[NDArray[np.uint32]]) -> NDArray[np.uint32]:
        summed = add_shares(shares)
        if acting.name == LIAR:
            summed[0] = (summed[0] + 1) % DEFAULT.share_prime
        return summed

    monkeypatch.setattr(client_sdk.opening, "add_shares", lying)
    outcomes = everyone(made, campaign)
    expected = sum(values_for(name).astype(np.int64) for name in made.names)
    for outcome in outcomes.values():
        assert outcome.confirmed
        assert outcome.values is not None
        assert np.array_equal(outcome.values, expected)
        assert list(outcome.report.accused) == [LIAR]
    standing[0] = outcomes[LIAR].state


def test_who_joined_and_never_uploads_is_left_out(five: tuple[Choir, Campaign, list[ModelState]]) -> None:
    made, campaign, standing = five
    made.post_plan(campaign, standing[0].digest, (7, 9, 60), round=standing[0].round + 1)
    outcomes = everyone(made, campaign, absent=LIAR)
    expected = sum(values_for(name).astype(np.int64) for name in made.names if name != LIAR)
    for outcome in outcomes.values():
        assert outcome.confirmed
        assert outcome.values is not None
        assert np.array_equal(outcome.values, expected)
        assert LIAR not in outcome.report.contributors
    standing[0] = outcomes[LIAR].state


def test_a_false_sum_moves_no_model_and_stops_after_two(
    five: tuple[Choir, Campaign, list[ModelState]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published sum is one message higher: every error is small, every lane in range, only F(B) differs."""
    made, campaign, standing = five

    def false_sum(uploads: list[str], target: str, size: int) -> bytes:
        sum_shard(uploads, target, size)
        words = np.fromfile(target, dtype="<u8")
        words[0] = (words[0] + np.uint64(DEFAULT.delta)) % np.uint64(MODULUS)
        words.tofile(target)
        return sha256(words.tobytes()).digest()

    monkeypatch.setattr(aggregator.rounds.seal, "sum_shard", false_sum)
    for attempt in (1, 2):
        made.post_plan(campaign, standing[0].digest, round=standing[0].round + 1, attempt=attempt)
        outcomes = everyone(made, campaign)
        for outcome in outcomes.values():
            assert outcome.void
            assert outcome.state.digest == standing[0].digest
            assert any("false sum" in alarm for alarm in outcome.report.alarms)
    made.post_plan(campaign, standing[0].digest, (1, 2, 3), round=standing[0].round + 1, attempt=3)
    with made.agent(LIAR) as agent:
        with pytest.raises(PolicyRefused, match="budget resume"):
            take_part(agent, campaign)
        agent.policy.resume("the operator replaced the disk", agent.partner.now())
        assert agent.policy.stopped() is None
    assert len(values_for(LIAR)) == PARAMETERS + PROBES


def test_a_partner_that_was_away_decodes_later(tmp_path: Path) -> None:
    with choir(tmp_path, size=4) as made:
        _, campaign, state = made.constitute()
        made.post_plan(campaign, state.digest, (3, 30, 60))
        away = "partner-04"
        with made.agent(away) as agent:
            assert agent.current_state(campaign).digest == state.digest

        def act(name: str) -> Outcome:
            with made.agent(name) as agent:
                return take_part(agent, campaign)

        outcomes = together([name for name in made.names if name != away], act)
        late = act(away)
        assert late.confirmed
        assert late.state.digest == outcomes["partner-01"].state.digest
        with made.partner(away) as partner:
            assert partner.own_ledger.head.count == 0


def test_a_new_machine_is_sent_the_state(tmp_path: Path) -> None:
    """A folder without any state, after rounds of which the service keeps no sum any more."""
    with choir(tmp_path, size=3) as made:
        _, campaign, state = made.constitute()
        made.post_plan(campaign, state.digest)

        def act(name: str) -> Outcome:
            with made.agent(name) as agent:
                return take_part(agent, campaign)

        reached = together(made.names, act)["partner-01"].state
        with made.agent("partner-03") as lost, ThreadPoolExecutor(1) as pool:
            for path in (lost.folder / "states").iterdir():
                path.unlink()

            def serve() -> int:
                with made.agent("partner-02") as holder:
                    answered = 0
                    until = time.monotonic() + 20
                    while not answered and time.monotonic() < until:
                        answered = holder.serve_states(campaign)
                    return answered

            serving: Any = pool.submit(serve)
            assert lost.fetch_state(campaign, reached.digest).digest == reached.digest
            assert serving.result() == 1


def test_who_came_too_late_to_join_sees_the_round_through(tmp_path: Path) -> None:
    """Its loop is handed the attempt, the cohort comes without it, and it still reaches the same state."""
    with choir(tmp_path, size=4) as made:
        _, campaign, state = made.constitute()
        made.post_plan(campaign, state.digest, (4, 30, 60))
        late = "partner-04"

        def act(name: str) -> Outcome:
            with made.agent(name) as agent:
                if name != late:
                    return take_part(agent, campaign)
                items = agent.attend(campaign, agent.current_state(campaign), take_part=True)
                attempt = next(items)
                assert isinstance(attempt, Attempt)
                while made.document(made.last_plan)["cohort"] is None:
                    time.sleep(0.2)
                with pytest.raises(AttemptOver, match="too late"):
                    agent.join(attempt)
                outcome = next(items)
                assert isinstance(outcome, Outcome)
                return outcome

        outcomes = together(made.names, act)
        assert {outcome.state.digest for outcome in outcomes.values()} == {outcomes[late].state.digest}
        with made.partner(late) as partner:
            partner.ledger_watch.sync(partner.service)
            assert partner.own_ledger.head.count == 0
