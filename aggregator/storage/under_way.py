"""How many requests of one kind are under way at once: of each identity, and of all who are nobody yet.

A body under way holds a connection, up to a few mebibytes, and for a shard a file; a long poll holds a connection,
and a share of the reads that all who wait have together. Who sends nothing more, or waits, still holds them until
its time is up, so they are counted once a name is known, before the first byte is read. Counts live in memory: what
was under way ends with the process.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from privacy.errors import TooManyRequests

STRANGERS_AT_ONCE = 256
"""Enrolments, of at most 64 KiB each."""
RETRY_SECONDS = 5


class UnderWay:
    """Thread-safe. what: the kind of requests, in the plural. at_once: those of one identity."""

    def __init__(self, what: str, at_once: int) -> None:
        self._what = what
        self._at_once = at_once
        self._counted: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, identity: str) -> Iterator[None]:
        """While a request of this identity is under way; "" for strangers. Raises TooManyRequests."""
        most = self._at_once if identity else STRANGERS_AT_ONCE
        with self._lock:
            if self._counted[identity] >= most:
                raise TooManyRequests(
                    f"at most {most} {self._what} at once from {identity or 'all who are not known yet'}",
                    "one more",
                    f"wait until one of them is done, or {RETRY_SECONDS} s, then send it again",
                    retry_after=RETRY_SECONDS,
                )
            self._counted[identity] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counted[identity] -= 1
                if not self._counted[identity]:
                    del self._counted[identity]
