"""A report's period: from a day to a day in UTC, and the chain cut at both.

Rules:
1. A period is [start, end) in seconds since 1970 UTC; without a start it begins with the ledger.
2. A chain is cut at places, not picked from by time, so each cut has one head. Where a clock stepped back, the cut
   at the end comes after the *last* entry before `end`, and the cut at the start before the *first* one from
   `start` on: what was spent by the end, and in the period, is never stated too small.
3. A period that ends when the report is made holds the chain to its last entry, also where that one's clock was
   ahead of the present one.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Sequence
from typing import Self

from pydantic import model_validator

from privacy.errors import ConfigurationError
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.identifiers import Model
from privacy.protocol.messages import UnixSeconds

DAY_SECONDS = 86400
_FORM = "%Y-%m-%d"


class Period(Model):
    """Rule 1."""

    start: UnixSeconds | None
    end: UnixSeconds

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.start is not None and self.start >= self.end:
            raise ValueError("a period ends after it starts")
        return self


def period_of(first_day: str | None, last_day: str | None, now: int) -> Period:
    """The period of these days, as YYYY-MM-DD in UTC, both included; it ends `now` at the latest.

    Raises ConfigurationError.
    """
    start = None if not first_day else _midnight(first_day)
    end = now + 1 if not last_day else min(now + 1, _midnight(last_day) + DAY_SECONDS)
    if start is not None and start >= end:
        raise ConfigurationError(
            "a first day that is past, and not after the last",
            f"{first_day} to {last_day or 'now'}",
            "choose other days",
        )
    return Period(start=start, end=end)


def reaches(period: Period, as_of: int) -> bool:
    """Rule 3: whether it ends when the report is made."""
    return period.end > as_of


def cut(entries: Sequence[LedgerEntry], period: Period, as_of: int) -> tuple[int, int]:
    """(entries before the period, entries up to its end): rules 2 and 3."""
    until = (
        len(entries)
        if reaches(period, as_of)
        else max((place for place, entry in enumerate(entries, start=1) if entry.at < period.end), default=0)
    )
    start = period.start
    if start is None:
        return 0, until
    before = next((place for place, entry in enumerate(entries) if entry.at >= start), len(entries))
    return min(before, until), until


def _midnight(day: str) -> int:
    try:
        parsed = time.strptime(day, _FORM)
    except ValueError:
        raise ConfigurationError("a day as YYYY-MM-DD", day[:40], "write it like 2026-07-01") from None
    seconds = calendar.timegm(parsed)
    if seconds < 0:
        raise ConfigurationError("a day from 1970-01-01 on", day[:40], "choose another day")
    return seconds
