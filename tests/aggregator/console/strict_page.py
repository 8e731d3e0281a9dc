"""A reader of a page that the console's policy lets a browser show as it stands."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class StrictPage(HTMLParser):
    """What the policy would block, or leave unread."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "style" or name.startswith("on") or tag in ("style", "script"):
                self.faults.append(f"{tag} {name}")
            if name in ("href", "src", "action") and not re.match(r"^(/console|#|data:,$)", value or ""):
                self.faults.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(value or "")
        if tag == "svg" and not {"aria-label", "aria-hidden"} & {name for name, _ in attrs}:
            self.faults.append("an svg without a label")
