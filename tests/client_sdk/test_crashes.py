"""A partner is killed at every durable write of a round, before and after it, and goes on from what is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from client_sdk.attempt import Outcome
from client_sdk.journal import Journal
from client_sdk.model_state import ModelState
from privacy.protocol.messages import Campaign
from tests.client_sdk.choir import Choir, choir, take_part, together

STEPS = (
    "joined",
    "server ledger",
    "checkpoint",
    "cohort accepted",
    "contribution prepared",
    "receipt",
    "opening",
    "state kept",
    "applied",
    "confirmation",
    "ended",
)
CRASHING = "partner-02"


class Killed(BaseException):
    """Not an Exception: nothing in the program may catch it."""


class CrashingJournal(Journal):
    """Dies at one step, before or after it is durable."""

    step = ""
    after = False

    def _commit(self, step: str) -> None:
        dies = step == CrashingJournal.step
        if dies and not CrashingJournal.after:
            raise Killed
        super()._commit(step)
        if dies:
            raise Killed


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Choir, Campaign, list[ModelState]]]:
    with choir(tmp_path_factory.mktemp("choir"), size=4) as made:
        _, campaign, state = made.constitute()
        yield made, campaign, [state]


def one_round(made: Choir, campaign: Campaign, state: ModelState) -> dict[str, Outcome]:
    made.post_plan(campaign, state.digest, round=state.round + 1)

    def act(name: str) -> Outcome:
        try:
            with made.agent(name) as agent:
                if name == CRASHING:
                    agent.partner.journal.__class__ = CrashingJournal
                return take_part(agent, campaign)
        except Killed:
            CrashingJournal.step = ""
        with made.agent(name) as agent:
            return take_part(agent, campaign)

    return together(made.names, act)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at(
    four: tuple[Choir, Campaign, list[ModelState]], step: str, after: bool
) -> None:
    made, campaign, standing = four
    CrashingJournal.step, CrashingJournal.after = step, after
    outcomes = one_round(made, campaign, standing[0])
    assert CrashingJournal.step == "", "the step was never reached"
    assert {outcome.state.digest for outcome in outcomes.values()} == {outcomes["partner-01"].state.digest}
    assert all(outcome.confirmed for outcome in outcomes.values())
    standing[0] = outcomes["partner-01"].state
    with made.partner(CRASHING) as partner:
        partner.ledger_watch.sync(partner.service)
        assert partner.own_ledger.head.count == standing[0].round
        assert not list((partner.folder / "uploads").iterdir())
