"""News within this process: who waits on a topic wakes as soon as a transaction that touched it is committed.

Rules:
1. A waiter takes the topic's ticket, then reads the database, then waits: nothing that happens in between is lost.
2. `publish` may be called from any thread.
3. When the service stops, everyone who waits is woken, and `stopping` says that there is no use in waiting again.
What another process commits is not heard here: whoever waits reads again every RECHECK_SECONDS, or less often where
many wait, for all together read at most RECHECKS_A_SECOND times a second.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

RECHECK_SECONDS = 1.0
RECHECKS_A_SECOND = 50


class Notifier:
    def __init__(self) -> None:
        self.stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tickets: dict[str, int] = defaultdict(int)
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self.waiting = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where waiters live; before this, publishing only counts."""
        self._loop = loop

    def publish(self, topic: str) -> None:
        self._tickets[topic] += 1
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake, topic)

    def ticket(self, topic: str) -> int:
        return self._tickets.get(topic, 0)

    async def wait(self, topic: str, ticket: int, timeout: float) -> None:
        """Return when the topic was published since `ticket` was taken, or after `timeout` seconds."""
        if self.ticket(topic) != ticket or timeout <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(topic, set())
        waiters.add(future)
        self.waiting += 1
        try:
            # Published between the check above and here: the wake call is still queued and finds the future.
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return
        finally:
            waiters.discard(future)
            self.waiting -= 1
            if not waiters:
                self._waiters.pop(topic, None)

    def stop(self) -> None:
        """Called in the loop."""
        self.stopping = True
        for topic in list(self._waiters):
            self._wake(topic)

    def _wake(self, topic: str) -> None:
        for future in self._waiters.get(topic, ()):
            if not future.done():
                future.set_result(None)
