"""Adversary: whoever moves a clock (NTP is not authentic), the service's or a partner's, by days, forward or back,
in the middle of an attempt. It wants a request taken twice, an attempt charged twice or open for ever, or a second
opening. Requests far from the service's time are refused in words; what was forgotten is not fresh; ends stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aggregator.rounds import lifecycle
from aggregator.storage.nonces import KEPT_SECONDS
from client_sdk.agent import Agent
from privacy.clock import SystemClock
from privacy.errors import ClockSkew
from privacy.he.boxes import BoxKey
from privacy.ledger.entry import LedgerEntry
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.attacks.siege import Siege, besieged
from tests.consortium import START, done, refused

DAYS = 3 * 86400
VICTIM = "partner-04"
PHASES = ("joining", "uploading", "opening")
QUICK_PHASES = [phase if phase == "opening" else pytest.param(phase, marks=pytest.mark.full) for phase in PHASES]


def into(driver: RoundDriver, phase: str) -> None:
    """The attempt as far as `phase`, with one partner's part in it done."""
    if phase == "joining":
        done(driver.join(driver.names[0]), 201)
        return
    driver.join_all()
    if phase == "uploading":
        driver.upload(driver.names[0])
        return
    for name in driver.names:
        driver.upload(name)
    driver.wait_for("opening")
    done(driver.open(driver.names[0]), 201)


def charged(driver: RoundDriver) -> dict[str, list[str]]:
    """Every charge on the service's chain, as participant -> attempts."""
    raw = done(driver.client("operator").get("/v1/ledger?after=0&limit=1000"))
    found: dict[str, list[str]] = {}
    for line in raw.splitlines():
        entry = LedgerEntry.model_validate_json(line)
        if entry.kind == "charge":
            assert entry.participant is not None
            assert entry.budget is not None
            found.setdefault(entry.participant, []).append(entry.budget.plan)
    return found


# --- requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [DAYS, -DAYS])
def test_a_request_that_was_forgotten_is_not_fresh_again_when_the_clock_comes_back(
    running: Running, driver: RoundDriver, away: int
) -> None:
    """Forward and back: the jump forgets every nonce. Back alone: those of before were forgotten long since."""
    clock = running.consortium.clock
    body = driver.consortium.join(driver.plan, driver.names[0], BoxKey.generate()).canonical_bytes
    client = driver.client(driver.names[0])
    headers = client.headers("POST", f"{driver.base}/joins", body)
    first = running.http.post(f"{driver.base}/joins", content=body, headers=headers)
    assert first.status_code == 201
    clock.seconds += DAYS if away > 0 else KEPT_SECONDS + 1
    lifecycle.purge(running.service)
    clock.seconds = START
    again = running.http.post(f"{driver.base}/joins", content=body, headers=headers)
    assert "the service's clock was ahead or set back" in refused(again, 503, "service-unavailable")["came"]
    # Nobody is held up by it for longer than that second.
    clock.seconds = START + 1
    for name in driver.names:
        done(driver.client(name).get(driver.base))


@pytest.mark.parametrize("away", [DAYS, -DAYS])
def test_requests_days_from_the_services_time_are_refused_in_words(driver: RoundDriver, away: int) -> None:
    client = driver.client(driver.names[0])
    said = refused(client.send("GET", driver.base, time=START + away), 401, "clock-skew")
    assert str(START) in said["expected"]
    assert str(START + away) in said["came"]
    assert "clock" in said["remedy"]


# --- the service's clock, in each phase -----------------------------------------------------------------


@pytest.mark.parametrize("phase", QUICK_PHASES)
def test_the_services_clock_jumps_ahead_and_comes_back_the_attempt_has_ended_and_is_charged_once(
    running: Running, driver: RoundDriver, phase: str
) -> None:
    into(driver, phase)
    clock = running.consortium.clock
    at = clock.seconds
    clock.seconds += DAYS
    lifecycle.advance(running.service)
    ended = driver.wait_for("closed")
    assert ended["close"]["body"]["cause"]
    before = charged(driver)
    assert all(plans == [driver.plan.digest] for plans in before.values())
    assert set(before) == (set() if phase == "joining" else set(driver.names))
    clock.seconds = at + 1
    lifecycle.advance(running.service)
    assert driver.document()["state"] == "closed"
    assert driver.join(driver.names[1]).status_code == 409
    assert charged(driver) == before
    again = RoundDriver(driver.consortium, driver.http, driver.charter, driver.campaign, attempt=2)
    again.to_confirmed()
    assert charged(again) == {name: [*before.get(name, []), again.plan.digest] for name in driver.names}


@pytest.mark.parametrize("phase", QUICK_PHASES)
def test_the_services_clock_is_set_back_the_attempt_goes_on_and_is_charged_once(
    running: Running, driver: RoundDriver, phase: str
) -> None:
    """All clocks agree on the new time: deadlines are further away, and nothing else has changed."""
    into(driver, phase)
    running.consortium.clock.seconds -= DAYS
    lifecycle.purge(running.service)
    lifecycle.advance(running.service)
    assert driver.document()["state"] == phase
    first = driver.names[0]
    if phase == "joining":
        for name in driver.names[1:]:
            done(driver.join(name), 201)
        driver.wait_for("uploading")
    if phase != "opening":
        for name in driver.names:
            if phase == "joining" or name != first:
                driver.upload(name)
        driver.wait_for("opening")
    for name in driver.names:
        if phase != "opening" or name != first:
            done(driver.open(name), 201)
    for name in driver.names:
        done(driver.confirm(name), 201)
    assert driver.wait_for("confirmed")["cohort"]
    assert charged(driver) == {name: [driver.plan.digest] for name in driver.names}


# --- a partner's clock ----------------------------------------------------------------------------------


class Moved:
    """The machine's clock, and as many seconds more as a test says."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return SystemClock().now() + self.seconds


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Siege, Moved]]:
    clock = Moved()
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        made.reopen(VICTIM, clock=clock)
        yield made, clock


def stage(siege: Siege, plan: Any, phase: str) -> Callable[[], Any]:
    """Everyone as far as `phase`; what the victim does next."""
    if phase == "joining":
        return lambda: siege.at(VICTIM, lambda agent: agent.join(siege.handed(agent, plan)))
    joined = siege.join(plan)
    if phase == "uploading":
        others = {name: one for name, one in joined.items() if name != VICTIM}
        siege.upload(others)
        return lambda: siege.upload({VICTIM: joined[VICTIM]})
    siege.upload(joined)
    siege.seal_of(plan)
    return lambda: siege.asked_to_open(plan, [VICTIM])


@pytest.mark.full
@pytest.mark.parametrize("days", [DAYS, -DAYS], ids=["ahead", "behind"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_partners_clock_jumps_and_comes_back(siege: tuple[Siege, Moved], phase: str, days: int) -> None:
    """It is told by how much, and does nothing; set right, it goes on: one charge, one opening, one state."""
    made, clock = siege
    before = {name: made.charges(name) for name in made.names}
    direction = "ahead of" if days > 0 else "behind"
    with made.attempt() as plan:
        act = stage(made, plan, phase)
        clock.seconds = days
        with pytest.raises(ClockSkew, match=rf"a clock \d+ seconds {direction} the service's"):
            act()
        made.reopen(VICTIM, clock=clock)  # its people start it again, with the clock still wrong
        clock.seconds = 0.0
        made.reopen(VICTIM, clock=clock)
        if phase == "joining":
            made.upload(made.join(plan))
        elif phase == "uploading":
            record = made.record(VICTIM, plan)
            assert record is not None
            if record.manifest is None:
                joined = made.at(VICTIM, lambda agent: agent.join(made.handed(agent, plan)))
                made.upload({VICTIM: joined})
        outcomes = made.finish(plan)
        assert {outcome.state.digest for outcome in outcomes.values()} == {made.state.digest}
        assert all(outcome.confirmed for outcome in outcomes.values())
        after: Any = made.record(VICTIM, plan)
        assert (after.opening is None) == (VICTIM not in made.document(plan)["openings"])
    assert {name: made.charges(name) - before[name] for name in made.names} == dict.fromkeys(made.names, 1)
    assert made.at(VICTIM, _stopped) is None


def _stopped(agent: Agent) -> Any:
    return agent.policy.stopped()
