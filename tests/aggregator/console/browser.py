"""What a person's browser does at the console: keep cookies, fill in forms, and send the token a form carries."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx

from aggregator.console.cookies import SESSION_COOKIE
from aggregator.storage.links import create_link
from aggregator.storage.sessions import CONSORTIUM, Opened, Role, open_session
from tests.aggregator.conftest import Running

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
