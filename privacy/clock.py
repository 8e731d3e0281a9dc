"""Time, passed in: the one door to the machine's clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    def now(self) -> float:
        return time.time()  # noqa: TID251 - this is the door
