"""`make console`: the links that it prints let people in, to look and to act."""

from __future__ import annotations

import json

import pytest

from deploy.demo.officers import OFFICERS, ways_in
from tests.browser import browsing
from tests.browser.conftest import set_up
from tests.browser.consortium_on_show import OnShow

pytestmark = pytest.mark.full


def test_visitors_look_and_officers_act(shown: OnShow) -> None:
    def server(*arguments: str) -> str:
        return json.dumps(shown.command(*(one for one in arguments if one != "--json")))

    ways = dict(ways_in(server, shown.url, "aster"))
    assert len(ways) == 2 + len(OFFICERS)
    with browsing(locale="en-GB") as seen:
        page = seen.page
        page.goto(ways["to look as aster does"].removeprefix("once: "))
        page.click("main button")
        assert page.locator("article.participant").count() == 1
        page.goto(f"{shown.url}/console/participants/aster")
        assert page.locator("main form").count() == 0
        seen.assert_quiet()
    again = dict(ways_in(server, shown.url, "aster"))
    first, second = (f"to act as {name}" for name in OFFICERS)
    assert again[first] != ways[first]
    officer = set_up(shown, OFFICERS[0], again[first].split(": ", 1)[1])
    with officer.browser() as seen:
        seen.page.goto(f"{shown.url}/console/participants/aster")
        assert seen.page.locator("form[action$='/suspend']").count() == 1
        seen.assert_quiet()
    third = dict(ways_in(server, shown.url, "aster"))
    assert third[first] == f"sign in at {shown.url}/console with the password and authenticator that were set up"
    assert third[second].startswith("set up ")
