"""The console with everything on it that belongs to one participant and not to another, and whoever might come.

Every route is taken from the application itself: USES says what each is for, and one that is new is missing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import select

from aggregator.console.cookies import SESSION_COOKIE
from aggregator.storage import accounts
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.sessions import CONSORTIUM, Opened, Role, open_session
from aggregator.storage.tables import Table
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import link_for, send, sign_in_as
from tests.aggregator.driver import RoundDriver

OWN, OTHER = "partner-01", "partner-02"
MARK = "only-the-other-may-read-this"
Use = Literal["open", "set-up", "read", "account", "suspend", "resume", "tighten", "acknowledge", "report"]

# What each route is for; of whom its object is, the test says.
USES: Mapping[str, Use] = {
    "GET /console": "read",
    "GET /console/account": "account",
    "GET /console/alarms": "read",
    "GET /console/charter": "read",
    "GET /console/ledger": "read",
    "GET /console/oidc": "open",
    "GET /console/oidc/return": "open",
    "GET /console/participants/{partner}": "read",
    "GET /console/plan": "read",
    "GET /console/reports": "read",
    "GET /console/reports/{sha256}": "read",
    "GET /console/reports/{sha256}/file": "read",
    "GET /console/reports/{sha256}/signature": "read",
    "GET /console/rounds/{round_digest}": "read",
    "GET /console/set-up": "set-up",
    "GET /console/sign-in": "open",
    "GET /console/static/{name}": "open",
    "GET /console/{path:path}": "open",
    "POST /console/account/authenticator": "account",
    "POST /console/account/authenticator/code": "account",
    "POST /console/account/password": "account",
    "POST /console/alarms/{alarm}/acknowledge": "acknowledge",
    "POST /console/participants/{partner}/resume": "resume",
    "POST /console/participants/{partner}/suspend": "suspend",
    "POST /console/participants/{partner}/tighten": "tighten",
    "POST /console/reports": "report",
    "POST /console/set-up": "set-up",
    "POST /console/sign-in": "open",
    "POST /console/sign-out": "open",
    "POST /console/sign-out-everywhere": "read",
}
MAY: Mapping[Role, frozenset[str]] = {
    "officer": frozenset({"suspend", "resume", "tighten", "acknowledge"}),
    "operator": frozenset({"suspend", "acknowledge"}),
    "auditor": frozenset(),
}


@dataclass(frozen=True)
class Someone:
    """A session. `account` False: of a visit by link; `setting_up`: of an account that is not in use yet."""

    role: Role = "officer"
    scope: str = CONSORTIUM
    account: bool = True
    setting_up: bool = False

    @property
    def name(self) -> str:
        return f"{self.role}-{self.scope}-{'account' if self.account else 'visit'}"

    @property
    def page(self) -> str:
        """One with a form, and its token."""
        return "/console/set-up" if self.setting_up else "/console/alarms"

    def may(self, use: Use, whose: str | None) -> bool:
        covered = whose is None or self.scope in (CONSORTIUM, whose)
        if self.setting_up or use == "set-up":
            return self.setting_up and use == "set-up"
        if use in ("read", "report"):
            return covered
        return self.account and (use == "account" or (use in MAY[self.role] and covered))


ROLES: tuple[Role, ...] = ("officer", "operator", "auditor")
PEOPLE = (
    *(Someone(role, scope) for role in ROLES for scope in (OWN, CONSORTIUM)),
    *(Someone(scope=scope, account=False) for scope in (OWN, CONSORTIUM)),
    Someone(setting_up=True),
)


def routes(running: Running, under: str) -> list[tuple[str, str]]:
    """(method, path) of every route below `under`, also of routers that FastAPI keeps whole."""
    app = running.http.app
    assert isinstance(app, FastAPI)
    waiting: list[Any] = list(app.routes)
    found: list[APIRoute] = []
    while waiting:
        one = waiting.pop()
        if isinstance(one, APIRoute):
            found.append(one)
        else:
            waiting += getattr(getattr(one, "original_router", None), "routes", [])
    chosen = sorted((method, one.path) for one in found for method in one.methods if one.path.startswith(under))
    assert len(chosen) > 20
    return chosen


def listed(running: Running) -> list[tuple[str, str]]:
    return routes(running, "/console")


def books(running: Running) -> dict[str, list[str]]:
    """Everything in the database."""
    with running.service.database.read() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table)))) for table in Table.metadata.sorted_tables
        }


def enter(running: Running, who: Someone) -> None:
    with running.service.database.write() as session:
        if who.account and who.name not in {account.name for account in accounts.everyone(session)}:
            accounts.create(session, who.name, who.role, who.scope, 0.0)
        opened = Opened(who.name, who.name if who.account else None, who.role, who.scope, who.setting_up)
        token = open_session(session, opened, running.service.clock.now(), 3600, running.service.source)
    running.http.cookies.clear()
    running.http.cookies.set(SESSION_COOKIE, token, domain="testserver.local", path="/console")


@dataclass(frozen=True)
class Scene:
    """A campaign after a round; of each participant: the id of an alarm, and of a report."""

    running: Running
    driver: RoundDriver
    alarms: Mapping[str, str]
    reports: Mapping[str, str]

    def path(self, route: str, whose: str) -> str:
        """With the ids of objects of `whose`."""
        ids = {
            "partner": whose,
            "alarm": self.alarms[whose],
            "sha256": self.reports[whose],
            "round_digest": self.driver.plan.digest,
            "name": "base.css",
        }
        return route.replace("{path:path}", "nowhere").format(**ids)

    def fields(self, route: str, whose: str) -> dict[str, str]:
        """What a form of this route is sent with; a wrong password where it asks for one."""
        if route == "/console/sign-in":
            return {"link": link_for(self.running)}
        caps = self.driver.charter.entry(whose).caps
        filled: dict[str, dict[str, str]] = {
            "/console/reports": {"participant": whose, "format": "json"},
            "/console/participants/{partner}/tighten": {
                "epsilon_in_sum": str(caps.epsilon_in_sum),
                "epsilon_alone": str(caps.epsilon_alone),
            },
        }
        return {"reason": "an attack", **filled.get(route, {})}


def made(running: Running, driver: RoundDriver) -> Scene:
    """A scene of this service, in which nobody is signed in."""
    driver.join_all()
    ids: dict[str, str] = {}
    with running.service.database.write() as session:
        for place, name in enumerate((OWN, OTHER)):
            detail: dict[str, str | int | float] = {"entry": place, "officer": f"{MARK}-{name}"}
            raise_alarm(session, "suspended", name, detail, running.service.now())
    with running.service.database.read() as session:
        for row in session.execute(select(Table.metadata.tables["alarms"])).mappings():
            ids[row["participant"]] = row["id"]
    reports = {}
    for name in (OWN, OTHER):
        sign_in_as(running)
        page = f"/console/participants/{name}"
        assert send(running, f"{page}/suspend", {"reason": f"{MARK}-{name}"}, page=page).status_code == 303
        answer = send(running, "/console/reports", {"participant": name, "format": "json"}, page="/console/reports")
        reports[name] = answer.headers["location"].rpartition("/")[2]
    running.http.cookies.clear()
    return Scene(running, driver, ids, reports)


def asked(scene: Scene, method: str, route: str, whose: str, page: str) -> httpx.Response:
    """A GET, or the route's form with the token of a form on `page`."""
    path = scene.path(route, whose)
    if method == "GET":
        shown: httpx.Response = scene.running.http.get(path, follow_redirects=False)
        return shown
    return send(scene.running, path, scene.fields(route, whose), page=page)
