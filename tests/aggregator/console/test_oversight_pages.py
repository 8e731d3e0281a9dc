"""The pages behind the overview, and officers who act by their forms."""

from __future__ import annotations

import re

import pytest

from aggregator.storage import ledger, oversight
from aggregator.storage.alarms import raise_alarm
from privacy.dp.events import Guarantee
from privacy.protocol.words import words
from privacy.report import figures
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import send, sign_in_as, visit
from tests.aggregator.console.strict_page import StrictPage
from tests.aggregator.driver import RoundDriver
from tests.consortium import done, refused


@pytest.fixture
def page(driver: RoundDriver) -> str:
    return f"/console/participants/{driver.names[0]}"


def _suspended(running: Running) -> frozenset[str]:
    with running.service.database.read() as session:
        return oversight.suspended(session)


def _alarm(running: Running, participant: str | None) -> None:
    with running.service.database.write() as session:
        detail = {"entry": 3, "officer": "<i>kim</i>"}
        raise_alarm(session, "suspended", participant, detail, running.service.now())


def test_an_officer_suspends_by_the_form_and_the_next_join_is_refused(
    driver: RoundDriver, running: Running, page: str
) -> None:
    name = driver.names[0]
    sign_in_as(running)
    assert "fewer than n_min" in running.http.get(page).text
    answer = send(running, f"{page}/suspend", {"reason": "its machine was stolen"}, page=page)
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    refused(driver.join(name), 403, "participant-suspended")
    assert "its machine was stolen" in running.http.get(page).text
    assert "Suspended" in running.http.get("/console").text
    for account in ("kim", "lee"):
        sign_in_as(running, account=account)
        assert send(running, f"{page}/resume", {"reason": "found again"}, page=page).status_code == 303
    done(driver.join(name), 201)
    text = running.http.get(page).text
    for did in ("suspended by kim", "kim proposes to resume", "resumed by lee"):
        assert did in text


def test_a_cap_is_tightened_by_the_form(driver: RoundDriver, running: Running, page: str) -> None:
    sign_in_as(running)
    caps = {"epsilon_in_sum": "1.5", "epsilon_alone": "9"}
    answer = send(running, f"{page}/tighten", {**caps, "reason": "less for us"}, page=page)
    assert answer.status_code == 303
    text = running.http.get(page).text
    assert "of 1.5" in text
    assert "tightened by kim" in text
    overview = running.http.get("/console").text
    assert "of 1.5" in overview
    for shown in (text, overview):
        assert shown.count("did not come from what rounds had shown") == 1
    looser = send(running, f"{page}/tighten", {**caps, "epsilon_in_sum": "2", "reason": "more"}, page=page)
    assert looser.status_code == 422
    for wrong in ("nan", "-1", "x", "1e999"):
        bad = send(running, f"{page}/tighten", {**caps, "epsilon_in_sum": wrong, "reason": "why"}, page=page)
        assert bad.status_code == 422


def test_forms_are_shown_to_who_may_act_and_refused_to_who_may_not(
    driver: RoundDriver, running: Running, page: str
) -> None:
    name, other = driver.names[:2]
    visit(running)
    assert "/suspend" not in running.http.get(page).text
    assert send(running, f"{page}/suspend", {"reason": "because"}, page="/console").status_code == 403
    sign_in_as(running, "auditor")
    assert "/suspend" not in running.http.get(page).text
    assert send(running, f"{page}/suspend", {"reason": "because"}, page="/console").status_code == 403
    sign_in_as(running, "officer", scope=other)
    assert running.http.get(page).status_code == 404
    assert send(running, f"{page}/suspend", {"reason": "because"}, page="/console").status_code == 403
    sign_in_as(running, "officer", scope=name)
    assert running.http.post(f"{page}/suspend", data={"reason": "because"}).status_code == 403  # without its token
    assert _suspended(running) == frozenset()
    assert send(running, f"{page}/suspend", {"reason": "because"}, page=page).status_code == 303
    assert _suspended(running) == {name}


def test_an_alarm_is_acknowledged_by_its_form(driver: RoundDriver, running: Running) -> None:
    name = driver.names[0]
    _alarm(running, name)
    _alarm(running, driver.names[1])
    sign_in_as(running, scope=name)
    text = running.http.get("/console/alarms").text
    assert text.count("/acknowledge") == 1
    assert "&lt;i&gt;kim" in text
    assert "1 to be looked at" in running.http.get("/console").text
    action = text.split('action="')[2].split('"')[0]
    assert action.endswith("/acknowledge?page=1")
    assert send(running, action, {"reason": "talked to them"}, page="/console/alarms").status_code == 303
    assert "talked to them" in running.http.get("/console/alarms").text
    assert "to be looked at" not in running.http.get("/console").text.lower()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_pages_hold_nothing_that_the_policy_blocks(
    driver: RoundDriver, running: Running, page: str, language: str
) -> None:
    driver.join_all()
    _alarm(running, driver.names[0])
    sign_in_as(running)
    others = ("/console/charter", "/console/ledger", "/console/ledger?page=9", "/console/plan")
    for path in (page, "/console/alarms", "/console/alarms?page=x", *others):
        parser = StrictPage()
        mark = "&" if "?" in path else "?"
        answer = running.http.get(f"{path}{mark}language={language}")
        assert answer.status_code == 200
        parser.feed(answer.text)
        assert parser.faults == []
        assert len(parser.ids) == len(set(parser.ids))


def test_the_charters_words_and_signatures_are_shown(driver: RoundDriver, running: Running) -> None:
    sign_in_as(running, "auditor")
    text = running.http.get("/console/charter").text
    assert words(driver.charter.digest) in text
    assert text.count("● yes") == driver.charter.n_max


def test_the_ledger_page_shows_its_head_and_countersignatures(driver: RoundDriver, running: Running) -> None:
    driver.to_confirmed()
    sign_in_as(running, "auditor")
    text = running.http.get("/console/ledger").text
    with running.service.database.read() as session:
        head = ledger.head(session)
    assert head.head in text
    assert f"verifies up to entry {head.count}" in text
    for name in driver.names:
        assert f'<th scope="row">{name}</th>' in text
    sign_in_as(running, "officer", scope=driver.names[0])
    assert f"<td>{driver.names[1]}</td>" not in running.http.get("/console/ledger").text


_PAGES = {
    "overview": "",
    "alarms": "/alarms",
    "charter": "/charter",
    "ledger": "/ledger",
    "plan": "/plan",
    "reports": "/reports",
}


def test_every_page_leads_to_the_others_and_says_where_it_stands(
    driver: RoundDriver, running: Running, page: str
) -> None:
    sign_in_as(running, "auditor")
    for path in _PAGES.values():
        text = running.http.get(f"/console{path}").text
        for other in _PAGES.values():
            here = ' aria-current="page"' if other == path else ""
            assert f'<a href="/console{other}"{here}>' in text
    for path in (page, f"/console/rounds/{driver.plan.digest}"):
        text = running.http.get(path).text
        assert all(f'<a href="/console{other}">' in text for other in _PAGES.values())
        assert '<ol class="trail">' in text
        assert text.count('aria-current="page"') == 1


@pytest.mark.parametrize(("language", "whose"), [("en", "the service’s word"), ("ko", "서비스의 기록을 따른 것")])
def test_pages_say_whose_word_they_are_and_how_to_check_it(
    driver: RoundDriver, running: Running, page: str, language: str, whose: str
) -> None:
    sign_in_as(running, "auditor")
    for path in (page, f"/console/rounds/{driver.plan.digest}", "/console/charter", "/console/plan"):
        text = running.http.get(path, headers={"accept-language": language}).text
        assert whose in text
        assert "<pre><code>chorale-partner " in text
    for path in (f"/console/rounds/{driver.plan.digest}", "/console/alarms", "/console/charter", "/console/ledger"):
        assert "chorale-partner ledger verify" in running.http.get(path).text


def test_what_an_attacker_finds_is_told_in_two_digits(driver: RoundDriver, running: Running, page: str) -> None:
    driver.join_all()
    sign_in_as(running, "auditor")
    text = running.http.get(page).text
    found = re.findall(r'<tr><th scope="row">([0-9.]+) %</th><td class="number">([0-9.]+) %</td>', text)
    assert [rate for rate, _ in found] == ["0.1", "1", "10"]
    spent = figures.counts([driver.plan.event])
    for (_, told), (_, chance) in zip(
        found, figures.detections(spent, Guarantee.IN_SUM, driver.charter.honest), strict=True
    ):
        assert chance * 100 <= float(told) <= chance * 100 * 1.1 + 1e-9
