"""Reports in the console: made by a form, fetched with their signature, within the viewer's scope."""

from __future__ import annotations

import pytest

from aggregator.console.cookies import CSRF_FIELD
from aggregator.rounds.oversight import acknowledge, suspend
from aggregator.rounds.reporting import make_report
from aggregator.storage.alarms import KINDS, every_alarm, raise_alarm
from aggregator.storage.reports import KEPT, KEPT_SECONDS, MADE_AT_ONCE, MadeReport, ReportDesk
from aggregator.storage.sessions import CONSORTIUM, Viewer
from privacy.errors import NotFound, ServiceUnavailable
from privacy.report import sentences
from privacy.report.budget_report import BudgetReport, RaisedAlarm
from privacy.report.catalogue import LANGUAGES, catalogue
from privacy.report.signature import FORMATS, Known, verify_report
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import form_token, visit
from tests.aggregator.driver import RoundDriver


def _make(running: Running, **fields: str) -> str:
    """Where the form leads."""
    sent = {**fields, CSRF_FIELD: form_token(running, "/console/reports")}
    answer = running.http.post("/console/reports", data=sent, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_and_its_signature_are_fetched_and_verify(
    running: Running, driver: RoundDriver, form: str
) -> None:
    driver.to_confirmed()
    visit(running)
    assert "/console/reports" in running.http.get("/console").text
    place = _make(running, participant="", format=form, **{"in": "ko"})
    shown = running.http.get(place, params={"language": "ko"})
    assert f"{place}/file" in shown.text
    file, signature = running.http.get(f"{place}/file"), running.http.get(f"{place}/signature")
    found = verify_report(file.content, signature.content, Known.charter(driver.charter.digest))
    assert (found.signer, found.statement.participant, found.statement.format) == ("server", None, form)
    assert file.headers["content-disposition"].startswith("attachment; filename=")
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["cache-control"] == "no-store"


def test_a_scope_covers_making_and_fetching(running: Running, driver: RoundDriver) -> None:
    driver.to_confirmed()
    mine, other = driver.names[0], driver.names[1]
    visit(running)
    everyones = _make(running, participant="")
    others = _make(running, participant=other)
    running.http.cookies.clear()
    for path in (everyones, others, f"{others}/file", f"{others}/signature"):
        assert running.http.get(path).status_code == 401
    visit(running, mine)
    page = running.http.get("/console/reports").text
    assert f'value="{mine}"' in page
    assert f'value="{other}"' not in page
    for participant in ("", other, "nobody"):
        sent = {"participant": participant, CSRF_FIELD: form_token(running, "/console/reports")}
        assert running.http.post("/console/reports", data=sent, follow_redirects=False).status_code == 403
    for path in (everyones, others, f"{others}/file", f"{others}/signature", "/console/reports/x"):
        assert running.http.get(path).status_code == 404
    own = _make(running, participant=mine)
    found = verify_report(running.http.get(f"{own}/file").content, running.http.get(f"{own}/signature").content)
    assert found.statement.participant == mine


def test_what_makes_no_report_is_a_page_that_says_so(running: Running, driver: RoundDriver) -> None:
    driver.join_all()
    visit(running)
    for wrong in (
        {"format": "exe"},
        {"from": "x"},
        {"from": "2999-01-01"},
        {"in": "xx"},
        {"participant": "nobody"},
    ):
        sent = {**wrong, CSRF_FIELD: form_token(running, "/console/reports")}
        assert running.http.post("/console/reports", data=sent, follow_redirects=False).status_code == 422
    assert running.http.post("/console/reports", data={"format": "pdf"}, follow_redirects=False).status_code == 403


def test_a_desk_keeps_few_and_not_for_long_and_makes_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReportDesk()
    for number in range(KEPT + 1):
        desk.keep(MadeReport("n", "t", None, f"{number}", b"", b""), 0.0)
    with pytest.raises(NotFound):
        desk.find("0", 1.0)
    assert desk.find("1", KEPT_SECONDS).sha256 == "1"
    with pytest.raises(NotFound):
        desk.find("1", KEPT_SECONDS + 1)
    monkeypatch.setattr("aggregator.storage.reports.PATIENCE_SECONDS", 0.01)
    places = [desk.place() for _ in range(MADE_AT_ONCE)]
    for place in places:
        place.__enter__()
    with pytest.raises(ServiceUnavailable), desk.place():
        pass
    for place in places:
        place.__exit__(None, None, None)
    with desk.place():
        pass


def test_a_report_says_who_acted_and_which_alarms_were_raised(running: Running, driver: RoundDriver) -> None:
    driver.to_confirmed()
    who, service = driver.names[0], running.service
    kim = Viewer("kim", "kim", "officer", CONSORTIUM, 2e9)
    assert suspend(service, kim, who, "its machine was stolen")
    with service.database.read() as session:
        (raised,) = every_alarm(session, who)
    assert acknowledge(service, kim, raised.id, "we know it")
    with service.database.write() as session:
        raise_alarm(session, "locked_out", driver.names[1], {"account": "x", "day": "d", "failures": 9}, 1)
    made = {
        name: BudgetReport.model_validate_json(make_report(service, name, "json", "en", None, None).raw)
        for name in (None, who)
    }
    everyones, own = made[None], made[who]
    assert [one.kind for one in everyones.alarms or ()] == ["locked_out", "suspended"]
    (alarm,) = own.alarms or ()
    assert alarm.acknowledged is not None
    assert (alarm.id, alarm.acknowledged.officer, alarm.acknowledged.reason) == (raised.id, "kim", "we know it")
    acted = [(one.action.what, one.action.officer, one.reason) for one in own.participants[0].entries if one.action]
    assert acted == [("suspend", "kim", "its machine was stolen"), ("acknowledge", "kim", "we know it")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_alarm_has_words_in_reports(language: str) -> None:
    t = catalogue(language)
    figures: dict[str, str | int] = {"guarantee": "alone", "over": "sum", "cause": "not-opened", "check": 4}
    for kind, described in KINDS.items():
        detail = {name: figures.get(name, f"<{name}>") for name in (*described.cause, *described.more)}
        alarm = RaisedAlarm(id="0" * 64, kind=kind, participant=None, at=1, detail=detail)
        assert "{" not in sentences.alarm(alarm, t, {})
