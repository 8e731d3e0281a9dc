"""How many requests with a body are under way at once: for each identity, and for all who are nobody yet.

A body under way holds a connection, up to a few mebibytes, and for a shard a file. Who sends nothing more still
holds them until its time is up (arrival.py), so they are counted once a name is known, before the first byte of the
body is read. Counts live in memory: what was under way ends with the process.
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


class Arrivals:
    """Thread-safe. at_once: bodies of one identity."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, identity: str) -> Iterator[None]:
        """While a request of this identity is under way; "" for strangers. Raises TooManyRequests."""
        most = self._at_once if identity else STRANGERS_AT_ONCE
        with self._lock:
            if self._under_way[identity] >= most:
                raise TooManyRequests(
                    f"at most {most} requests with a body at once from {identity or 'all who are not known yet'}",
                    "one more",
                    f"wait until one of them is done, or {RETRY_SECONDS} s, then send it again",
                    retry_after=RETRY_SECONDS,
                )
            self._under_way[identity] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[identity] -= 1
                if not self._under_way[identity]:
                    del self._under_way[identity]
