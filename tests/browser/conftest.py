"""Made once a session, for all browser tests: a consortium on show, and officers with accounts in use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyotp
import pytest

from tests.aggregator.console.browser import PASSWORD, shown_codes, shown_secret
from tests.browser import browsing
from tests.browser.consortium_on_show import OnShow, on_show

if TYPE_CHECKING:
    from playwright.sync_api import StorageState


@dataclass(frozen=True)
class Officer:
    """Whoever took an account into use. state: the browser's cookies, signed in."""

    name: str
    secret: str
    codes: tuple[str, ...]
    state: StorageState

    def browser(self, **context: Any) -> Any:
        """A browser in which this officer is signed in."""
        return browsing(storage_state=self.state, **{"locale": "en-GB"} | context)


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnShow]:
    with on_show(tmp_path_factory.mktemp("on-show")) as running:
        yield running


@pytest.fixture(scope="session")
def kim(shown: OnShow) -> Officer:
    return take_into_use(shown, "kim")


@pytest.fixture(scope="session")
def lee(shown: OnShow) -> Officer:
    return take_into_use(shown, "lee")


def take_into_use(shown: OnShow, name: str) -> Officer:
    """An account from the command line, set up."""
    made = shown.command("account", "create", name, "--role", "officer", "--scope", "consortium")
    return set_up(shown, name, made["url"])


def set_up(shown: OnShow, name: str, link: str) -> Officer:
    """What an account's holder does with its link."""
    with browsing(locale="en-GB") as seen:
        page = seen.page
        page.goto(link)
        page.click("main button")
        page.wait_for_url("**/console/set-up")
        secret = shown_secret(page.content())
        page.fill("#password", PASSWORD)
        page.fill("#again", PASSWORD)
        page.fill("#code", pyotp.TOTP(secret).now())
        page.click("main button")
        page.wait_for_selector("ul.codes")
        codes = shown_codes(page.content())
        page.click("main a.main")
        page.wait_for_url(f"{shown.url}/console")
        seen.assert_quiet()
        return Officer(name, secret, codes, page.context.storage_state())
