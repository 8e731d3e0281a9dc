"""Adversary: a lying service, a second copy of a partner's folder, or a crash at a bad moment. It wants one partner
to open twice, to train under a charter that is not in force, to stand on a state that no quorum confirmed, or to
wait without end. Rounds are whole ones: the others take part as usual, and the round ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import privacy.dp.probes
from client_sdk.attempt import Outcome
from client_sdk.journal import Journal
from client_sdk.model_state import ModelState
from client_sdk.service import Service
from privacy.clock import SystemClock
from privacy.errors import RolledBack, WeakerThanCharter, WrongState
from privacy.protocol.messages import Campaign
from tests.client_sdk.choir import Choir, choir, take_part, together

VICTIM = "partner-04"
Four = tuple[Choir, Campaign, list[ModelState]]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Four]:
    """Four partners, of whom three open a sum: one may be attacked and the round still ends."""
    with choir(tmp_path_factory.mktemp("choir"), size=4) as made:
        _, campaign, state = made.constitute()
        yield made, campaign, [state]


def one_round(four: Four, victim: Callable[[], Outcome], **plan: Any) -> dict[str, Outcome]:
    """A round in which `victim(agent)` acts for one partner; the others take part as usual."""
    made, campaign, standing = four
    made.post_plan(campaign, standing[0].digest, round=standing[0].round + 1, **plan)

    def act(name: str) -> Outcome:
        if name == VICTIM:
            return victim()
        with made.agent(name) as agent:
            return take_part(agent, campaign)

    outcomes = together(made.names, act)
    standing[0] = outcomes["partner-01"].state
    return outcomes


def rounds_done(four: Four, number: int) -> None:
    """At least so many rounds stand behind: a test that leans on history makes it, whatever ran before it here."""
    made, campaign, standing = four

    def as_usual() -> Outcome:
        with made.agent(VICTIM) as agent:
            return take_part(agent, campaign)

    while standing[0].round < number:
        one_round(four, as_usual)


def test_an_attempt_needs_a_charter_that_everyone_signed(four: Four, monkeypatch: pytest.MonkeyPatch) -> None:
    made, campaign, _ = four
    honest = Service.latest_charter

    def claims_to_be_in_force(service: Service, wait: int = 0) -> Any:
        signed, acceptances, _ = honest(service, wait)
        return signed, {name: acceptances[name] for name in made.names[:-1]}, True

    with monkeypatch.context() as patch, made.agent("partner-02") as agent:
        patch.setattr(Service, "latest_charter", claims_to_be_in_force)
        with pytest.raises(WeakerThanCharter, match="none by partner-04"):
            agent.campaign(campaign.digest)
    with made.agent("partner-02") as agent:
        assert agent.campaign(campaign.digest) == campaign


def test_a_second_copy_that_lost_the_key_sends_its_opening_never(four: Four) -> None:
    """Not after a restart either: another copy may have opened another set."""
    made, campaign, _ = four

    def victim() -> Outcome:
        with made.agent(VICTIM) as agent:
            keys = agent.partner.round_keys
            claim = keys.claim

            def other_copy_was_first(round_digest: str) -> bool:
                claim(round_digest)
                return False

            keys.claim = other_copy_was_first  # type: ignore[method-assign]
            with pytest.raises(RolledBack, match="another copy"):
                take_part(agent, campaign)
        with made.agent(VICTIM) as agent:
            return take_part(agent, campaign)

    outcomes = one_round(four, victim)
    assert outcomes[VICTIM].confirmed
    assert VICTIM not in made.document(made.last_plan)["openings"]


class Killed(BaseException):
    pass


class CrashingJournal(Journal):
    """Dies before the write of its `doom`."""

    doom: str

    def _commit(self, step: str) -> None:
        if step == self.doom:
            raise Killed
        super()._commit(step)


def test_after_a_crash_a_state_that_no_quorum_confirmed_is_none_to_stand_on(four: Four) -> None:
    made, campaign, standing = four
    before = standing[0]

    def victim() -> Outcome:
        with made.agent(VICTIM) as agent:
            agent.partner.journal.__class__ = CrashingJournal
            agent.partner.journal.doom = "confirmation"  # type: ignore[attr-defined]
            with pytest.raises(Killed):
                take_part(agent, campaign)
        with made.agent(VICTIM) as agent:
            assert agent.current_state(campaign).digest == before.digest
            return take_part(agent, campaign)

    outcomes = one_round(four, victim)
    assert outcomes[VICTIM].state.digest == standing[0].digest
    with made.agent(VICTIM) as agent:
        assert agent.current_state(campaign).digest == standing[0].digest


def test_a_confirmation_that_is_not_taken_any_more_stops_nobody(
    four: Four, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, campaign, _ = four
    honest = Service.confirm
    attacked = threading.local()

    def late(service: Service, confirmation: bytes, round_digest: str) -> None:
        if getattr(attacked, "here", False):
            raise WrongState("a void attempt, no later cohort", "a later one", "return to its state")
        honest(service, confirmation, round_digest)

    monkeypatch.setattr(Service, "confirm", late)

    def victim() -> Outcome:
        attacked.here = True
        with made.agent(VICTIM) as agent:
            return take_part(agent, campaign)

    assert one_round(four, victim)[VICTIM].confirmed


def test_a_cohort_with_a_rolled_back_member_is_refused_and_passed_over(four: Four) -> None:
    """Refused while it could be trained for; once it ended the partner goes on from what the others confirmed."""
    made, campaign, standing = four

    def victim() -> Outcome:
        with made.agent(VICTIM) as agent:
            journal = agent.partner.journal
            with journal.transaction("seen") as database:
                database.execute("UPDATE seen_count SET count = count + 90 WHERE partner = 'partner-01'")
            with pytest.raises(RolledBack, match="partner-01"):
                take_part(agent, campaign)
            plan = made.last_plan.digest
            document = agent.partner.service.round(plan)
            while not document.state.ended:
                document = agent.partner.wait_round(plan, document.version)
        with made.agent(VICTIM) as agent:
            outcome = take_part(agent, campaign)
            with agent.partner.journal.transaction("seen") as database:
                database.execute("UPDATE seen_count SET count = count - 90 WHERE partner = 'partner-01'")
            return outcome

    seconds = (7, 9, 60)
    outcomes = one_round(four, victim, seconds=seconds)
    assert outcomes[VICTIM].confirmed
    assert outcomes[VICTIM].state.digest == standing[0].digest


def test_a_join_that_came_to_nothing_long_ago_is_not_gone_back_to(four: Four) -> None:
    """Of the state that such an attempt started from nobody keeps a copy: waiting for it would never end."""
    made, campaign, standing = four
    rounds_done(four, 4)
    with made.partner(VICTIM) as partner, partner.journal.transaction("forget") as database:
        first = partner.journal.records()[0].plan
        database.execute("UPDATE attempt SET cohort = NULL, ending = NULL WHERE plan = ?", (first,))

    def victim() -> Outcome:
        with made.agent(VICTIM) as agent:
            return take_part(agent, campaign)

    outcomes = one_round(four, victim)
    assert outcomes[VICTIM].plan.round == standing[0].round


def test_after_the_deadline_the_round_key_is_wiped_and_nothing_is_opened(four: Four) -> None:
    made, campaign, _ = four

    class Late(SystemClock):
        def __init__(self) -> None:
            self.ahead = 0.0

        def now(self) -> float:
            return super().now() + self.ahead

    clock = Late()

    def victim() -> Outcome:
        with made.agent(VICTIM, clock=clock) as agent:
            send = agent.partner.service.manifests

            def sealed_too_late(round_digest: str) -> Any:
                found = send(round_digest)
                clock.ahead = 1000.0
                return found

            agent.partner.service.manifests = sealed_too_late  # type: ignore[method-assign]
            original = agent.partner.service.openings

            def in_time_again(round_digest: str) -> Any:
                clock.ahead = 0.0
                return original(round_digest)

            agent.partner.service.openings = in_time_again  # type: ignore[method-assign]
            agent.partner.transport._clock = SystemClock()
            outcome = take_part(agent, campaign)
            assert agent.partner.round_keys.find(outcome.round_digest) is None
            return outcome

    assert one_round(four, victim)[VICTIM].confirmed
    assert VICTIM not in made.document(made.last_plan)["openings"]


def test_noise_that_is_missing_a_little_each_round_is_noticed(four: Four, monkeypatch: pytest.MonkeyPatch) -> None:
    """No round's probes lie far enough below by themselves; those of all rounds together do."""
    made, campaign, _ = four
    rounds_done(four, 3)
    monkeypatch.setattr(privacy.dp.probes, "ALARM_DEVIATIONS", 25.0)

    def victim() -> Outcome:
        with made.agent(VICTIM) as agent:
            return take_part(agent, campaign)

    report = one_round(four, victim)[VICTIM].report
    assert report.probe_z is not None
    assert report.probe_z_total is not None
    assert report.probe_z_total < -25.0 < report.probe_z
    assert any("their probes together" in alarm for alarm in report.alarms)
    shown = made.document(made.last_plan)["probes"]
    assert set(shown) == set(made.names)
    assert shown[VICTIM]["deviations"] == report.probe_z
    assert shown[VICTIM]["total_deviations"] == report.probe_z_total
    assert len({said["ratio"] for said in shown.values()}) == 1  # all opened one sum
