"""Links by which officers sign in, and the sessions that they open."""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient

from aggregator.console.cookies import SESSION_COOKIE
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import form_token, link_for, send, visit


def test_a_link_is_shown_without_being_used_and_then_works_once(running: Running) -> None:
    link = link_for(running)
    for _ in range(3):  # as a mail scanner would
        page = running.http.get("/console/sign-in", params={"link": link})
        assert page.status_code == 200
        assert link in page.text
    first = send(running, "/console/sign-in", {"link": link})
    assert first.status_code == 303
    cookie = first.headers["set-cookie"].lower()
    for wanted in ("httponly", "samesite=strict", "path=/console", "max-age="):
        assert wanted in cookie
    assert "secure" not in cookie  # plain HTTP on loopback: a browser would not send it back
    running.http.cookies.clear()
    again = send(running, "/console/sign-in", {"link": link})
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


def test_over_https_the_cookie_is_secure(running: Running) -> None:
    chosen = running.http.get("https://testserver/console/sign-in?link=x&language=ko")
    running.http.base_url = "https://testserver"
    answer = send(running, "/console/sign-in", {"link": link_for(running)})
    for response in (chosen, answer):
        for cookie in response.headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-")
            assert {"secure", "httponly", "path=/", "samesite=strict"} <= {
                part.strip().lower() for part in cookie.split(";")
            }
    assert "strict-transport-security" in answer.headers
    assert running.http.get("/console").status_code == 200


@pytest.mark.parametrize("path", ["/console", f"/console/rounds/{'0' * 64}"])
def test_without_a_session_every_page_is_the_sign_in_page(running: Running, path: str) -> None:
    for token in (None, "f" * 64):
        headers = {"cookie": f"{SESSION_COOKIE}={token}"} if token else {}
        answer = running.http.get(path, headers=headers)
        assert answer.status_code == 401
        assert "Please sign in" in answer.text


def test_a_session_ends_by_itself_and_by_signing_out(running: Running) -> None:
    visit(running)
    assert running.http.get("/console").status_code == 200
    running.consortium.clock.seconds += running.settings.session_seconds + 1
    assert running.http.get("/console").status_code == 401
    visit(running)
    token = running.http.cookies[SESSION_COOKIE]
    assert send(running, "/console/sign-out", {}, page="/console").status_code == 200
    assert running.http.get("/console", headers={"cookie": f"{SESSION_COOKIE}={token}"}).status_code == 401


def test_an_expired_link_and_an_empty_form_are_refused(running: Running) -> None:
    late = link_for(running, seconds=-1.0)
    for data, said in (({"link": late}, "does not work any more"), ({}, "Not signed in")):
        answer = send(running, "/console/sign-in", data)
        assert answer.status_code == 401, answer.text
        assert said in answer.text


def test_of_many_who_redeem_a_link_at_once_one_gets_in(running: Running) -> None:
    fields = {"link": link_for(running), "csrf": form_token(running)}
    before = dict(running.http.cookies)
    statuses: list[int] = []

    def redeem() -> None:
        browser = TestClient(running.http.app, cookies=before)
        answer = browser.post("/console/sign-in", data=fields, follow_redirects=False)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=redeem) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [303] + 11 * [401]
