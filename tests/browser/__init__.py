"""The system's Chromium, driven by playwright, and a service on loopback for it to look at.

Rules:
1. Where playwright or Chromium is absent, the tests that need them skip and say so.
2. A browser remembers what its pages said on the console, and every request that left for another host.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCREENS = Path(__file__).parents[2] / "out" / "screens"
LOOPBACK = ("127.0.0.1", "localhost")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# The system's own fonts, and after them the report's: many a machine has none for Korean.
_FONTS = f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{Path(__file__).parents[2] / "privacy" / "report" / "fonts"}</dir>
</fontconfig>
"""


@dataclass
class Browsing:
    """A page, and what it should not have done."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    abroad: list[str] = field(default_factory=list)

    def shoot(self, name: str, *, whole: bool = True) -> None:
        """Keep a picture of the page as it stands, or of what fits the window."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENS / f"{name}.png", full_page=whole)

    def assert_quiet(self) -> None:
        """Nothing on the browser's console, where a blocked style or script would be, and nobody else was asked."""
        assert (self.complaints, self.abroad) == ([], [])


@contextmanager
def browsing(**context: Any) -> Iterator[Browsing]:
    """A browser that knows nothing; context: playwright's options for it (locale, viewport, color_scheme)."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is absent")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is absent")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        fonts = Path(folder) / "fonts.conf"
        fonts.write_text(_FONTS)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(FLAGS), env={**os.environ, "FONTCONFIG_FILE": str(fonts)}
        )
        try:
            browser_context = browser.new_context(**context)
            seen = Browsing(browser_context.new_page())
            # A refused form is answered 401 or 422, which Chromium reports like a broken link.
            seen.page.on("console", lambda said: _note(seen, said.type, said.text))
            seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
            browser_context.on("request", lambda request: _leave(seen, request.url))
            yield seen
        finally:
            browser.close()


@contextmanager
def serving(app: Any, port: int) -> Iterator[None]:
    """The application on loopback, in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        for _ in range(600):
            if server.started:
                break
            time.sleep(0.05)
        assert server.started
        yield
    finally:
        server.should_exit = True
        thread.join()


def _note(seen: Browsing, kind: str, text: str) -> None:
    if kind in ("error", "warning") and "the server responded with a status of 4" not in text:
        seen.complaints.append(text)


def _leave(seen: Browsing, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("data", "about", "blob") and parts.hostname not in LOOPBACK:
        seen.abroad.append(url)
