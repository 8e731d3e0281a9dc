"""The real service in this process: its own application on an event loop whose clock is the scheduler's.

Rules:
1. What the service does in worker threads it does here at once, after a turn or two of the loop: requests under way
   interleave at every `await`, by the seed.
2. When its process ends, whoever waits for an answer gets none, and nothing that the old loop still does counts.
3. It starts from its folder as a real one would: same settings, same key, same database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aggregator.app import create_app
from aggregator.settings import Settings
from aggregator.storage.tables import AttemptRow, StageRow
from privacy.clock import Clock
from tests.consortium import SeededSource
from tests.simulation.faults import Faults
from tests.simulation.machines import Machine
from tests.simulation.scheduler import Killed, Scheduler

SHARD_BYTES = 32768
TURN_SECONDS = 1e-6
"""What a turn of the loop takes: a timer that is set for no time at all must still come later."""


@dataclass
class Exchange:
    """One request on its way through the service. `pieces`: its body; `cut`: its end never comes."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    cut: bool
    answered: Callable[[int, list[tuple[bytes, bytes]], bytes], None]
    gone: Callable[[], None]
    status: int = 0
    answer_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: it is pumped, and its clock is the scheduler's."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._clock_resolution = TURN_SECONDS
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._scheduler.now

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        made: asyncio.Future[Any] = self.create_future()
        try:
            made.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as a thread hands its error over
            made.set_exception(error)
        return made

    @contextmanager
    def entered(self) -> Iterator[None]:
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def next_timer(self) -> float | None:
        return self._scheduled[0]._when if self._scheduled else None  # type: ignore[attr-defined]

    def pump(self, alive: Callable[[], bool]) -> None:
        with self.entered():
            while alive() and (self._ready or self._due()):  # type: ignore[attr-defined]
                self._scheduler.now += TURN_SECONDS
                self._run_once()  # type: ignore[attr-defined]

    def _due(self) -> bool:
        timer = self.next_timer()
        return timer is not None and timer <= self.time()


class AtOnce(Executor):
    """The pool of sum processes: adds where it is asked to."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        made: Future[Any] = Future()
        made.set_result(fn(*args, **kwargs))
        return made


class SimulatedService(Machine):
    """Up or down. `started`: called with each start."""

    def __init__(self, folder: Path, memory: Path, faults: Faults, scheduler: Scheduler, clock: Clock) -> None:
        super().__init__("service", folder, memory, faults)
        self._scheduler = scheduler
        self._clock = clock
        self._loop: VirtualLoop | None = None
        self._under_way: list[Exchange] = []
        self.app: Any = None
        self._lifespan: Any = None
        self.starts = 0

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def up(self) -> bool:
        return self._loop is not None and not self.dead

    @property
    def ended(self) -> bool:
        """It died, and is not unwound yet."""
        return self._loop is not None and self.dead

    @property
    def database(self) -> Any:
        return self.app.state.service.database

    def attempts(self, since: float) -> list[tuple[str, int, str, str]]:
        """(R, round, state, cause of the close) of each whose plan came since."""
        if not self.up:
            return []
        with self.database.read() as session:
            began = {row.round: row.entered for row in session.query(StageRow) if row.state == "joining"}
            rows = session.query(AttemptRow).order_by(AttemptRow.sequence).all()
        return [
            (row.round, row.number, row.state, "" if row.close is None else json.loads(row.close)["body"]["cause"])
            for row in rows
            if began[row.round] >= since
        ]

    def start(self) -> None:
        self.starts += 1
        loop = self._loop = VirtualLoop(self._scheduler)
        self.app = self._lifespan = None
        try:
            settings = Settings(folder=self.folder, shard_bytes=SHARD_BYTES, sum_workers=1)
            source = SeededSource(f"service {self.faults.seed} {self.starts}")
            with loop.entered():
                self.app = create_app(settings, self._clock, source, AtOnce())
                self._lifespan = self.app.router.lifespan_context(self.app)
                loop.create_task(self._lifespan.__aenter__())
        except Killed:
            return
        self.pump()

    def stop(self) -> None:
        """The process is gone: unwind what it did, without effect, and tell whoever waits for it."""
        loop, self._loop = self._loop, None
        if loop is not None:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.pump(lambda: True)
            if self._lifespan is not None:
                with loop.entered():
                    loop.create_task(self._lifespan.__aexit__(None, None, None))
                loop.pump(lambda: True)
            loop.close()
        for exchange in self._under_way:
            exchange.gone()
        self._under_way.clear()

    def next_timer(self) -> float | None:
        return self._loop.next_timer() if self._loop is not None and not self.dead else None

    def pump(self) -> None:
        """Let the loop do what is due; it may end the process."""
        if self._loop is not None:
            self._loop.pump(lambda: not self.dead)

    def take(self, exchange: Exchange) -> None:
        """A request arrives."""
        if self._loop is None or self.dead:
            exchange.gone()
            return
        self._under_way.append(exchange)
        with self._loop.entered():
            self._loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        path, _, query = exchange.target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": exchange.method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": exchange.headers,
            "client": ("10.0.0.1", 1),
            "server": ("service", 80),
            "state": {},
        }
        pieces = list(exchange.pieces)

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces) or exchange.cut}
            if not exchange.cut:
                await asyncio.get_running_loop().create_future()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.answer_headers = list(message.get("headers", []))
            else:
                exchange.body += bytes(message.get("body", b""))

        try:
            await self.app(scope, receive, send)
        finally:
            if not self.dead and exchange in self._under_way:
                self._under_way.remove(exchange)
                if exchange.status:
                    exchange.answered(exchange.status, exchange.answer_headers, exchange.body)
                else:
                    exchange.gone()


def problem_title(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return repr(body[:200])
    return json.dumps({key: found.get(key) for key in ("type", "expected", "came")})
