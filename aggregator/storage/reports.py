"""Reports that were made lately, so that a page can offer a file and the signature of these very bytes.

Rules:
1. At most MADE_AT_ONCE are made at a time; who waits longer than PATIENCE_SECONDS is told to come back.
2. At most KEPT are kept, the newest, for KEPT_SECONDS; by the SHA-256 of the file, in this process's memory alone.
Whether somebody may have one is the caller's question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from privacy.errors import NotFound, ServiceUnavailable

MADE_AT_ONCE: Final = 2
PATIENCE_SECONDS: Final = 10.0
KEPT: Final = 32
KEPT_SECONDS: Final = 1800.0


@dataclass(frozen=True)
class MadeReport:
    """participant: None for the consortium's. signature: the file beside it."""

    name: str
    media_type: str
    participant: str | None
    sha256: str
    raw: bytes
    signature: bytes


class ReportDesk:
    """One a service; safe to use from its threads."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MADE_AT_ONCE)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, MadeReport]] = OrderedDict()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Rule 1. Raises ServiceUnavailable."""
        if not self._places.acquire(timeout=PATIENCE_SECONDS):
            raise ServiceUnavailable(
                f"one of {MADE_AT_ONCE} reports at a time", "more", "ask again when the others are made"
            )
        try:
            yield
        finally:
            self._places.release()

    def keep(self, made: MadeReport, now: float) -> None:
        with self._lock:
            self._kept.pop(made.sha256, None)
            self._kept[made.sha256] = (now, made)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def find(self, sha256: str, now: float) -> MadeReport:
        """Raises NotFound."""
        with self._lock:
            at, made = self._kept.get(sha256, (0.0, None))
        if made is None or now - at > KEPT_SECONDS:
            raise NotFound("a report that was made lately", sha256[:64], "make it again")
        return made
