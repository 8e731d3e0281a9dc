"""Signing in with a real browser: by password and authenticator, and through a provider on another site.

Pictures of each page, in both languages, are kept in out/screens/.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest
from fastapi import FastAPI

from aggregator.app import create_app
from aggregator.settings import Oidc, Settings
from aggregator.storage import accounts
from aggregator.storage.links import create_account_link
from privacy.clock import SystemClock
from privacy.randomness import SystemRandom
from tests import oidc
from tests.aggregator.console.browser import PASSWORD, shown_codes, shown_secret
from tests.browser import Browsing, browsing, serving
from tests.consortium import TestConsortium

LANGUAGES = ("en", "ko")


@dataclass
class Served:
    app: FastAPI
    url: str

    def account(self, name: str, **identity: str) -> str:
        """The address by which it is taken into use; for one of the provider, of no use."""
        service = self.app.state.service
        with service.database.write() as session:
            account = accounts.create(session, name, "officer", "consortium", service.clock.now(), **identity)
            if identity:
                return ""
            token = create_account_link(session, account, service.now() + 600.0, service.source)
        return f"{self.url}/console/sign-in?link={token}"


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """The service at localhost, its provider at 127.0.0.1: to a browser these are two sites."""
    folder = oidc.installed(request.config.cache.mkdir("oidc-provider"))
    port = oidc.free_port()
    url = f"http://localhost:{port}"
    with oidc.provider(folder, f"{url}/console/oidc/return", by_userinfo=False) as issuer:
        TestConsortium().server_folder(tmp_path / "server")
        provider = Oidc.model_validate(
            {"issuer": issuer, "client_id": oidc.CLIENT_ID, "client_secret": oidc.CLIENT_SECRET, "name": "Aster"}
        )
        settings = Settings(folder=tmp_path / "server", sum_workers=1, public_url=url, oidc=provider)
        with ThreadPoolExecutor(1) as pool:
            app = create_app(settings, SystemClock(), SystemRandom(), pool)
            with serving(app, port):
                yield Served(app, url)


def shoot(seen: Browsing, name: str) -> None:
    """The page as it stands, light and dark."""
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        seen.shoot(f"{name}-{scheme}")


@pytest.mark.full
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_account_from_its_link_to_signing_out(served: Served, language: str) -> None:
    link = served.account("kim")
    with browsing(locale="ko-KR" if language == "ko" else "en-GB", viewport={"width": 1280, "height": 900}) as seen:
        page = seen.page
        page.goto(link)
        shoot(seen, f"link-{language}")
        page.click("main button")
        secret = shown_secret(page.content())
        shoot(seen, f"set-up-{language}")
        page.fill("#password", PASSWORD)
        page.fill("#again", PASSWORD + "x")
        page.fill("#code", pyotp.TOTP(secret).now())
        page.click("main button")
        assert page.get_attribute("#again", "aria-invalid") == "true"
        shoot(seen, f"set-up-fault-{language}")
        page.fill("#password", PASSWORD)
        page.fill("#again", PASSWORD)
        page.fill("#code", pyotp.TOTP(secret).now())
        page.click("main button")
        codes = shown_codes(page.content())
        shoot(seen, f"recovery-codes-{language}")
        page.click("main a.main")
        assert page.url == f"{served.url}/console"
        page.click("a.who")
        shoot(seen, f"account-{language}")
        page.fill("#factor-current", PASSWORD)
        page.fill("#factor-code", codes[0])
        page.click("section[aria-labelledby=change-factor] button")
        shoot(seen, f"authenticator-{language}")
        page.click("header form button")
        shoot(seen, f"signed-out-{language}")
        # By keyboard alone: the skip link comes first, then the bar, then the form in its order.
        page.goto(f"{served.url}/console/sign-in")
        assert page.evaluate("document.activeElement.tagName") == "BODY"
        page.focus("#name")
        page.keyboard.type("kim")
        page.keyboard.press("Tab")
        page.keyboard.type("not the password")
        page.keyboard.press("Tab")
        page.keyboard.type(codes[1])
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        shoot(seen, f"sign-in-refused-{language}")
        page.fill("#name", "kim")
        page.fill("#password", PASSWORD)
        page.fill("#code", codes[1])
        page.click("main button")
        assert page.url == f"{served.url}/console"
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{served.url}/console/account")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        shoot(seen, f"account-narrow-{language}")
        seen.assert_quiet()


@pytest.mark.full
def test_through_a_provider_on_another_site(served: Served) -> None:
    served.account("lee", subject="lee")
    with browsing(locale="en-GB") as seen:
        page = seen.page
        page.goto(f"{served.url}/console/sign-in")
        page.click("a[href='/console/oidc']")
        page.fill("[name=login]", "lee")
        page.fill("[name=password]", "any")
        page.click("button[type=submit]")
        page.click("button[type=submit]")
        page.wait_for_url(f"{served.url}/console")
        assert "lee" in page.inner_text("header")
        # A strict cookie: a form of another site comes without a session, and without its token.
        attack = f"<form method=post action='{served.url}/console/sign-out'><button>x</button></form>"
        page.goto("about:blank")
        page.set_content(attack)
        with page.expect_response(f"{served.url}/console/sign-out") as refused:
            page.click("button")
        assert refused.value.status == 403
        page.goto(f"{served.url}/console")
        assert "lee" in page.inner_text("header")
