"""A partner is killed at every durable write of a round, before and after it, and goes on from what is on disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client_sdk.attempt import Outcome
from client_sdk.journal import Journal
from client_sdk.model_state import ModelState
from privacy.protocol.messages import Campaign
from tests.client_sdk.choir import Choir, choir, take_part, together

STEPS = (
    "met",
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
# After "ended" is durable nothing is left to do, so there is nothing to go on with.
WRITES = [(step, after) for step in STEPS for after in (False, True) if (step, after) != ("ended", True)]
# A crash between these two loses the upload: the attempt stays charged, and its round waits for the deadline.
LOSING = {("cohort accepted", True), ("contribution prepared", False)}
CRASHING = "partner-02"


class Killed(BaseException):
    """Not an Exception: nothing in the program may catch it."""


class CrashingJournal(Journal):
    """Dies once at each write that is still planned."""

    planned: set[tuple[str, bool]]

    def _commit(self, step: str) -> None:
        if (step, False) in self.planned:
            self.planned.remove((step, False))
            raise Killed
        super()._commit(step)
        if (step, True) in self.planned:
            self.planned.remove((step, True))
            raise Killed


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Choir, Campaign, list[ModelState]]]:
    with choir(tmp_path_factory.mktemp("choir"), size=4) as made:
        _, campaign, state = made.constitute()
        yield made, campaign, [state]


def one_round(made: Choir, campaign: Campaign, state: ModelState, planned: set[tuple[str, bool]]) -> None:
    """A round in which one partner dies at each planned write and is started again; all must end alike."""
    seconds = (7, 9, 60) if planned & LOSING else (30, 60, 90)
    made.post_plan(campaign, state.digest, seconds, round=state.round + 1)

    def act(name: str) -> Outcome:
        while True:
            try:
                with made.agent(name) as agent:
                    if name == CRASHING:
                        agent.partner.journal.__class__ = CrashingJournal
                        agent.partner.journal.planned = planned  # type: ignore[attr-defined]
                    return take_part(agent, campaign)
            except Killed:
                continue

    outcomes = together(made.names, act)
    assert not planned, "these writes were never reached"
    assert {outcome.state.digest for outcome in outcomes.values()} == {outcomes[CRASHING].state.digest}
    assert all(outcome.confirmed for outcome in outcomes.values())


def check_charged_once(made: Choir, rounds: int) -> None:
    with made.partner(CRASHING) as partner:
        partner.ledger_watch.sync(partner.service)
        assert partner.own_ledger.head.count == rounds
        assert not list((partner.folder / "uploads").iterdir())
        assert partner.round_keys.find(partner.journal.records()[-1].plan) is None


def test_killed_at_every_write_of_one_round(four: tuple[Choir, Campaign, list[ModelState]]) -> None:
    made, campaign, standing = four
    one_round(made, campaign, standing[0], set(WRITES) - LOSING)
    with made.agent(CRASHING) as agent:
        standing[0] = agent.current_state(campaign)
    check_charged_once(made, standing[0].round)


@pytest.mark.full
@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write[0]}, {'after' if write[1] else 'before'}")
def test_killed_once(four: tuple[Choir, Campaign, list[ModelState]], write: tuple[str, bool]) -> None:
    made, campaign, standing = four
    one_round(made, campaign, standing[0], {write})
    with made.agent(CRASHING) as agent:
        standing[0] = agent.current_state(campaign)
    check_charged_once(made, standing[0].round)
