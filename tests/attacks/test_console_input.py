"""Adversary: whoever chooses an id in an address, or a partner's name. It wants another file, a script in a page of
the console, or an error that tells something. Ids are matched whole; what comes from outside is text on every page.
"""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.console.cookies import CSRF_FIELD
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import form_token, send, sign_in_as
from tests.aggregator.console.strict_page import StrictPage
from tests.aggregator.driver import RoundDriver
from tests.attacks.console_scene import OWN, USES, Scene, Someone, books, enter, listed, made, routes


@pytest.fixture
def scene(running: Running, driver: RoundDriver) -> Scene:
    return made(running, driver)


IDS = (
    "..%2f..%2fserver.key",
    "%2e%2e",
    "....%2f%2f",
    "..%5c..%5cserver.key",
    "%00",
    "ab" * 31 + "%2f.",
    "A" * 64,
    "0" * 4000,
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
    "%7B%7B7*7%7D%7D",
    "%ff%fe",
    "%EF%BC%8E%EF%BC%8E",  # two full-width dots
    "partner-01%20",
    "1%20OR%201=1",
)


def test_no_id_in_any_path_of_the_console_is_a_path_a_script_or_an_error_of_ours(scene: Scene) -> None:
    running = scene.running
    enter(running, Someone())
    token = form_token(running, "/console/ledger")
    before = books(running)
    for method, route in listed(running):
        if "{" not in route:
            continue
        for bad in IDS:
            start, _, rest = route.partition("{")
            path = start + bad + rest.partition("}")[2]
            data = scene.fields(route, OWN) | {CSRF_FIELD: token} if method == "POST" else None
            answer = running.http.request(method, path, data=data, follow_redirects=False)
            assert 400 <= answer.status_code < 500, (path, answer.status_code)
            if answer.headers["content-type"].startswith("text/html"):
                page = StrictPage()
                page.feed(answer.text)
                assert page.faults == [], path
                assert "<img src=x" not in answer.text
    assert books(running) == before


@pytest.mark.full
def test_no_id_in_any_path_of_the_interface_is_a_path_or_an_error_of_ours(
    running: Running, driver: RoundDriver
) -> None:
    """The same with signed requests, by operator and partner, on every route of the interface."""
    tried = 0
    for method, route in routes(running, "/v1"):
        parts = route.split("{")
        for bad in IDS if len(parts) > 1 else ():
            target = parts[0] + "".join(bad + part.partition("}")[2] for part in parts[1:])
            for identity in (OPERATOR, OWN):
                body = b"" if method == "GET" else b"{}"
                answer = driver.client(identity).send(method, target, body)
                assert 400 <= answer.status_code < 500, (method, target, answer.text)
                tried += answer.status_code != 401
    assert tried > 500


EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{officer}{{7*7}}'


def test_a_partners_name_is_text_on_every_page_and_in_every_report(running: Running) -> None:
    consortium = running.consortium
    by_name, draft = consortium.enrolment, consortium.charter

    def enrolment(name: str, token: str) -> Any:
        return consortium.by(name, by_name(name, token).body.model_copy(update={"name": EVIL}))

    def charter(**changes: Any) -> Any:
        shown = draft(**changes)
        roster = tuple(entry.model_copy(update={"name": EVIL}) for entry in shown.roster)
        return shown.model_copy(update={"roster": roster, "consortium": EVIL, "privacy_unit": EVIL})

    consortium.enrolment = enrolment  # type: ignore[method-assign]
    consortium.charter = charter  # type: ignore[method-assign]
    driver = RoundDriver(consortium, running.http, *consortium.constitute(running.http))
    driver.join_all()
    sign_in_as(running)
    made = send(running, "/console/reports", {"participant": OWN, "format": "html"}, page="/console/reports")
    report = made.headers["location"]
    named = 0
    for method, route in listed(running):
        if method != "GET" or USES[f"GET {route}"] not in ("read", "account"):
            continue
        ids = {"partner": OWN, "sha256": report.rpartition("/")[2], "round_digest": driver.plan.digest}
        for language in ("en", "ko"):
            answer = running.http.get(route.format(**ids), params={"language": language})
            if not answer.headers["content-type"].startswith("text/html"):
                continue
            assert "<script" not in answer.text, route
            assert "<img" not in answer.text, route
            named += "alert(1)" in answer.text
            assert "{officer}{{7*7}}" in answer.text or "alert(1)" not in answer.text, route
    assert named >= 8
    file = running.http.get(f"{report}/file")
    assert file.headers["content-disposition"].startswith("attachment")
    assert "alert(1)" in file.text
    assert "<script" not in file.text
    assert "<img" not in file.text
