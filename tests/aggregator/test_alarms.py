"""What raises an alarm, that each cause raises one, and who acknowledges it."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.rounds import oversight
from aggregator.rounds.budget_watch import MARKS, BudgetWatch
from aggregator.storage import alarms
from aggregator.storage.alarms import Alarm, count_alarms, raise_alarm
from aggregator.storage.database import Database
from aggregator.storage.sessions import CONSORTIUM, Viewer
from privacy.dp.events import Guarantee, PrivacyEvent, TableRow
from privacy.errors import MalformedMessage, NotFound
from privacy.he.boxes import BoxKey
from privacy.protocol.identifiers import ZERO_DIGEST
from privacy.protocol.messages import ChainHead, Join, ProbeFigures, Refusal
from privacy.report import figures
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import SeededSource, TestConsortium, done, refused


def _raised(running: Running, scope: str | None = None) -> dict[str, Alarm]:
    with running.service.database.read() as session:
        return {
            f"{alarm.kind} {alarm.participant or ''}".strip(): alarm for alarm in alarms.alarms(session, scope, 99)
        }


def test_a_round_without_trouble_raises_none(driver: RoundDriver, running: Running) -> None:
    driver.to_confirmed()
    assert _raised(running) == {}


def test_a_refusal_raises_one_with_the_number_of_the_check(driver: RoundDriver, running: Running) -> None:
    driver.to_opening()
    name = driver.names[0]
    body = Refusal(charter=driver.charter.digest, plan=driver.plan.digest, partner=name, check=6, reason="box")
    message = driver.consortium.by(name, body)
    for _ in range(2):
        driver.client(name).post(f"{driver.base}/refusals", message)
    alarm = _raised(running)[f"opening_refused {name}"]
    assert (alarm.detail["check"], alarm.detail["round"], alarm.detail["reason"]) == (6, 1, "box")
    assert alarm.grave
    assert alarm.at == running.service.now()


def test_attempts_that_were_paid_for_and_gave_nothing_raise_one(driver: RoundDriver, running: Running) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    for name in driver.names:
        driver.void(name)
    assert set(_raised(running)) == {"attempt_void"}


@pytest.mark.parametrize("charged", [True, False])
def test_an_abort_raises_one_once_budgets_are_charged(driver: RoundDriver, running: Running, charged: bool) -> None:
    if charged:
        driver.join_all()
    done(driver.abort("stop"))
    raised = _raised(running)
    assert set(raised) == ({"attempt_closed"} if charged else set())
    if charged:
        assert raised["attempt_closed"].detail["cause"] == "aborted"


def test_a_join_with_another_number_of_charges_raises_one(driver: RoundDriver, running: Running) -> None:
    name = driver.names[0]
    signed = driver.consortium.join(driver.plan, name, BoxKey.generate())
    ledger = ChainHead(count=3, head=hashlib.sha256(b"own").hexdigest())
    body = Join.model_validate({**signed.body.model_dump(), "ledger": ledger})
    done(driver.client(name).post(f"{driver.base}/joins", driver.consortium.by(name, body)), 201)
    assert _raised(running)[f"ledger_difference {name}"].detail == {
        "own": 3,
        "charged": 0,
        "plan": driver.plan.digest,
        "round": 1,
        "attempt": 1,
    }


@pytest.mark.parametrize("place", [0, -1])
def test_another_state_than_the_quorums_is_named_early_or_late(tmp_path: Path, place: int) -> None:
    consortium = TestConsortium(size=4)
    settings = consortium.server_folder(tmp_path / "server")
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("service"), pool)
        with TestClient(app) as http:
            driver = RoundDriver(consortium, http, *consortium.constitute(http))
            running = Running(http, app.state.service, consortium, settings)
            driver.to_opening()
            for name in driver.names:
                done(driver.open(name), 201)
            odd = driver.names[place]
            for name in driver.names:
                done(driver.confirm(name, ("cd" if name == odd else "ab") * 32), 201)
            assert driver.document()["state"] == "confirmed"
            raised = _raised(running)
    assert set(raised) == {f"state_differs {odd}"}
    assert raised[f"state_differs {odd}"].detail["confirmed"] == "ab" * 32


def test_states_without_a_quorum_raise_one_when_all_have_confirmed(driver: RoundDriver, running: Running) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    for name in driver.names:
        assert _raised(running) == {}
        done(driver.confirm(name, hashlib.sha256(name.encode()).hexdigest()), 201)
    assert set(_raised(running)) == {"states_disagree"}


def test_missing_noise_raises_one_for_the_sum_and_one_for_all_sums(driver: RoundDriver, running: Running) -> None:
    """Figures by 1,024 probes: 0.85 is 3.4 standard deviations below 1, 0.75 is 5.7; over 4,096, 0.85 is 6.8."""
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    for name, ratio, total in zip(driver.names, (1.0, 0.85, 0.75), (1.3, 0.85, 0.85), strict=False):
        probes = ProbeFigures(ratio=ratio, total_ratio=total, total_probes=4096)
        message = driver.confirmation(name, probes=probes)
        for _ in range(2):
            driver.client(name).post(f"{driver.base}/confirmations", message)
        with running.service.database.read() as session:
            found = {alarm.detail["over"]: alarm for alarm in alarms.alarms(session, None, 99)}
        assert set(found) == {1.0: set(), 0.85: {"all_sums"}, 0.75: {"all_sums", "sum"}}[ratio]
    assert {over: alarm.detail["deviations"] for over, alarm in found.items()} == {"all_sums": 6.8, "sum": 5.7}
    assert all(alarm.participant is None and alarm.grave for alarm in found.values())


def test_a_countersignature_of_another_chain_is_refused_and_raises_one(
    driver: RoundDriver, running: Running
) -> None:
    driver.to_opening()
    name = driver.names[0]
    forged = driver.confirmation(name, checkpoint=ChainHead(count=2, head="ab" * 32))
    for _ in range(2):
        refused(driver.client(name).post(f"{driver.base}/confirmations", forged), 422, "ledger-broken")
    alarm = _raised(running)[f"checkpoint_differs {name}"]
    assert (alarm.detail["count"], alarm.detail["head"]) == (2, "ab" * 32)


def test_a_budget_that_is_nearly_spent_raises_one_at_each_mark(
    driver: RoundDriver, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.join_all()
    caps = driver.charter.roster[0].caps
    share = {"now": 0.79}
    monkeypatch.setattr(
        figures, "epsilon", lambda spent, delta, guarantee, honest: share["now"] * caps.epsilon_for(guarantee)
    )
    watch = BudgetWatch(running.service)
    watch.look()
    assert _raised(running) == {}
    for now, marks in ((0.8, MARKS[:1]), (0.99, MARKS)):
        share["now"] = now
        watch.look()  # nothing was charged since: it does not look again
        BudgetWatch(running.service).look()
        with running.service.database.read() as session:
            raised = alarms.alarms(session, driver.names[0], 99)
        assert {(one.detail["guarantee"], one.detail["percent"]) for one in raised} == {
            (name, mark) for name in ("in_sum", "alone") for mark in marks
        }
        with running.service.database.read() as session:
            assert count_alarms(session, None) == len(Guarantee) * len(marks) * driver.charter.n_max


def test_a_cap_that_officers_tightened_is_the_one_that_is_nearly_spent(
    driver: RoundDriver, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the charter's cap is all of the tightened one; the watch looks again though nothing was charged."""
    driver.join_all()
    name, caps = driver.names[0], driver.charter.roster[0].caps
    watch = BudgetWatch(running.service)
    real = figures.epsilon
    half = 0.5 * caps.epsilon_in_sum
    monkeypatch.setattr(figures, "epsilon", lambda spent, delta, guarantee, honest: 0.49 * caps.epsilon_in_sum)
    watch.look()
    assert _raised(running) == {}
    monkeypatch.setattr(figures, "epsilon", real)
    officer = Viewer("kim", "kim", "officer", CONSORTIUM, 2e9)
    assert oversight.tighten_caps(running.service, officer, name, half, caps.epsilon_alone, "less for us")
    monkeypatch.setattr(figures, "epsilon", lambda spent, delta, guarantee, honest: 0.49 * caps.epsilon_in_sum)
    watch.look()
    with running.service.database.read() as session:
        raised = alarms.alarms(session, name, 99)
        assert count_alarms(session, None) == len(MARKS)
    assert {(one.detail["guarantee"], one.detail["percent"], one.detail["cap"]) for one in raised} == {
        ("in_sum", mark, half) for mark in MARKS
    }


def test_rounds_that_a_row_or_a_filter_allows_run_out_in_good_time(running: Running) -> None:
    """Under a filter that has room for many more the row's count ends first, and no cap is near."""
    event = PrivacyEvent(kind="distributed", noise_multiplier=5.0, sampling_rate=0.05)
    consortium = running.consortium
    charter, campaign = consortium.constitute(
        running.http, table=(TableRow(name="training", event=event, count=20),), filter_order=16
    )
    watch = BudgetWatch(running.service)
    for number in range(1, 17):
        driver = RoundDriver(consortium, running.http, charter, campaign, attempt=number, event=event)
        driver.join_all()
        done(driver.abort("its charge stays"))
        watch.look()
        raised = _raised(running)
        assert (f"rounds_nearly_used {driver.names[0]}" in raised) == (number == 16)
    assert not [name for name in raised if name.startswith("budget_nearly_spent")]
    alarm = raised[f"rounds_nearly_used {charter.partners[0]}"]
    assert (alarm.detail["percent"], alarm.detail["rounds"], alarm.detail["left"]) == (80, 20, 4)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'chorale.db'}", lambda topic: None)
    database.migrate()
    return database


_VOID = {"plan": "ab" * 32, "round": 1, "attempt": 1}


def test_of_many_who_raise_the_same_at_once_one_does(database: Database) -> None:
    new: list[bool] = []

    def once() -> None:
        with database.write() as session:
            new.append(raise_alarm(session, "attempt_void", None, _VOID, 1))

    threads = [threading.Thread(target=once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 7 + [True]


def test_an_alarm_has_the_figures_of_its_kind_and_no_others(database: Database) -> None:
    for kind, detail in (("no_such_kind", {}), ("attempt_void", {}), ("attempt_void", {**_VOID, "more": 1})):
        with pytest.raises(MalformedMessage), database.write() as session:
            raise_alarm(session, kind, None, detail, 1)
    with database.read() as session, pytest.raises(NotFound):
        alarms.find_alarm(session, ZERO_DIGEST)


def test_the_first_to_acknowledge_is_kept_and_the_cause_does_not_come_again(database: Database) -> None:
    with database.write() as session:
        raise_alarm(session, "attempt_void", None, _VOID, 1)
        raise_alarm(session, "attempt_void", None, {**_VOID, "plan": "cd" * 32}, 2)
        newest, oldest = alarms.alarms(session, None, 9)
        assert (newest.at, oldest.at) == (2, 1)
        assert alarms.acknowledge(session, newest.id, "Ada", "looked at", 3)
        assert not alarms.acknowledge(session, newest.id, "Bo", "me too", 4)
        assert not raise_alarm(session, "attempt_void", None, {**_VOID, "plan": "cd" * 32}, 5)
    with database.read() as session:
        kept = alarms.find_alarm(session, newest.id)
        assert (kept.acknowledged_by, kept.acknowledged_at, kept.reason) == ("Ada", 3, "looked at")
        assert [alarm.id for alarm in alarms.alarms(session, None, 9)] == [oldest.id, newest.id]
        assert (count_alarms(session, None), count_alarms(session, None, waiting=True)) == (2, 1)


def test_a_scope_sees_its_own_and_what_concerns_everyone(database: Database) -> None:
    with database.write() as session:
        raise_alarm(session, "attempt_void", None, _VOID, 1)
        for name in ("aster", "birch"):
            raise_alarm(session, "suspended", name, {"entry": 7, "officer": "Ada"}, 1)
    with database.read() as session:
        assert {alarm.participant for alarm in alarms.alarms(session, "aster", 9)} == {None, "aster"}
        assert count_alarms(session, "aster") == 2
        assert count_alarms(session, None) == 3
