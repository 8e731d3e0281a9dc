"""A consortium in one process: service, partners, operator, network, clock and faults, put together for one seed.

Rules:
1. A constituted consortium of each size is made once in a process, by the partners' and the operator's own commands
   over this network without faults; each seed starts from a copy.
2. Partners' clocks may be off, and run off; deadlines are the service's.
"""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from greenlet import getcurrent

from aggregator.backup.recovering import recover
from aggregator.operator.plan_record import posted_plans
from aggregator.settings import Settings
from aggregator.storage.folder import create_server_folder
from client_sdk.handing_back import recovery_lines
from client_sdk.partner import Outside, Partner
from client_sdk.progress import Silent
from privacy.clock import Clock
from privacy.dp.events import TableRow
from privacy.errors import StorageFull
from privacy.ledger.handed_back import HandedBack, read
from privacy.protocol.messages import Campaign, Charter, Signed
from privacy.protocol.signing import SigningKey
from tests.client_sdk.choir import EVENT, STATISTICS, Choir, passphrase
from tests.consortium import START, SeededSource
from tests.simulation.actors import DriftingClock
from tests.simulation.faults import Faults
from tests.simulation.machines import Machine, copy_folder, put_back
from tests.simulation.network import Network
from tests.simulation.scheduler import Killed, Scheduler
from tests.simulation.seams import Seams, installed
from tests.simulation.service import SHARD_BYTES, SimulatedService

URL = "http://service"
OPERATOR_KEY = SigningKey.generate(SeededSource("simulated operator"))
EVENTS = 6
"""Room for so many training attempts in each budget: few enough that a stormy run may spend them."""


@dataclass(frozen=True)
class Shape:
    """size: n. n_min, colluders: the charter's."""

    size: int
    n_min: int
    colluders: int


@dataclass(frozen=True)
class Constituted:
    root: Path
    shape: Shape
    names: tuple[str, ...]
    charter: Charter
    campaign: Signed[Campaign]
    began: float


class World:
    """Machines and what joins them. `machines`: by name."""

    def __init__(self, root: Path, start: float, faults: Callable[[Scheduler], Faults], drift: float) -> None:
        self.root = root
        self.began = start
        self.scheduler = Scheduler(start)
        self.faults = faults(self.scheduler)
        self.machines: dict[str, Machine] = {}
        self._actors: dict[Any, Machine] = {}
        self._drift = drift
        self.service = SimulatedService(
            self._folder("service"),
            self._folder("memory/service"),
            self.faults,
            self.scheduler,
            self.clock("service"),
        )
        self.network = Network(self.scheduler, self.faults, self.service)
        self.scheduler.settle = self._settle
        self.scheduler.next_timer = self.service.next_timer
        self.restored: Callable[[], None] = lambda: None
        self.recovered: Callable[[], None] = lambda: None
        self.started: Callable[[], None] = lambda: None
        self._backup = root / "backup"
        if self.faults.heal > start:
            self.scheduler.at(self.faults.uniform("backup", start, self.faults.heal), self._back_up)
        self.seams = Seams(self.here)
        self.seams.turns = lambda: self.faults.choose("turns", (0, 0, 1, 2))

    def _folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def clock(self, name: str) -> DriftingClock:
        offset = self.faults.uniform(f"clock {name}", -self._drift, self._drift)
        rate = self.faults.uniform(f"clock rate {name}", -0.01, 0.01) if self._drift else 0.0
        return DriftingClock(self.scheduler, offset, rate, self.faults.heal)

    def machine(self, name: str) -> Machine:
        made = Machine(name, self._folder(name), self._folder(f"memory/{name}"), self.faults)
        self.machines[name] = made
        return made

    def acts(self, machine: Machine, actor: Any) -> None:
        """Code that runs in this greenlet runs on this machine."""
        self._actors[actor] = machine

    def here(self) -> Machine:
        return self._actors.get(getcurrent(), self.service)

    def _settle(self) -> None:
        self.service.pump()
        if self.service.ended:
            self.service.stop()
            self.scheduler.after(self.faults.uniform("restart service", 0.2, 10.0), self._restart_service)

    def _back_up(self) -> None:
        if self.service.up:
            copy_folder(self.service.folder, self._backup)
            # Nonces are not part of a backup: without them the service refuses what may have been taken before.
            for path in self._backup.glob("nonces.db*"):
                path.unlink()

    def _restart_service(self) -> None:
        self.service.revive()
        if self._backup.exists() and self.faults.fires("restore", "service"):
            put_back(self._backup, self.service.folder)
            if self.faults.fires("recover", "service"):
                self._recover()
                self.recovered()
            else:
                self.restored()
        self.service.start()
        if self.service.up:
            self.started()

    def _recover(self) -> None:
        """Everyone stops, and hands back what is on its disk; the service takes it in, dying where it may."""
        for machine in self.machines.values():
            machine.die()
        names = [name for name in self.machines if name != "operator"]
        files = [handed_back(self.machines[name].left, self.root / "reading", self.clock(name)) for name in names]
        plans = self.machines["operator"].left / "plans.jsonl"
        posted = posted_plans(plans) if plans.exists() else ()
        settings = Settings(folder=self.service.folder, shard_bytes=SHARD_BYTES, sum_workers=1)
        while True:
            try:
                recover(settings, self.service.clock, files, posted)
                return
            except Killed:
                self.service.revive()
            except (StorageFull, sqlite3.OperationalError):
                continue  # room comes and goes


def handed_back(left: Path, reading: Path, clock: Clock) -> HandedBack:
    """What the partner whose folder was left so would write."""
    copy_folder(left, reading)
    outside = Outside(clock, SeededSource("recovery"), Silent())
    with Partner.open(reading / "partner.toml", outside, passphrase) as partner:
        return read(recovery_lines(partner))


@contextmanager
def consortium(shape: Shape) -> Iterator[Constituted]:
    """A copy of the constituted consortium of this shape, in a folder that goes away."""
    made = constituted(shape)
    with tempfile.TemporaryDirectory(prefix="chorale-simulation-", dir="/dev/shm") as folder:
        root = Path(folder) / "world"
        copy_folder(made.root, root)
        yield Constituted(root, shape, made.names, made.charter, made.campaign, made.began)


@lru_cache(maxsize=16)
def constituted(shape: Shape) -> Constituted:
    root = Path(tempfile.mkdtemp(prefix="chorale-constituted-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    quiet: dict[str, float] = {}
    world = World(root, START, lambda s: Faults(0, lambda: s.now, START, quiet), drift=0.0)
    create_server_folder(
        world.service.folder, OPERATOR_KEY.public, SeededSource("service"), shard_bytes=SHARD_BYTES
    )
    made: list[Constituted] = []
    here = world.machine("operator")

    def around(**changes: Any) -> Outside:
        return Outside(
            clock=world.clock("all"),
            source=SeededSource(f"constituting {len(list(root.rglob('*')))}"),
            progress=Silent(),
            sleep=world.scheduler.sleep,
            handler=world.network.line(here),
        )

    def act() -> None:
        http = httpx.Client(base_url=URL, transport=world.network.line(here))
        choir = Choir(root, URL, OPERATOR_KEY, shape.size, shape.n_min, 20.0, http, around)
        table = (
            TableRow(name="statistics", event=STATISTICS, count=2),
            TableRow(name="training", event=EVENT, count=EVENTS),
        )
        charter, _, _ = choir.constitute(colluders=shape.colluders, table=table)
        signed = choir.signed_campaign
        made.append(Constituted(root, shape, tuple(choir.names), charter, signed, world.scheduler.now))

    with installed(world.seams):
        world.service.start()
        world.acts(here, world.scheduler.spawn(act))
        world.scheduler.run(START + 600, lambda: bool(made))
        world.service.stop()
    return made[0]


__all__ = ["Constituted", "Shape", "World", "consortium", "constituted"]
