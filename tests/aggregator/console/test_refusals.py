"""What people read when the service says no: in their language, with what they typed still there."""

from __future__ import annotations

import inspect
import re
from html import unescape

import pytest
from fastapi import Request

from aggregator.backup import recovering
from aggregator.backup.evidence import Evidence
from aggregator.console.refusals import OTHERWISE, SAID, words_of
from aggregator.console.security import error_page
from aggregator.console.words import DOMAINS
from aggregator.rounds import enrolment
from aggregator.rounds.oversight import MAX_REASON
from aggregator.storage import ledger
from aggregator.storage.alarms import KINDS, raise_alarm
from privacy import errors
from privacy.errors import ChoraleError
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import ChainHead, Close, Signed
from privacy.report.catalogue import LANGUAGES, catalogue
from privacy.report.written import said
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import send, sign_in_as, visit
from tests.aggregator.console.strict_page import StrictPage
from tests.aggregator.driver import RoundDriver
from tests.consortium import done

_HANGUL = re.compile("[가-힣]")


@pytest.fixture
def page(driver: RoundDriver) -> str:
    return f"/console/participants/{driver.names[0]}"


def _kinds() -> list[type[ChoraleError]]:
    found, todo = [], [ChoraleError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def _error(kind: type[ChoraleError]) -> ChoraleError:
    if kind in (errors.CheckRefused, errors.LedgerBroken):
        return kind(3, "this", "that", "do so")  # type: ignore[call-arg, arg-type]
    return kind("this", "that", "do so")


def test_every_code_with_words_of_its_own_is_an_errors(running: Running) -> None:
    del running
    assert {kind.code for kind in _kinds()} >= SAID
    for language in LANGUAGES:
        t = catalogue(language, *DOMAINS)
        assert len({t(f"refusal.{words_of(_error(kind))}") for kind in _kinds()}) == len(SAID) + 1


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_an_error_page_speaks_the_language_and_quotes_the_service(
    running: Running, kind: type[ChoraleError]
) -> None:
    app = running.http.app
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/console",
        "query_string": b"language=ko",
        "headers": [],
        "server": ("testserver", 80),
        "app": app,
    }
    answer = error_page(Request(scope), _error(kind))
    text = bytes(answer.body).decode()
    assert answer.status_code == kind.status
    own = re.sub(r'<span lang="en">.*?</span>', "", text.split("<main")[1], flags=re.DOTALL)
    assert _HANGUL.search(own)
    assert "this" not in own
    if kind.status not in (401, 404):
        assert '<span lang="en">' in text
        assert words_of(_error(kind)) in (OTHERWISE, kind.code.replace("-", "_"))


@pytest.mark.parametrize(("language", "words"), [("en", "say why in a sentence"), ("ko", "사유를 적으십시오")])
def test_a_form_without_a_reason_comes_back_filled_in(
    driver: RoundDriver, running: Running, page: str, language: str, words: str
) -> None:
    sign_in_as(running)
    running.http.headers["accept-language"] = language
    sent = {"epsilon_in_sum": "1.25", "epsilon_alone": "8.5", "reason": " "}
    answer = send(running, f"{page}/tighten", sent, page=page)
    assert answer.status_code == 422
    assert answer.text.count(words) == 2  # at the head, and with its field
    for kept in ('value="1.25"', 'value="8.5"'):
        assert kept in answer.text
    assert re.search(r'id="tighten-reason"[^>]*aria-invalid="true"', answer.text)
    assert 'href="#tighten-reason"' in answer.text
    parser = StrictPage()
    parser.feed(answer.text)
    assert parser.faults == []


def test_each_fault_of_a_cap_is_said_and_what_was_typed_stays(
    driver: RoundDriver, running: Running, page: str
) -> None:
    sign_in_as(running)
    evil = '"><script>x</script>'
    for in_sum, words in (("x", "a positive number"), (evil, "a positive number"), ("900", "only become tighter")):
        sent = {"epsilon_in_sum": in_sum, "epsilon_alone": "9", "reason": "less for us"}
        answer = send(running, f"{page}/tighten", sent, page=page)
        assert answer.status_code == 422
        assert words in answer.text
        assert f'value="{in_sum}"' in unescape(answer.text)
        assert 'value="less for us"' in answer.text
        assert "<script" not in answer.text
        assert re.search(r'id="in-sum"[^>]*aria-invalid="true"', answer.text)
    driver.join_all()
    tiny = {"epsilon_in_sum": "0.001", "epsilon_alone": "0.001", "reason": "nothing more"}
    answer = send(running, f"{page}/tighten", tiny, page=page)
    assert (answer.status_code, "spent or reserved already" in answer.text) == (409, True)


def test_a_suspension_and_an_acknowledgement_come_back_too(
    driver: RoundDriver, running: Running, page: str
) -> None:
    with running.service.database.write() as session:
        raise_alarm(session, "suspended", driver.names[0], {"entry": 1, "officer": "lee"}, running.service.now())
    sign_in_as(running)
    long = "x" * (MAX_REASON + 1)
    answer = send(running, f"{page}/suspend", {"reason": long}, page=page)
    assert (answer.status_code, long in answer.text) == (422, True)
    action = running.http.get("/console/alarms").text.split('action="')[2].split('"')[0]
    answer = send(running, action, {"reason": "x"}, page="/console/alarms")
    assert (answer.status_code, 'value="x"' in answer.text) == (422, True)
    assert "3 to 500 characters" in answer.text


def test_a_report_of_days_that_cannot_be_comes_back(driver: RoundDriver, running: Running) -> None:
    visit(running)
    fields = {
        "participant": driver.names[1],
        "from": "2026-02-03",
        "to": "2026-02-01",
        "format": "csv",
        "in": "ko",
    }
    answer = send(running, "/console/reports", fields, page="/console/reports")
    assert answer.status_code == 422
    assert "No report was made" in answer.text
    for kept in (
        f'value="{driver.names[1]}" selected',
        'value="2026-02-03"',
        'value="csv" selected',
        'value="ko" selected',
    ):
        assert kept in answer.text


def test_a_refused_sign_in_keeps_the_name_and_nothing_secret(running: Running) -> None:
    sent = {"name": "kim", "password": "not the password", "code": "123456"}
    answer = send(running, "/console/sign-in", sent, page="/console/sign-in")
    assert answer.status_code == 401
    assert 'value="kim"' in answer.text
    assert sent["password"] not in answer.text
    assert sent["code"] not in answer.text


def test_what_the_service_writes_itself_is_said_in_korean(driver: RoundDriver, running: Running) -> None:
    operator = driver.client(OPERATOR)
    account = {"name": "kim", "role": "officer", "scope": "consortium"}
    done(operator.post("/v1/accounts", account), 201)
    done(operator.post("/v1/accounts/kim/reset", {}))
    done(operator.post("/v1/accounts/kim/disabling", {}))
    done(operator.post("/v1/officer-links", {"officer": "Ms Lee", "scope": "consortium"}), 201)
    done(driver.join(driver.names[0]), 201)
    running.consortium.clock.seconds = driver.plan.deadlines.join + 1
    shown = driver.wait_for("closed")
    t = catalogue("ko", *DOMAINS)
    close = Signed[Close].model_validate(shown["close"]).body
    assert _HANGUL.search(said(close.reason, t))
    assert said(close.reason, catalogue("en", *DOMAINS)) == close.reason
    with running.service.database.read() as session:
        entries = [LedgerEntry.model_validate_json(line) for line in ledger.lines(session, 0, 100)]
    written = [entry.reason for entry in entries if entry.kind == "action"]
    assert len(written) == 5
    for reason in written:
        assert _HANGUL.search(said(reason, t)), reason
        assert said(reason, catalogue("en", *DOMAINS)) == reason
    assert said("its machine was stolen", t) == "its machine was stolen"
    visit(running)
    running.http.headers["accept-language"] = "ko"
    assert "규약이 요구하는" in running.http.get(f"/console/rounds/{driver.plan.digest}").text
    assert "제1기 규약 발효" in running.http.get("/console/ledger").text


def test_what_a_recovery_and_a_new_enrolment_write_is_known() -> None:
    evidence = Evidence(("aster", "birch"), {}, {}, {}, [b"an entry", b"another"])
    anew = re.findall(r'reason = "(enrolled anew[^"]*)"', inspect.getsource(enrolment))
    assert len(anew) == 1
    for reason in (recovering._reason(ChainHead(count=7, head="0" * 64), evidence, 1), *anew):
        assert _HANGUL.search(said(reason, catalogue("ko", *DOMAINS)))
        assert said(reason, catalogue("en", *DOMAINS)) == reason


def test_every_kind_of_alarm_has_words() -> None:
    for language in LANGUAGES:
        texts = catalogue(language, *DOMAINS).translations
        assert all(texts.gettext(f"alarm.{kind}") != f"alarm.{kind}" for kind in KINDS)


def test_an_error_page_keeps_the_links_of_whoever_is_signed_in(driver: RoundDriver, running: Running) -> None:
    sign_in_as(running, "officer", scope=driver.names[0])
    refused = send(
        running, f"/console/participants/{driver.names[1]}/suspend", {"reason": "because"}, page="/console/reports"
    )
    absent = running.http.get(f"/console/rounds/{'0' * 64}")
    for answer, status in ((refused, 403), (absent, 404)):
        assert answer.status_code == status
        assert '<a href="/console/ledger">' in answer.text
        assert driver.names[1] not in answer.text.split("expected")[0]
    running.http.cookies.clear()
    assert '<a href="/console/ledger">' not in running.http.get("/console/nowhere").text


def test_the_language_is_switched_on_the_page_of_a_form_that_came_back(
    driver: RoundDriver, running: Running, page: str
) -> None:
    sign_in_as(running)
    forms = {
        f"{page}/suspend": page,
        f"{page}/tighten": page,
        f"/console/alarms/{'0' * 64}/acknowledge": "/console/alarms",
        "/console/reports": "/console/reports",
    }
    for path, back in forms.items():
        answer = send(running, path, {"from": "not a day", "reason": ""}, page=page)
        assert answer.status_code == 422, path
        assert f'href="{back}?language=ko"' in answer.text
        assert running.http.get(back, params={"language": "en"}).status_code == 200
    absent = send(running, f"/console/alarms/{'0' * 64}/acknowledge", {"reason": "looked at"}, page=page)
    assert (absent.status_code, 'href="/console?language=ko"' in absent.text) == (404, True)
