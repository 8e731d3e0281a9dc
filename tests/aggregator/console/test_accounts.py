"""Accounts from their link to signing in and out, and what whoever attacks them on the way meets."""

from __future__ import annotations

import re
import threading

import pytest
from argon2 import PasswordHasher

from aggregator.console.admission import Typed, Whence, by_password
from aggregator.console.cookies import BROWSER_COOKIE, SESSION_COOKIE
from aggregator.storage import accounts, passwords
from privacy.errors import NotAuthenticated
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import (
    PASSWORD,
    Person,
    account_link,
    form_token,
    send,
    shown_codes,
    shown_secret,
    sign_in,
    take_into_use,
    without_cookies,
)


def status(running: Running) -> int:
    return running.http.get("/console").status_code


def test_from_a_link_to_an_account_in_use(running: Running) -> None:
    link = account_link(running)
    assert send(running, "/console/sign-in", {"link": link}).headers["location"] == "/console/set-up"
    # Until then the session is good for nothing else.
    assert status(running) == 403
    assert running.http.get("/console/account").status_code == 403
    assert running.http.get("/console/set-up").status_code == 200
    without_cookies(running)
    assert send(running, "/console/sign-in", {"link": link}).status_code == 401
    assert running.http.get("/console/set-up").status_code == 401


def test_taking_into_use_checks_everything_before_it_changes_anything(running: Running) -> None:
    send(running, "/console/sign-in", {"link": account_link(running)})
    person = Person("kim", PASSWORD, shown_secret(running.http.get("/console/set-up").text))
    good = {"password": PASSWORD, "again": PASSWORD, "code": person.code(running)}
    for wrong, said in (
        ({"password": "short", "again": "short"}, "at least 12"),
        ({"again": PASSWORD + "x"}, "not the same"),
        ({"password": "kim" * 9, "again": "kim" * 9}, "Made of your name"),
        ({"password": "x" * 257, "again": "x" * 257}, "at most 256"),
        ({"code": person.code(running, 4)}, "Not a code"),
        ({"code": "\u00e9\x00"}, "Not a code"),
    ):
        answer = send(running, "/console/set-up", good | wrong, page="/console/set-up")
        assert answer.status_code == 422
        assert said in answer.text
        assert 'aria-invalid="true"' in answer.text
        # The key stays the one that was scanned.
        assert shown_secret(answer.text) == person.secret
    before = running.http.cookies[SESSION_COOKIE]
    answer = send(running, "/console/set-up", good, page="/console/set-up")
    codes = shown_codes(answer.text)
    assert len(set(codes)) == 10
    assert running.http.cookies[SESSION_COOKIE] != before
    assert status(running) == 200
    running.http.cookies.clear()
    assert running.http.get("/console/set-up", headers={"cookie": f"{SESSION_COOKIE}={before}"}).status_code == 401


def test_signing_in_asks_for_all_three_and_tells_nobody_which_was_wrong(running: Running, kim: Person) -> None:
    answers = []
    for wrong in (
        {"name": "nobody"},
        {"password": "another password"},
        {"code": kim.code(running, 3)},
        {"code": ""},
        {"name": "kim\r\nset-cookie: x=y"},
        {"name": "'; drop table accounts; --"},
        {"name": "\x00"},
    ):
        answer = sign_in(running, kim, **wrong)
        without_cookies(running)
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        # But for the form's token, and the name as it was typed.
        answers.append(re.sub(r'[0-9a-f]{64}|(?<=name="name" type="text") value="[^"]*"', "", answer.text))
    assert len(set(answers)) == 1
    answer = sign_in(running, kim)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    for cookie in answer.headers.get_list("set-cookie"):
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
    assert status(running) == 200


def test_a_name_without_an_account_costs_a_comparison_too(running: Running, kim: Person, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    compared: list[str] = []

    class Counting:
        def verify(self, kept: str, password: str) -> bool:
            compared.append(kept)
            return hasher.verify(kept, password)

        def hash(self, password: str, *, salt: bytes | None = None) -> str:
            return hasher.hash(password, salt=salt)

    hasher = passwords.HASHER
    monkeypatch.setattr(passwords, "HASHER", Counting())
    for name in ("kim", "nobody", "NO NAME"):
        sign_in(running, kim, name=name, password="another password")
        without_cookies(running)
    assert len(compared) == 3
    # All of them by the same parameters.
    assert len({kept.rsplit("$", 2)[0] for kept in compared}) == 1


def test_no_code_is_taken_twice_nor_an_older_one(running: Running, kim: Person) -> None:
    code = kim.code(running)
    assert sign_in(running, kim, code=code).status_code == 303
    without_cookies(running)
    for used in (code, kim.code(running, -1)):
        assert sign_in(running, kim, code=used).status_code == 401
        without_cookies(running)
    assert sign_in(running, kim, code=f" {kim.code(running, 1)[:3]} {kim.code(running, 1)[3:]}").status_code == 303


def test_of_many_with_one_code_one_gets_in(running: Running, kim: Person) -> None:
    typed = Typed(kim.name, kim.password, kim.code(running))
    outcomes: list[bool] = []

    def enter() -> None:
        try:
            by_password(running.service, typed, Whence("192.0.2.1", "", ""))
        except NotAuthenticated:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 4 + [True]


def test_a_recovery_code_replaces_one_code_once(running: Running, kim: Person) -> None:
    first = kim.recovery[0].replace(" ", "-").upper()
    assert sign_in(running, kim, code=first).status_code == 303
    assert "<dd>9</dd>" in running.http.get("/console/account").text
    without_cookies(running)
    assert sign_in(running, kim, code=first).status_code == 401
    without_cookies(running)
    assert sign_in(running, kim, code=kim.recovery[1]).status_code == 303


def test_a_session_of_before_is_not_the_session_after(running: Running, kim: Person) -> None:
    planted = "f" * 64
    running.http.cookies.set(SESSION_COOKIE, planted, domain="testserver.local", path="/console")
    assert sign_in(running, kim).status_code == 303
    assert running.http.cookies[SESSION_COOKIE] != planted
    without_cookies(running)
    running.http.cookies.set(SESSION_COOKIE, planted, domain="testserver.local", path="/console")
    assert status(running) == 401


def test_no_address_in_a_request_is_gone_to(running: Running, kim: Person) -> None:
    elsewhere = "https://elsewhere.example/"
    token = form_token(running, "/console/sign-in")
    answer = running.http.post(
        f"/console/sign-in?next={elsewhere}",
        data=kim.fields(running, csrf=token, next=elsewhere, url=elsewhere),
        headers={"host": "elsewhere.example", "referer": elsewhere},
        follow_redirects=False,
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


def test_a_disabled_or_reset_account_ends_what_is_open(running: Running, kim: Person) -> None:
    for end in (accounts.disable, accounts.reset):
        sign_in(running, kim)
        assert status(running) == 200
        with running.service.database.write() as session:
            end(session, "kim", running.service.clock.now())
        assert status(running) == 401
        without_cookies(running)
        running.consortium.clock.seconds += 30
        assert sign_in(running, kim).status_code == 401
        without_cookies(running)
        running.consortium.clock.seconds += 30
        with running.service.database.write() as session:
            account = accounts.reset(session, "kim", running.service.clock.now())
            assert account.state == "invited"
            from aggregator.storage.links import create_account_link

            link = create_account_link(session, account, running.service.now() + 60.0, running.service.source)
        kim = take_into_use(running, link)
        without_cookies(running)


def test_a_reset_voids_the_link_of_before(running: Running) -> None:
    link = account_link(running)
    with running.service.database.write() as session:
        accounts.reset(session, "kim", running.service.clock.now())
    assert send(running, "/console/sign-in", {"link": link}).status_code == 401


def test_an_old_hash_is_made_anew_at_sign_in(running: Running, kim: Person) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=512, parallelism=1).hash(PASSWORD, salt=b"s" * 16)
    with running.service.database.write() as session:
        accounts.set_password(session, "kim", old)
    assert sign_in(running, kim).status_code == 303
    with running.service.database.read() as session:
        kept = accounts.password_of(session, "kim")
    assert kept is not None
    assert kept != old
    assert not passwords.outdated(kept)


def test_what_is_stored_gives_no_code_and_no_token(running: Running, kim: Person) -> None:
    sign_in(running, kim)
    token, browser = (running.http.cookies[name] for name in (SESSION_COOKIE, BROWSER_COOKIE))
    running.service.database.engine.dispose()
    stored = b"".join(path.read_bytes() for path in running.settings.folder.glob("chorale.db*"))
    for secret in (token, browser, kim.secret, PASSWORD, *(code.replace(" ", "") for code in kim.recovery)):
        assert secret.encode() not in stored
        assert secret.upper().encode() not in stored


def test_nothing_typed_shows_in_a_repr() -> None:
    assert "secret" not in repr(Typed("kim", "secret", "secret"))


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("eleven char", "too_short"),
        ("한국어로된비밀번호문장", "too_short"),
        ("한국어로 된 비밀번호 문장", None),
        ("kim1234567890", "of_name"),
        ("KIMKIMKIMKIMKIM", "of_name"),
        ("aaaaaaaaaaaa", None),
    ],
)
def test_length_and_name_are_all_that_is_asked_of_a_password(password: str, fault: str | None) -> None:
    assert passwords.fault_of(password, "kim") == fault
