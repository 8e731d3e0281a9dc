"""What people change of their own accounts: password, authenticator, sessions."""

from __future__ import annotations

import dataclasses

from fastapi.testclient import TestClient

from aggregator.console.cookies import SESSION_COOKIE
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import (
    PASSWORD,
    Person,
    send,
    shown_codes,
    shown_secret,
    sign_in,
    sign_in_as,
    visit,
    without_cookies,
)


def test_the_password_changes_with_password_and_code_and_ends_other_sessions(running: Running, kim: Person) -> None:
    elsewhere = sign_in_as(running)
    without_cookies(running)
    sign_in(running, kim)
    running.consortium.clock.seconds += 30
    new = "nobody hears the singer"
    good = {"current": PASSWORD, "code": kim.code(running), "password": new, "again": new}
    for wrong, said in (
        ({"current": "another password"}, "do not belong together"),
        ({"code": "000000"}, "do not belong together"),
        ({"password": "short", "again": "short"}, "at least 12"),
    ):
        answer = send(running, "/console/account/password", good | wrong, page="/console/account")
        assert answer.status_code == 422
        assert said in answer.text
    before = running.http.cookies[SESSION_COOKIE]
    answer = send(running, "/console/account/password", good, page="/console/account")
    assert answer.status_code == 303
    assert "changed" in running.http.get("/console/account?changed=1").text
    for old in (before, elsewhere):
        browser = TestClient(running.http.app, cookies={SESSION_COOKIE: old})
        assert browser.get("/console").status_code == 401
    without_cookies(running)
    running.consortium.clock.seconds += 30
    assert sign_in(running, kim).status_code == 401
    without_cookies(running)
    assert sign_in(running, dataclasses.replace(kim, password=new)).status_code == 303


def test_a_new_authenticator_is_used_once_its_code_was_typed(running: Running, kim: Person) -> None:
    sign_in(running, kim)
    running.consortium.clock.seconds += 30
    proof = {"current": PASSWORD, "code": kim.code(running)}
    page = send(running, "/console/account/authenticator", proof, page="/console/account")
    new = dataclasses.replace(kim, secret=shown_secret(page.text))
    assert new.secret != kim.secret
    path = "/console/account/authenticator/code"
    assert send(running, path, {"code": kim.code(running)}, page="/console/account").status_code == 422
    new.recovery = shown_codes(send(running, path, {"code": new.code(running)}, page="/console/account").text)
    assert len(new.recovery) == 10
    running.consortium.clock.seconds += 30
    for person, code, wanted in (
        (kim, kim.code(running), 401),
        (kim, kim.recovery[3], 401),
        (new, new.code(running), 303),
        (new, new.recovery[0], 303),
    ):
        without_cookies(running)
        assert sign_in(running, person, code=code).status_code == wanted


def test_signing_out_everywhere_ends_every_session(running: Running, kim: Person) -> None:
    tokens = [sign_in_as(running) for _ in range(2)]
    without_cookies(running)
    sign_in(running, kim)
    tokens.append(running.http.cookies[SESSION_COOKIE])
    assert send(running, "/console/sign-out-everywhere", {}, page="/console/account").status_code == 200
    for token in tokens:
        assert TestClient(running.http.app, cookies={SESSION_COOKIE: token}).get("/console").status_code == 401


def test_a_visit_by_link_has_no_account_to_change(running: Running) -> None:
    visit(running)
    assert running.http.get("/console/account").status_code == 403
    assert send(running, "/console/account/authenticator", {}, page="/console").status_code == 403
