"""What each attempt costs this partner: seconds by phase and bytes both ways, for the round's report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from client_sdk.progress import Progress
from client_sdk.transport import Traffic
from privacy.clock import Clock


class Meter:
    """Counts from its making on; `traffic` is the transport's running count."""

    def __init__(self, clock: Clock, progress: Progress, traffic: Traffic) -> None:
        self._clock = clock
        self._progress = progress
        self._traffic = traffic
        self._before = traffic.copy()
        self.seconds: dict[str, float] = {}
        self.alarms: list[str] = []

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        self._progress.phase(name, detail)
        start = self._clock.now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock.now() - start

    def alarm(self, text: str) -> None:
        """Something that a person should look into; it stands in the round's report."""
        self.alarms.append(text)
        self._progress.notice(text)

    def spent(self) -> Traffic:
        now, before = self._traffic, self._before
        return Traffic(
            up=now.up - before.up,
            down=now.down - before.down,
            bulk_up=now.bulk_up - before.bulk_up,
            bulk_down=now.bulk_down - before.bulk_down,
        )


class Meters:
    """One meter for each attempt under way, by R."""

    def __init__(self, clock: Clock, progress: Progress, traffic: Traffic) -> None:
        self._clock = clock
        self._progress = progress
        self._traffic = traffic
        self._running: dict[str, Meter] = {}

    def of(self, round_digest: str) -> Meter:
        if round_digest not in self._running:
            self._running[round_digest] = Meter(self._clock, self._progress, self._traffic)
        return self._running[round_digest]

    def end(self, round_digest: str) -> None:
        del self._running[round_digest]
