"""Every page of the console as it looks: both languages, light and dark, narrow, on paper, and to a screen reader.

Pictures are kept in out/screens/; those whose name ends in `-top` are of one window, as the documents show them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import npm
from tests.browser import browsing
from tests.browser.conftest import Officer
from tests.browser.consortium_on_show import OnShow

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.full

LANGUAGES = ("en", "ko")
NARROW = 390
WIDE: dict[str, Any] = {"width": 1280, "height": 900}
# A4 less the margins that browsers leave, at 96 dots to the inch.
PAPER: dict[str, Any] = {"width": 718, "height": 1000}


def _pages(shown: OnShow) -> dict[str, str]:
    return {
        "overview": "",
        "participant": "/participants/cedar",
        "round": f"/rounds/{shown.confirmed}",
        "round-void": f"/rounds/{shown.void}",
        "round-joining": f"/rounds/{shown.driver.plan.digest}",
        "charter": "/charter",
        "ledger": "/ledger",
        "alarms": "/alarms",
        "plan": "/plan",
        "reports": "/reports",
        "account": "/account",
        "sign-in-form": "/sign-in",
        "absent": "/nowhere",
    }


def _open(page: Page, shown: OnShow, name: str, language: str) -> None:
    """The page itself, and not the sign-in page in its place."""
    answer = page.goto(f"{shown.url}/console{_pages(shown)[name]}?language={language}")
    assert answer is not None
    assert answer.status == (404 if name == "absent" else 200), name
    assert page.get_attribute("html", "lang") == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_in_light_dark_and_narrow(shown: OnShow, kim: Officer, language: str) -> None:
    with kim.browser(viewport=WIDE) as seen:
        page = seen.page
        for name in _pages(shown):
            page.set_viewport_size(WIDE)
            page.emulate_media(color_scheme="light")
            _open(page, shown, name, language)
            seen.shoot(f"{name}-{language}")
            seen.shoot(f"{name}-{language}-top", whole=False)
            light = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.emulate_media(color_scheme="dark")
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
            if language == "en":
                seen.shoot(f"{name}-{language}-dark")
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": NARROW, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, name
            seen.shoot(f"{name}-{language}-narrow")
        page.set_viewport_size(WIDE)
        page.goto(f"{shown.url}/console/reports")
        page.click("main form button")
        seen.shoot(f"report-made-{language}")
        seen.assert_quiet()


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_that_one_hands_on_print(shown: OnShow, kim: Officer, language: str, tmp_path: Path) -> None:
    with kim.browser() as seen:
        page = seen.page
        for name in ("overview", "participant", "round", "charter", "ledger"):
            _open(page, shown, name, language)
            raw = page.pdf(format="A4", path=Path(tmp_path) / f"{name}.pdf")
            assert 1 <= len(re.findall(rb"/Type\s*/Page\b", raw)) <= 6, name
            page.emulate_media(media="print")
            page.set_viewport_size(PAPER)
            assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"], name
            assert page.locator("form:visible, nav:visible, .acting:visible, .skip:visible").count() == 0
            seen.shoot(f"{name}-{language}-print")
            page.emulate_media(media="screen")
        seen.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_sweep_for_what_shuts_people_out(
    shown: OnShow, kim: Officer, request: pytest.FixtureRequest, scheme: str
) -> None:
    """axe-core on every page. The policy is set aside for this sweep alone, since it lets no script in."""
    folder = npm.installed(request.config.cache.mkdir("axe-core"), Path(__file__).parent, "axe-core")
    axe = folder / "node_modules" / "axe-core" / "axe.min.js"
    found = []
    with kim.browser(bypass_csp=True, color_scheme=scheme, viewport=WIDE) as seen:
        for name in _pages(shown):
            for language in LANGUAGES:
                _open(seen.page, shown, name, language)
                seen.page.add_script_tag(path=axe)
                told = seen.page.evaluate("axe.run()")
                assert told["passes"], name
                found += [
                    (name, language, fault["id"], node["html"][:160])
                    for fault in told["violations"]
                    for node in fault["nodes"]
                ]
    assert found == []


def test_a_visitor_sees_how_to_sign_in(shown: OnShow) -> None:
    for language in LANGUAGES:
        with browsing(locale=language, viewport=WIDE) as seen:
            seen.page.goto(f"{shown.url}/console/participants/birch")
            assert seen.page.is_visible("#password")
            seen.shoot(f"sign-in-{language}")
            seen.assert_quiet()
