"""Who gets into a finished demo's console: visitors by a link that reads, and two officers whose accounts act.

Two, for resuming a participant takes a second person. An account that was not taken into use gets a new link each
time, as the old one may have expired; one that is in use keeps its password.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

OFFICERS = ("first-officer", "second-officer")

Command = Callable[..., str]
"""`chorale-server` with these arguments: what it printed."""


def ways_in(server: Command, url: str, lead: str) -> Iterator[tuple[str, str]]:
    """(who, how) for each, in the order in which they are shown. url: the service's; lead: a partner's id."""
    for who, scope in (("to look at the whole consortium", "consortium"), (f"to look as {lead} does", lead)):
        link = json.loads(server("officer-link", f"visitor-{scope}", "--scope", scope, "--json"))
        yield who, f"once: {link['url']}"
    known = {one["name"]: one["state"] for one in json.loads(server("account", "list", "--json"))["accounts"]}
    for name in OFFICERS:
        who = f"to act as {name}"
        if known.get(name) in ("active", "disabled"):
            yield who, f"sign in at {url}/console with the password and authenticator that were set up"
        else:
            yield who, f"set up password and authenticator, once: {_invited(server, name, known)['url']}"


def _invited(server: Command, name: str, known: dict[str, str]) -> dict[str, Any]:
    if name in known:
        told = server("account", "reset", name, "--yes", "--json")
    else:
        told = server("account", "create", name, "--role", "officer", "--scope", "consortium", "--json")
    opened: dict[str, Any] = json.loads(told)
    return opened
