"""What a security officer does at the console, in a real browser against a real service."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import pyotp
import pytest

from aggregator.console.cookies import SESSION_COOKIE
from privacy.dp.events import Guarantee
from privacy.report import figures
from tests.aggregator.console.browser import PASSWORD
from tests.browser import browsing
from tests.browser.conftest import Officer
from tests.browser.consortium_on_show import CONFIRMED, EVENT, OnShow
from tests.consortium import done, refused

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.full


def _act(page: Page, form: str, reason: str, **fields: str) -> None:
    """Fill in a form of the page, and send it."""
    for name, value in {**fields, "reason": reason}.items():
        page.fill(f"form[action$='{form}'] [name={name}]", value)
    page.click(f"form[action$='{form}'] button")


def test_signing_in_with_password_and_authenticator(shown: OnShow, kim: Officer) -> None:
    with browsing(locale="en-GB") as seen:
        page = seen.page
        page.goto(f"{shown.url}/console")
        for password, lands in (("not the password", "sign-in"), (PASSWORD, "console")):
            page.goto(f"{shown.url}/console/sign-in")
            page.fill("#name", kim.name)
            page.fill("#password", password)
            # The step after this one: a code works once, and setting up has used the present one.
            page.fill("#code", pyotp.TOTP(kim.secret).at(int(time.time()) + 30))
            page.click("main button")
            assert page.url.endswith(lands)
        assert kim.name in page.inner_text("header")
        page.click("header form button")
        page.goto(f"{shown.url}/console")
        assert page.is_visible("#password")
        seen.assert_quiet()


def test_reading_a_gauge(shown: OnShow, kim: Officer) -> None:
    charter = shown.driver.charter
    spent = figures.counts(Counter({EVENT: CONFIRMED + 1}))
    with kim.browser() as seen:
        seen.page.goto(f"{shown.url}/console")
        birch = seen.page.locator("article[aria-labelledby=name-birch]")
        for place, guarantee in enumerate((Guarantee.IN_SUM, Guarantee.ALONE)):
            epsilon = figures.epsilon(spent, 1e-5, guarantee, charter.honest)
            part = birch.locator(".guarantee").nth(place)
            assert f"ε {epsilon:.2f}" in part.inner_text()
            cap = part.locator("line.cap").bounding_box()
            solid, hatched = (part.locator(f".{name}").bounding_box() for name in ("spent", "fruitless"))
            assert None not in (cap, solid, hatched)
            read = (hatched["x"] + hatched["width"] - solid["x"]) / (cap["x"] + cap["width"] / 2 - solid["x"])
            limit = charter.roster[1].caps
            wanted = epsilon / (limit.epsilon_in_sum if place == 0 else limit.epsilon_alone)
            assert read == pytest.approx(wanted, abs=0.02)
            assert f"{epsilon:.2f}" in (part.locator("svg.gauge").get_attribute("aria-label") or "")
        seen.assert_quiet()


def test_the_language_is_switched_and_remembered(shown: OnShow, kim: Officer) -> None:
    with kim.browser() as seen:
        page = seen.page
        page.goto(f"{shown.url}/console")
        assert page.get_attribute("html", "lang") == "en"
        page.click("a[hreflang=ko]")
        assert page.get_attribute("html", "lang") == "ko"
        page.click("#name-cedar a")
        assert page.get_attribute("html", "lang") == "ko"
        page.context.clear_cookies(name=SESSION_COOKIE)
        page.goto(f"{shown.url}/console")
        assert page.is_visible("#password")
        assert page.get_attribute("html", "lang") == "ko"
        seen.assert_quiet()


def test_a_suspended_partner_is_refused_until_two_persons_resume_it(
    shown: OnShow, kim: Officer, lee: Officer
) -> None:
    place = f"{shown.url}/console/participants/fir"
    with kim.browser() as seen:
        page = seen.page
        page.goto(place)
        _act(page, "/suspend", "its machine was stolen")
        assert page.url == place
        assert "its machine was stolen" in page.inner_text("[role=status]")
        refused(shown.driver.join("fir"), 403, "participant-suspended")
        _act(page, "/resume", "found again")
        refused(shown.driver.join("fir"), 403, "participant-suspended")
        seen.assert_quiet()
    with lee.browser() as seen:
        page = seen.page
        page.goto(place)
        assert "found again" in page.inner_text("section[aria-labelledby=actions]")
        _act(page, "/resume", "I saw it, too")
        assert page.locator("[role=status]").count() == 0
        done(shown.driver.join("fir"), 201)
        history = page.inner_text("section[aria-labelledby=history]")
        for said in ("its machine was stolen", "found again", "I saw it, too"):
            assert said in history
        seen.assert_quiet()


def test_a_cap_is_tightened_and_not_loosened(shown: OnShow, kim: Officer) -> None:
    with kim.browser() as seen:
        page = seen.page
        page.goto(f"{shown.url}/console/participants/elm")
        _act(page, "/tighten", "less for us", epsilon_in_sum="2.5", epsilon_alone="18")
        assert "of 2.5" in page.inner_text("main")
        _act(page, "/tighten", "more again", epsilon_in_sum="2.75", epsilon_alone="18")
        assert "a cap can only become tighter" in page.inner_text("main [role=alert]")
        assert page.input_value("#in-sum") == "2.75"
        assert page.input_value("#tighten-reason") == "more again"
        page.goto(f"{shown.url}/console")
        assert "of 2.5" in page.inner_text("article[aria-labelledby=name-elm]")
        seen.assert_quiet()


def test_an_alarm_is_acknowledged(shown: OnShow, kim: Officer) -> None:
    with kim.browser() as seen:
        page = seen.page
        page.goto(f"{shown.url}/console/alarms")
        waiting = page.locator(".alarm.waiting").count()
        assert waiting >= 2
        page.fill(".alarm.waiting >> nth=-1 >> [name=reason]", "talked to them")
        page.click(".alarm.waiting >> nth=-1 >> button")
        assert page.locator(".alarm.waiting").count() == waiting - 1
        assert "talked to them" in page.inner_text("main")
        seen.assert_quiet()


@pytest.mark.parametrize("form", ["pdf", "csv", "json"])
def test_a_report_is_downloaded_and_verified(shown: OnShow, kim: Officer, tmp_path: Path, form: str) -> None:
    with kim.browser(accept_downloads=True) as seen:
        page = seen.page
        page.goto(f"{shown.url}/console/reports")
        page.select_option("#format", form)
        page.click("main form button")
        for link in page.locator("section[aria-labelledby=files] a").all():
            with page.expect_download() as coming:
                link.click()
            coming.value.save_as(tmp_path / coming.value.suggested_filename)
        seen.assert_quiet()
    (signature,) = tmp_path.glob("*.sig.json")
    report = tmp_path / signature.name.removesuffix(".sig.json")
    assert report.suffix == f".{form}"
    told = shown.command("report", "verify", str(report), "--charter", shown.driver.charter.digest)
    assert (told["signed by"], told["charter known"]) == ("the service", "yes, from the hash that was given")
    raw = report.read_bytes()
    report.write_bytes(raw[:100] + bytes([raw[100] ^ 1]) + raw[101:])
    with pytest.raises(CalledProcessError):
        shown.command("report", "verify", str(report))


def test_by_keyboard_alone(shown: OnShow, kim: Officer) -> None:
    """Tab reaches everything once, in the order in which it is read, and one sees where one is."""
    for path in ("", "/participants/birch", "/alarms", "/reports"):
        with kim.browser() as seen:
            page = seen.page
            page.goto(f"{shown.url}/console{path}")
            wanted = page.eval_on_selector_all(
                "a[href], button, input:not([type=hidden]), select",
                "all => all.map((one, at) => one.dataset.at = at)",
            )
            walked = []
            while True:
                page.keyboard.press("Tab")
                at = page.evaluate("document.activeElement.dataset.at")
                if at is None or (walked and at == walked[0]) or len(walked) > 200:
                    break
                # A field for a date has three parts, each a stop.
                if not walked or walked[-1] != at:
                    walked.append(at)
                    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            assert walked == [str(at) for at in range(len(wanted))]
            seen.assert_quiet()


def test_the_skip_link_leads_past_the_bar(shown: OnShow, kim: Officer) -> None:
    with kim.browser() as seen:
        page = seen.page
        page.goto(f"{shown.url}/console")
        page.keyboard.press("Tab")
        box = page.locator(".skip").bounding_box()
        assert box
        assert box["x"] >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        assert re.search("#content$", page.url)
        seen.assert_quiet()
