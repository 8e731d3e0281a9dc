"""The officer's pages: what each scope sees, and what surrounds a page."""

from __future__ import annotations

from typing import Any

import pytest

from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee
from privacy.errors import ChoraleError
from privacy.protocol.messages import ProbeFigures, UploadFingerprint
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import visit
from tests.aggregator.console.strict_page import StrictPage
from tests.aggregator.driver import RoundDriver
from tests.consortium import done


def test_bad_forms_are_refused_with_a_page(running: Running) -> None:
    for body, headers, status in (
        (b"x" * 5000, {}, 413),
        (b"\xff\xff", {}, 422),
        (b"link=a", {"sec-fetch-site": "cross-site"}, 403),
    ):
        answer = running.http.post("/console/sign-in", content=body, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")


def test_before_a_charter_the_console_says_so(running: Running) -> None:
    visit(running)
    assert "No charter is in force yet" in running.http.get("/console").text


def test_the_overview_shows_spent_and_left_for_everyone(running: Running, driver: RoundDriver) -> None:
    driver.to_confirmed()
    visit(running)
    text = running.http.get("/console").text
    for entry in driver.charter.roster:
        assert f'id="name-{entry.partner}"' in text
    count = driver.charter.table[0].count
    assert text.count(f'<p class="count">{count - 1}</p>') == driver.charter.n_max
    assert text.count('class="gauge"') == 2 * driver.charter.n_max
    assert f"/console/rounds/{driver.plan.digest}" in text
    assert "chorale-partner report" in text


def test_a_partners_officer_sees_that_partner_alone(running: Running, driver: RoundDriver) -> None:
    driver.join_all()
    own, other = driver.names[0], driver.names[1]
    visit(running, own)
    text = running.http.get("/console").text
    assert f'id="name-{own}"' in text
    assert f'id="name-{other}"' not in text


def test_an_officer_of_a_partner_outside_the_roster_sees_no_budget(running: Running, driver: RoundDriver) -> None:
    del driver
    visit(running, "stranger")
    text = running.http.get("/console").text
    assert "Not on this charter" in text
    assert 'class="gauge"' not in text


def test_a_new_charge_shows_at_the_next_look(running: Running, driver: RoundDriver) -> None:
    visit(running)
    count = driver.charter.table[0].count
    # Nothing happened yet, but a plan is posted: all of its rounds are left.
    assert f'<p class="count">{count}</p>' in running.http.get("/console").text
    driver.join_all()
    assert f'<p class="count">{count - 1}</p>' in running.http.get("/console").text


def test_the_round_page_follows_the_round(running: Running, driver: RoundDriver) -> None:
    visit(running)
    path = f"/console/rounds/{driver.plan.digest}"
    assert "Nobody has joined yet" in running.http.get(path).text
    shown = driver.to_confirmed()
    text = running.http.get(path).text
    for digest in (driver.plan.digest, shown["cohort"]):
        assert digest in text
    assert text.count('<span class="mark done"') == 5 * driver.charter.n_max
    event, delta = [(driver.plan.event, 1)], driver.charter.roster[0].caps.delta
    in_sum, alone = (
        epsilon(event, delta, one, driver.charter.honest) for one in (Guarantee.IN_SUM, Guarantee.ALONE)
    )
    assert f"ε {in_sum:.3f} in the sum, {alone:.3f} alone" in text
    assert in_sum < alone
    assert "3 of 3 carry that of every upload in the sum" in text
    assert running.http.get(f"/console/rounds/{'0' * 64}").status_code == 404
    assert running.http.get("/console/rounds/..%2f..").status_code == 404


def test_the_round_page_says_where_confirmations_name_other_fingerprints(
    running: Running, driver: RoundDriver
) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    visit(running)
    path, (first, second, third) = f"/console/rounds/{driver.plan.digest}", driver.names

    def shown() -> str:
        return running.http.get(path, headers={"accept-language": "en"}).text

    assert "of every upload" not in shown()
    done(driver.confirm(first), 201)
    some = tuple(UploadFingerprint(partner=one, fingerprint=("1", "2")) for one in (first, second))
    short = driver.confirmation(second, fingerprints=some)
    done(driver.client(second).post(f"{driver.base}/confirmations", short), 201)
    text = shown()
    assert "1 of 2 carry that of every upload in the sum" in text
    assert "name different ones" not in text
    other = driver.confirmation(
        third, fingerprints=(*some, UploadFingerprint(partner=third, fingerprint=("1", "3")))
    )
    done(driver.client(third).post(f"{driver.base}/confirmations", other), 201)
    text = shown()
    assert "2 of 3 carry that of every upload in the sum" in text
    assert "They name different ones for one upload" in text


def test_the_round_page_shows_what_each_partner_found_of_the_noise(running: Running, driver: RoundDriver) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    short = ProbeFigures(ratio=0.8, total_ratio=0.78, total_probes=4096)
    for name in driver.names[:-1]:
        done(driver.confirm(name), 201)
    confirmation = driver.confirmation(driver.names[-1], probes=short)
    done(driver.client(driver.names[-1]).post(f"{driver.base}/confirmations", confirmation), 201)
    visit(running)
    path = f"/console/rounds/{driver.plan.digest}"
    for language, missing, sums in (("en", "noise is missing", "all 4 sums"), ("ko", "잡음 부족", "전체 합 4개")):
        text = running.http.get(path, headers={"accept-language": language}).text
        assert text.count("+0.0 σ") == 2 * (len(driver.names) - 1)
        assert text.count(f"<br>{missing}") == 1
        assert "-4.5 σ" in text
        assert f"{sums} -10.0 σ" in text


def test_every_answer_carries_the_policy(running: Running) -> None:
    visit(running)
    for path in ("/console", "/console/sign-in?link=x", "/console/static/base.css", "/console/static/nothing.css"):
        headers = running.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        if "static" not in path:
            assert headers["cache-control"] == "no-store"


def test_language_follows_the_browser_is_switched_and_remembered(running: Running) -> None:
    get = running.http.get
    assert 'lang="en"' in get("/console/sign-in?link=x", headers={"accept-language": "de"}).text
    assert 'lang="ko"' in get("/console/sign-in?link=x", headers={"accept-language": "ko-KR,ko;q=0.9"}).text
    switched = get("/console/sign-in?link=x&language=ko")
    assert '<html lang="ko">' in switched.text
    assert 'href="/console/sign-in?link=x&amp;language=en"' in switched.text
    assert '<html lang="ko">' in get("/console/sign-in?link=x").text
    assert '<html lang="ko">' in get("/console/sign-in?link=x&language=xx").text


@pytest.mark.parametrize("path", ["/console/nowhere", "/console/rounds", "/console/static/", "/console/a/b/c"])
def test_a_page_that_is_none_is_a_page(running: Running, path: str) -> None:
    answer = running.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in answer.headers


def test_a_slash_too_many_is_forgiven(running: Running) -> None:
    answer = running.http.get("/console/", headers={"host": "elsewhere.example"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, "/console")


def test_names_and_reasons_from_outside_are_escaped(running: Running) -> None:
    evil = '"><script>alert(1)</script>{officer}{{7*7}}'
    consortium = running.consortium
    by_name = consortium.enrolment

    def enrolment(name: str, token: str) -> Any:
        return consortium.by(name, by_name(name, token).body.model_copy(update={"name": evil}))

    draft = consortium.charter
    consortium.enrolment = enrolment  # type: ignore[method-assign]

    def charter(**changes: Any) -> Any:
        shown = draft(**changes)
        roster = tuple(entry.model_copy(update={"name": evil}) for entry in shown.roster)
        return shown.model_copy(update={"roster": roster, "consortium": evil, "privacy_unit": evil})

    consortium.charter = charter  # type: ignore[method-assign]
    driver = RoundDriver(consortium, running.http, *consortium.constitute(running.http))
    driver.join_all()
    done(driver.abort(evil))
    visit(running, name=evil)
    for path in ("/console", f"/console/rounds/{driver.plan.digest}"):
        text = running.http.get(path).text
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "{officer}{{7*7}}" in text


def test_what_comes_from_outside_is_escaped(running: Running) -> None:
    evil = '"><script>alert(1)</script>'
    text = running.http.get("/console/sign-in", params={"link": evil}).text
    assert "<script" not in text


@pytest.mark.parametrize("language", ["en", "ko"])
def test_pages_hold_nothing_that_the_policy_blocks(running: Running, driver: RoundDriver, language: str) -> None:
    driver.join_all()
    visit(running)
    for path in ("/console", f"/console/rounds/{driver.plan.digest}", "/console/sign-in?link=x"):
        parser = StrictPage()
        mark = "&" if "?" in path else "?"
        answer = running.http.get(f"{path}{mark}language={language}")
        assert answer.status_code == 200
        parser.feed(answer.text)
        assert parser.faults == []
        assert len(parser.ids) == len(set(parser.ids))


def test_errors_of_the_project_become_pages(running: Running, driver: RoundDriver, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from privacy.report import figures

    driver.join_all()
    visit(running)

    def fails(*asked: object) -> float:
        raise ChoraleError("a finite epsilon", "nan", "do not go on")

    monkeypatch.setattr(figures, "epsilon", fails)
    answer = running.http.get("/console")
    assert answer.status_code == 500
    assert "came nan" in answer.text
