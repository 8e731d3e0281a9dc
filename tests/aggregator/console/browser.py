"""What a person's browser does at the console: keep cookies, fill in forms, and send the token a form carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pyotp

from aggregator.console.cookies import SESSION_COOKIE
from aggregator.storage import accounts
from aggregator.storage.links import create_account_link, create_link
from aggregator.storage.sessions import CONSORTIUM, Opened, Role, open_session
from tests.aggregator.conftest import Running

PASSWORD = "a choir of many voices"
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


def link_for(running: Running, scope: str = CONSORTIUM, seconds: float = 3600.0, name: str = "Ms Officer") -> str:
    with running.service.database.write() as session:
        return create_link(session, name, scope, running.service.now() + seconds, running.service.source)


def sign_in_as(running: Running, role: Role = "officer", scope: str = CONSORTIUM, account: str = "kim") -> str:
    """A session of an account, as its sign-in would open it; gives its token."""
    with running.service.database.write() as session:
        who = Opened(account, account, role, scope)
        token = open_session(session, who, running.service.clock.now(), 3600, running.service.source)
    running.http.cookies.clear()
    running.http.cookies.set(SESSION_COOKIE, token, domain="testserver.local", path="/console")
    return token


def form_token(running: Running, page: str = "/console/sign-in?link=x") -> str:
    """The token of the first form of a page."""
    found = _TOKEN.search(running.http.get(page).text)
    assert found is not None, f"{page} has no form"
    return found[1]


def send(
    running: Running, path: str, fields: Mapping[str, str], *, page: str = "/console/sign-in?link=x"
) -> httpx.Response:
    """Open `page`, and send `fields` with the token of its form to `path`."""
    return running.http.post(path, data={**fields, "csrf": form_token(running, page)}, follow_redirects=False)


def visit(running: Running, scope: str = CONSORTIUM, name: str = "Ms Officer") -> None:
    """Come in by a one-time link, to read."""
    answer = send(running, "/console/sign-in", {"link": link_for(running, scope, name=name)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


@dataclass
class Person:
    """Whoever holds an account: a password, an authenticator, and the recovery codes that were shown."""

    name: str
    password: str
    secret: str = ""
    recovery: tuple[str, ...] = ()

    def code(self, running: Running, steps: int = 0) -> str:
        """What the authenticator shows now, or some steps later."""
        return pyotp.TOTP(self.secret).generate_otp(int(running.consortium.clock.seconds) // 30 + steps)

    def fields(self, running: Running, **changes: str) -> dict[str, str]:
        return {"name": self.name, "password": self.password, "code": self.code(running)} | changes


def account_link(running: Running, name: str = "kim", role: Role = "officer", scope: str = CONSORTIUM) -> str:
    """An account, and the link by which it is taken into use."""
    with running.service.database.write() as session:
        account = accounts.create(session, name, role, scope, running.service.clock.now())
        return create_account_link(session, account, running.service.now() + 3600.0, running.service.source)


def take_into_use(running: Running, link: str, name: str = "kim", password: str = PASSWORD) -> Person:
    """As a person does: open the link, read the page, choose a password, type the first code."""
    answer = send(running, "/console/sign-in", {"link": link})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/set-up")
    person = Person(name, password, shown_secret(running.http.get("/console/set-up").text))
    fields = {"password": password, "again": password, "code": person.code(running)}
    answer = send(running, "/console/set-up", fields, page="/console/set-up")
    assert answer.status_code == 200, answer.text
    person.recovery = shown_codes(answer.text)
    running.consortium.clock.seconds += 30
    return person


def shown_secret(text: str) -> str:
    return re.findall(r'class="hash break">([A-Z2-7 ]+)<', text)[0].replace(" ", "")


def shown_codes(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r'<li class="hash">([a-z2-7 ]+)</li>', text))


def sign_in(running: Running, person: Person, **changes: str) -> httpx.Response:
    return send(running, "/console/sign-in", person.fields(running, **changes), page="/console/sign-in")


def without_cookies(running: Running) -> None:
    """As from another browser."""
    running.http.cookies.clear()
