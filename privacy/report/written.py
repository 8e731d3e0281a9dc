"""Sentences that the service itself writes into closes and ledger entries, said in an officer's language.

Rules:
1. What is signed or on the ledger is in English and stays so: a page translates it as it shows it.
2. Only sentences known here are translated; people's own reasons are shown as they wrote them.
"""

from __future__ import annotations

import re
from typing import Final

from privacy.report.catalogue import Catalogue

_NAME = r"[^\s,:]+"
_KNOWN: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (message, re.compile(pattern))
    for message, pattern in (
        ("written.too_few_joined", r"(?P<came>\d+) joined, of the (?P<needed>\d+) that the charter asks for"),
        (
            "written.too_few_uploads",
            r"(?P<came>\d+) uploads complete, of the (?P<needed>\d+) that the charter asks for",
        ),
        (
            "written.not_opened",
            r"(?P<came>\d+) of the (?P<needed>\d+) openings that the sum needs came by the deadline",
        ),
        ("written.in_force", r"charter of epoch (?P<epoch>\d+) in force"),
        (
            "written.account_made",
            rf"account (?P<name>{_NAME}): (?P<role>officer|operator|auditor), scope (?P<scope>{_NAME})",
        ),
        ("written.account_reset", rf"account (?P<name>{_NAME}) reset"),
        ("written.account_disabled", rf"account (?P<name>{_NAME}) disabled"),
        ("written.link_made", r"sign-in link for (?P<name>.+), scope (?P<scope>[^\s,]+)"),
        (
            "written.enrolled_anew",
            r"enrolled anew, with other keys: those of the charter in force sign no request any more",
        ),
        (
            "written.recovered",
            r"recovered after (?P<count>\d+) entries: (?P<handed>\d+) handed back, (?P<charges>\d+) charges proved,"
            r" by (?P<names>.+)",
        ),
        ("written.restored", r"restored from a backup of (?P<count>\d+) entries; nothing was lost"),
    )
)


def said(text: str, t: Catalogue) -> str:
    """In the catalogue's language if it is a sentence of the service's own, else as it stands."""
    for message, pattern in _KNOWN:
        found = pattern.fullmatch(text)
        if found is not None:
            return t(message, **found.groupdict())
    return text
