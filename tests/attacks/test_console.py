"""Adversary: another site in the officer's browser, an officer of another partner, a name or an id made to do harm.
It wants a form sent, a page read or a script run that is not its own. Every route of the console is tried, as the
application lists them: one that is new fails here until it is said who may use it.
"""

from __future__ import annotations

import pytest

from aggregator.console.cookies import CSRF_FIELD, FORM_COOKIE, SESSION_COOKIE
from aggregator.console.security import HEADERS
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import form_token, link_for
from tests.aggregator.driver import RoundDriver
from tests.attacks.console_scene import (
    MARK,
    OTHER,
    OWN,
    PEOPLE,
    USES,
    Scene,
    Someone,
    asked,
    books,
    enter,
    listed,
    made,
)

SHOWN = (200,)
# 422: a wrong password, and so on; 404: no new authenticator was asked for.
TAKEN = (200, 303, 404, 422)


@pytest.fixture
def scene(running: Running, driver: RoundDriver) -> Scene:
    return made(running, driver)


def test_of_every_route_it_is_said_who_may_use_it(running: Running) -> None:
    assert {f"{method} {path}" for method, path in listed(running)} == set(USES)
    assert {method for method, _ in listed(running)} == {"GET", "POST"}


def test_every_route_is_for_whom_it_says_in_every_role_and_scope(scene: Scene) -> None:
    """Refused is refused before anything is written, and nothing of another's is on any page."""
    seen = {True: 0, False: 0}
    for who in PEOPLE:
        enter(scene.running, who)
        form_token(scene.running, who.page)  # an authenticator is offered with the page that sets an account up
        before = books(scene.running)
        for key, use in USES.items():
            method, route = key.split(" ")
            if use == "open" or route == "/console/sign-out-everywhere":
                continue
            of_someone = use == "report" or ("{" in route and "round" not in route)
            for whose in (OWN, OTHER) if of_someone else (OWN,):
                may = who.may(use, whose if of_someone else None)
                seen[may] += 1
                answer = asked(scene, method, route, whose, who.page)
                said = (who.name, key, whose, answer.status_code)
                if may:
                    assert answer.status_code in (SHOWN if method == "GET" else TAKEN), said
                    before = before if method == "GET" else books(scene.running)
                else:
                    assert answer.status_code in (401, 403, 404), said
                    assert method == "GET" or books(scene.running) == before, said
                if who.scope == OWN:
                    assert f"{MARK}-{OTHER}" not in answer.text, said
                elif may and route in ("/console/alarms", "/console/ledger", "/console/participants/{partner}"):
                    assert f"{MARK}-{whose}" in answer.text, said
                if use in ("account", "set-up") and may and method == "POST":
                    enter(scene.running, who)
                    before = books(scene.running)
    assert min(seen.values()) > 50


def test_without_a_session_every_route_is_closed_that_is_not_meant_for_strangers(scene: Scene) -> None:
    """A token that was planted, a set-up session, or nothing."""
    before = books(scene.running)
    for key, use in USES.items():
        method, route = key.split(" ")
        for token in (None, "f" * 64, "../../etc/passwd"):
            scene.running.http.cookies.clear()
            if token is not None:
                scene.running.http.cookies.set(SESSION_COOKIE, token, domain="testserver.local", path="/console")
            answer = asked(scene, method, route, OTHER, "/console/sign-in") if use != "open" else None
            if answer is not None:
                assert answer.status_code == 401, (key, token)
                assert MARK not in answer.text
    assert books(scene.running) == before


def test_every_form_needs_its_sessions_token_and_no_other_site_can_send_it(scene: Scene) -> None:
    running = scene.running
    enter(running, Someone(account=False))
    of_another = form_token(running, "/console")
    running.http.cookies.clear()
    before_sign_in = form_token(running)
    for method, route in listed(running):
        if method != "POST":
            continue
        who = Someone(setting_up=USES[f"POST {route}"] == "set-up")
        enter(running, who)
        own = form_token(running, who.page)
        path, fields = scene.path(route, OWN), scene.fields(route, OWN)
        before = books(running)
        for token, headers in (
            (None, {}),
            ("", {}),
            (of_another, {}),
            (before_sign_in, {}),
            (own.upper(), {}),
            (own, {"sec-fetch-site": "cross-site"}),
            (own, {"sec-fetch-site": "same-site"}),
            (None, {"origin": "https://elsewhere.example"}),
        ):
            data = fields | ({} if token is None else {CSRF_FIELD: token})
            answer = running.http.post(path, data=data, headers=headers, follow_redirects=False)
            assert answer.status_code == 403, (route, token, headers)
            assert SESSION_COOKIE not in answer.headers.get("set-cookie", ""), route
        # Nor as another kind of body that a page elsewhere may send without asking.
        for kind in ("text/plain", "multipart/form-data; boundary=x"):
            answer = running.http.post(path, content=b"reason=an+attack", headers={"content-type": kind})
            assert answer.status_code == 403, (route, kind)
        assert books(running) == before, route
        # The same form, sent by the page that was shown.
        answer = running.http.post(path, data=fields | {CSRF_FIELD: own}, follow_redirects=False)
        assert answer.status_code != 403, (route, answer.text)


def test_reading_changes_nothing_and_every_answer_carries_the_policy(scene: Scene) -> None:
    """A link or an image elsewhere makes a browser GET with its cookies: no GET may do anything."""
    running = scene.running
    enter(running, Someone())
    before = books(running)
    for method, route in listed(running):
        if method == "GET" and USES[f"GET {route}"] != "set-up":
            answer = running.http.get(scene.path(route, OTHER), follow_redirects=False)
            assert answer.status_code in (200, 404), route
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, route
            assert ("no-store" in answer.headers["cache-control"]) == ("static" not in route), route
    assert books(running) == before


def test_a_session_or_form_cookie_that_was_planted_is_worth_nothing_after_sign_in(running: Running) -> None:
    """The attacker knows what was in the browser before; the officer's session is another."""
    planted = {SESSION_COOKIE: "a" * 64, FORM_COOKIE: "b" * 64}
    for name, value in planted.items():
        running.http.cookies.set(name, value, domain="testserver.local", path="/console")
    token = form_token(running, "/console/sign-in")
    link = link_for(running)
    answer = running.http.post("/console/sign-in", data={"link": link, CSRF_FIELD: token}, follow_redirects=False)
    assert answer.status_code == 303
    given = running.http.cookies.get(SESSION_COOKIE, domain="testserver.local", path="/console")
    assert given not in (None, *planted.values())
    own = form_token(running, "/console")
    assert own != token
    assert running.http.post("/console/sign-out", data={CSRF_FIELD: token}).status_code == 403
    for value in planted.values():
        running.http.cookies.clear()
        answer = running.http.get("/console", headers={"cookie": f"{SESSION_COOKIE}={value}"})
        assert answer.status_code == 401
