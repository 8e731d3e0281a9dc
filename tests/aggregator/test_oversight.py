"""Officers' actions: what each does to the next join, who may, and that all of it stands on the ledger."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.rounds import oversight
from aggregator.storage import alarms, ledger
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.service import Service
from aggregator.storage.sessions import CONSORTIUM, Role, Viewer
from privacy.dp.accountant import epsilon
from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee
from privacy.errors import BudgetExhausted, MalformedMessage, NotAllowed, NotFound, UnsafeParameters
from privacy.ledger.chain import read_line, verify_lines
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.identifiers import ZERO_DIGEST
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import SeededSource, TestConsortium, done, refused


def _viewer(account: str | None = "kim", role: Role = "officer", scope: str = CONSORTIUM) -> Viewer:
    return Viewer(account or "a visitor", account, role, scope, 2e9)


def _tighten(service: Service, viewer: Viewer, name: str, caps: Caps, reason: str) -> bool:
    return oversight.tighten_caps(service, viewer, name, caps.epsilon_in_sum, caps.epsilon_alone, reason)


def _actions(running: Running) -> list[LedgerEntry]:
    with running.service.database.read() as session:
        lines = list(ledger.lines(session, 0, 10_000))
    verify_lines(lines)
    entries = [read_line(number, line) for number, line in enumerate(lines, start=1)]
    return [entry for entry in entries if entry.action is not None]


def test_a_suspended_participants_next_join_is_refused_until_two_have_resumed_it(
    driver: RoundDriver, running: Running
) -> None:
    service, name = running.service, driver.names[0]
    assert oversight.suspend(service, _viewer("kim"), name, "its machine was stolen")
    assert not oversight.suspend(service, _viewer("lee"), name, "again")
    problem = refused(driver.join(name), 403, "participant-suspended")
    assert "its machine was stolen" in problem["came"]
    assert oversight.resume(service, _viewer("kim"), name, "found again") == "proposed"
    with pytest.raises(NotAllowed, match="second person"):
        oversight.resume(service, _viewer("kim"), name, "I say so twice")
    refused(driver.join(name), 403, "participant-suspended")
    assert oversight.resume(service, _viewer("lee"), name, "I saw it too") == "resumed"
    assert oversight.resume(service, _viewer("lee"), name, "I saw it too") == "nothing"
    done(driver.join(name), 201)
    told = [
        (entry.action.what, entry.action.officer, entry.action.second)
        for entry in _actions(running)
        if entry.action
    ]
    assert told == [("suspend", "kim", None), ("propose-resume", "kim", None), ("resume", "lee", "kim")]
    with service.database.read() as session:
        assert [alarm.kind for alarm in alarms.alarms(session, name, 9)] == ["suspended"]


def test_whoever_has_joined_goes_on_with_that_attempt(driver: RoundDriver, running: Running) -> None:
    done(driver.join(driver.names[0]), 201)
    oversight.suspend(running.service, _viewer(), driver.names[0], "a doubt")
    for name in driver.names[1:]:
        done(driver.join(name), 201)
    assert driver.wait_for("uploading")["joined"] == driver.names


def test_a_round_does_not_wait_for_who_is_suspended(tmp_path: Path) -> None:
    consortium = TestConsortium(size=4)
    settings = consortium.server_folder(tmp_path / "server")
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("service"), pool)
        with TestClient(app) as http:
            driver = RoundDriver(consortium, http, *consortium.constitute(http))
            oversight.suspend(app.state.service, _viewer(), driver.names[3], "a doubt")
            for name in driver.names[:3]:
                done(driver.join(name), 201)
            assert driver.wait_for("uploading")["joined"] == driver.names[:3]


def test_of_many_who_suspend_at_once_one_does(driver: RoundDriver, running: Running) -> None:
    did: list[bool] = []

    def once(account: str) -> None:
        did.append(oversight.suspend(running.service, _viewer(account), driver.names[0], "a doubt"))

    threads = [threading.Thread(target=once, args=(f"officer-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(did) == [False] * 7 + [True]
    assert len(_actions(running)) == 1


@pytest.mark.parametrize(
    "viewer",
    [_viewer(None), _viewer(role="auditor"), _viewer(scope="another"), _viewer(role="operator", scope="another")],
)
def test_who_may_not_act_changes_nothing(driver: RoundDriver, running: Running, viewer: Viewer) -> None:
    service, name = running.service, driver.names[0]
    with service.database.write() as session:
        raise_alarm(session, "suspended", name, {"entry": 1, "officer": "x"}, 1)
        (alarm,) = alarms.alarms(session, None, 9)
    caps = driver.charter.roster[0].caps.model_copy(update={"epsilon_in_sum": 10.0})
    for act in (
        lambda: oversight.suspend(service, viewer, name, "because"),
        lambda: oversight.resume(service, viewer, name, "because"),
        lambda: _tighten(service, viewer, name, caps, "because"),
        lambda: oversight.acknowledge(service, viewer, alarm.id, "because"),
    ):
        with pytest.raises(NotAllowed):
            act()
    assert _actions(running) == []


def test_a_tighter_cap_leaves_a_table_that_fits_and_refuses_beyond_it(
    driver: RoundDriver, running: Running
) -> None:
    service, name, charter = running.service, driver.names[0], driver.charter
    present = charter.roster[0].caps
    (row,) = charter.table
    spent_by = {g: epsilon([(row.event, 2)], present.delta, g, charter.honest) for g in Guarantee}
    wanted = Caps(
        epsilon_in_sum=spent_by[Guarantee.IN_SUM], epsilon_alone=present.epsilon_alone, delta=present.delta
    )
    driver.join_all()
    assert _tighten(service, _viewer(), name, wanted, "less for us")
    assert not _tighten(service, _viewer(), name, wanted, "less for us")
    with service.database.read() as session:
        assert ledger.budget(session, charter, charter.digest, name).remaining(row.name) == 1
        other = ledger.budget(session, charter, charter.digest, driver.names[1])
        assert other.remaining(row.name) == row.count - 1
    shown = done(driver.client(name).get("/v1/budget"))["participants"][0]["rows"][0]
    assert (shown["count"], shown["left"]) == (2, 1), "the count in effect"
    (entry,) = _actions(running)
    assert entry.action is not None
    assert (entry.action.caps, entry.action.limits[0].count, entry.participant) == (wanted, 2, name)
    with pytest.raises(UnsafeParameters, match="new charter"):
        _tighten(service, _viewer(), name, present, "more again")
    below = wanted.model_copy(update={"epsilon_in_sum": wanted.epsilon_in_sum / 10})
    with pytest.raises(BudgetExhausted):
        _tighten(service, _viewer(), name, below, "less than is spent")


def test_joins_beyond_a_tightened_cap_are_refused(driver: RoundDriver, running: Running) -> None:
    name, charter = driver.names[0], driver.charter
    (row,) = charter.table
    caps = charter.roster[0].caps
    one = epsilon([(row.event, 1)], caps.delta, Guarantee.IN_SUM, charter.honest)
    wanted = caps.model_copy(update={"epsilon_in_sum": one * 0.99})
    _tighten(running.service, _viewer(), name, wanted, "nothing at all")
    refused(driver.join(name), 409, "budget-exhausted")
    done(driver.join(driver.names[1]), 201)


def test_an_acknowledged_alarm_names_who_looked(driver: RoundDriver, running: Running) -> None:
    service = running.service
    with service.database.write() as session:
        raise_alarm(session, "attempt_void", None, {"plan": driver.plan.digest, "round": 1, "attempt": 1}, 1)
        (alarm,) = alarms.alarms(session, None, 9)
    with pytest.raises(NotAllowed):  # what concerns everyone is not one partner's officer's to close
        oversight.acknowledge(service, _viewer(scope=driver.names[0]), alarm.id, "seen")
    assert oversight.acknowledge(service, _viewer(role="operator"), alarm.id, "a disk was full")
    assert not oversight.acknowledge(service, _viewer(), alarm.id, "seen as well")
    (entry,) = _actions(running)
    assert entry.action is not None
    assert (entry.action.what, entry.action.alarm, entry.action.role) == ("acknowledge", alarm.id, "operator")
    with pytest.raises(NotFound):
        oversight.acknowledge(service, _viewer(), ZERO_DIGEST, "seen")


@pytest.mark.parametrize("reason", ["", "  ", "no", "x" * 501, "bell\x07ringing", "\u202eevil text"])
def test_a_reason_says_something(driver: RoundDriver, running: Running, reason: str) -> None:
    with pytest.raises(MalformedMessage):
        oversight.suspend(running.service, _viewer(), driver.names[0], reason)
    assert _actions(running) == []
