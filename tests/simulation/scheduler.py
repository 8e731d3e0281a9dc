"""One thing at a time: actors on a virtual clock, in an order that the seed alone decides.

Rules:
1. An actor is a greenlet with a name. It runs until it waits (for the network, or for time), then the next event
   runs. Nothing is ever preempted, and nothing waits for the real clock.
2. Events of one instant run in the order in which they were announced.
3. An actor that dies is unwound by `Killed`, which no program catches; what it waited for never reaches it.
It knows no network, no disk and no protocol.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet


class Killed(BaseException):
    """Not an Exception: nothing in a program may catch its own end."""


class Waiting:
    """An actor that waits for one event; it is woken once, or never."""

    def __init__(self, actor: greenlet) -> None:
        self.actor = actor
        self.over = False


class Scheduler:
    """`now`: virtual seconds since 1970. `settle`: called after each event until it has nothing left to do."""

    def __init__(self, start: float) -> None:
        self.now = start
        self.steps = 0
        self.settle: Callable[[], None] = lambda: None
        self.next_timer: Callable[[], float | None] = lambda: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._hub = getcurrent()
        self._waiting: dict[greenlet, Waiting] = {}

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when, self.now), next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    # --- actors ---------------------------------------------------------------------------------------

    def spawn(self, act: Callable[[], None]) -> greenlet:
        actor = greenlet(act, parent=self._hub)
        self.after(0, lambda: self._enter(actor, None))
        return actor

    def wait(self, announce: Callable[[Waiting], None]) -> Any:
        """Called in an actor: hands over until `wake`; gives what it was woken with, or raises it."""
        waiting = Waiting(getcurrent())
        self._waiting[waiting.actor] = waiting
        announce(waiting)
        came = self._hub.switch()
        if isinstance(came, BaseException):
            raise came
        return came

    def wake(self, waiting: Waiting, value: Any = None) -> None:
        """An event's part: an actor goes on, with a value or an exception."""
        if not waiting.over:
            self._enter(waiting.actor, value)

    def sleep(self, seconds: float) -> None:
        """Called in an actor."""
        self.wait(lambda waiting: self.after(seconds, lambda: self.wake(waiting)))

    def kill(self, actor: greenlet) -> None:
        """An event's part: the actor is unwound where it waits."""
        if actor:
            self._enter(actor, Killed())

    def _enter(self, actor: greenlet, value: Any) -> None:
        waiting = self._waiting.pop(actor, None)
        if waiting is not None:
            waiting.over = True
        if not actor.dead:
            actor.switch(*([] if waiting is None else [value]))

    # --- time -----------------------------------------------------------------------------------------

    def run(self, until: float, finished: Callable[[], bool]) -> None:
        """Events in order of time, until all is finished or `until` has come."""
        while not finished():
            due = self._events[0][0] if self._events else None
            timer = self.next_timer()
            when = min(moment for moment in (due, timer, until) if moment is not None)
            self.now = max(self.now, when)
            if self.now >= until:
                return
            if due is not None and due <= self.now:
                heapq.heappop(self._events)[2]()
            self.steps += 1
            self.settle()
