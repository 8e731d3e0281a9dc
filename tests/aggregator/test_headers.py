"""Every answer of the application says what must not be made of it, whoever gives it and whatever went wrong."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from aggregator.api.headers import HEADERS, HSTS
from aggregator.connections import CutOff
from aggregator.console.security import HEADERS as PAGE_HEADERS
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import sign_in_as
from tests.aggregator.driver import RoundDriver
from tests.consortium import done


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """(method, path with something in place of each parameter) of every route there is."""
    for route in itertools.chain.from_iterable(one.original_router.routes for one in app.routes):
        assert isinstance(route, APIRoute), f"{type(route)} is of a kind that this test does not ask"
        path = re.sub(r"\{(\w+)(:path)?\}", "ab" * 32, route.path)
        for method in route.methods:
            yield method, path


def check(answer: httpx.Response, *, page: bool, https: bool = False) -> None:
    where = f"{answer.request.method} {answer.request.url.path}"
    for name, value in {**HEADERS, **(PAGE_HEADERS if page else {})}.items():
        if name == "cache-control" and "/console/static/" in where and answer.status_code == 200:
            value = "public, max-age=86400"
        assert answer.headers.get(name) == value, f"{where}: {name}"
    assert (HSTS in answer.headers) == https, where


def is_page(path: str) -> bool:
    return path.startswith("/console")


@pytest.mark.parametrize("signed_in", [False, True])
def test_every_route(running: Running, driver: RoundDriver, signed_in: bool) -> None:
    asked = set()
    for method, path in routes(running.http.app):
        running.http.cookies.clear()
        if signed_in and is_page(path):
            sign_in_as(running)
        if signed_in and not is_page(path):
            answer = driver.client(driver.names[0]).send(method, path)
        else:
            answer = running.http.request(method, path, follow_redirects=False)
        check(answer, page=is_page(path))
        asked.add((path, answer.status_code))
    assert len(asked) > 60
    assert {status for _, status in asked} >= {200, 401, 404} if not signed_in else {200, 404, 422}


def test_what_is_no_route_and_what_goes_wrong(
    running: Running, driver: RoundDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(running.http.get("/nowhere"), page=False)
    check(running.http.put("/v1/about"), page=False)
    check(running.http.get("/console/static/console.css"), page=True)
    check(driver.client(driver.names[0]).get("/v1/rounds/short"), page=False)

    def breaks() -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(running.service.database, "read", breaks)
    for path in ("/healthz", "/console/account"):
        running.http.cookies.set("chorale-officer", "x" * 64, domain="testserver.local", path="/console")
        answer = running.http.get(path)
        assert answer.status_code == 500
        check(answer, page=False)


def test_a_request_that_a_stop_cuts_off_has_them_too(running: Running) -> None:
    """The order of what stands around the application: the headers outside of what answers for it."""
    kinds = [one.cls for one in running.http.app.user_middleware]  # type: ignore[attr-defined]
    assert [kind.__name__ for kind in kinds] == ["SecurityHeaders", CutOff.__name__]


def test_over_https_browsers_are_told_to_stay(running: Running) -> None:
    settings = running.settings.model_copy(update={"public_url": "https://choir.example.org"})
    object.__setattr__(running.service, "settings", settings)
    for path in ("/v1/about", "/console/sign-in", "/nowhere", "/console/static/console.css"):
        check(running.http.get(path), page=is_page(path), https=True)


def test_what_a_route_answers_stays_what_it_was(running: Running, driver: RoundDriver) -> None:
    shown = done(driver.client(driver.names[0]).get("/v1/budget"))
    assert "participants" in shown
