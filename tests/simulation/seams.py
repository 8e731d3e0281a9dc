"""Where the simulation takes hold of the programs: time, threads, disks and databases, for as long as it runs.

Rules:
1. Only what lies below the programs is replaced: `os` as modules that write durably see it, commits, threads.
2. A keystore is derived once for each file: the same bytes under the same passphrase give the same secret.
3. A database whose schema is the newest is not migrated again at each start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

import aggregator.api.waiting
import aggregator.app
import aggregator.operator.durable
import aggregator.rounds.lifecycle
import aggregator.storage.blobs
import aggregator.storage.database
import client_sdk.durable
import client_sdk.finish
import client_sdk.journal
import client_sdk.keystore
import client_sdk.partner
import client_sdk.round_keys
from client_sdk.decode import Unsealed
from client_sdk.finish import Finisher
from privacy.protocol.sealed_file import open_secret
from tests.simulation.machines import Disk, Machine

RECHECK_SECONDS = 5.0
"""How often whoever waits looks again without news: seldom, for all news of this one process is heard."""

_open_once = lru_cache(maxsize=256)(open_secret)
_take = Finisher._take


class Seams:
    """What the programs meet below them. `machine`: on which one the code that runs now is."""

    def __init__(self, machine: Callable[[], Machine]) -> None:
        self.machine = machine
        self.turns: Callable[[], int] = lambda: 0
        self.committed: Callable[[str, str], None] = lambda machine, step: None
        self.decoded: Callable[[str, Finisher, Unsealed], None] = lambda name, finisher, unsealed: None
        self.logged: Callable[[str, dict[str, Any]], None] = lambda event, fields: None
        self.migrated = False


@contextmanager
def installed(seams: Seams) -> Iterator[None]:
    disk = Disk(lambda: seams.machine())
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            aggregator.operator.durable,
            aggregator.storage.blobs,
            client_sdk.durable,
            client_sdk.round_keys,
        ):
            patch.setattr(module, "os", disk)
        patch.setattr(client_sdk.partner, "Journal", _journal(seams))
        patch.setattr(client_sdk.partner, "memory_disk", lambda: seams.machine().memory)
        patch.setattr(client_sdk.keystore, "open_secret", _open_once)
        patch.setattr(aggregator.app, "Database", _database(seams))
        patch.setattr(aggregator.rounds.lifecycle, "_log", _Log(seams))
        patch.setattr(aggregator.rounds.lifecycle, "RECHECK_SECONDS", RECHECK_SECONDS)
        patch.setattr(aggregator.api.waiting, "RECHECK_SECONDS", RECHECK_SECONDS)
        patch.setattr(anyio.to_thread, "run_sync", _at_once(seams))
        patch.setattr(client_sdk.finish.Finisher, "_take", _observed(seams))
        yield


def _journal(seams: Seams) -> type[client_sdk.journal.Journal]:
    class SimulatedJournal(client_sdk.journal.Journal):
        def _commit(self, step: str) -> None:
            step = _without_digests(step)
            machine = seams.machine()
            machine.point(f"before {step}")
            machine.may_commit(step)
            super()._commit(step)
            seams.committed(machine.name, step)
            machine.point(f"after {step}")

    return SimulatedJournal


def _database(seams: Seams) -> type[aggregator.storage.database.Database]:
    class SimulatedDatabase(aggregator.storage.database.Database):
        @contextmanager
        def write(self) -> Iterator[Session]:
            machine = seams.machine()
            with super().write() as session:
                yield session
                machine.point("before a commit")
                try:
                    machine.may_commit("a commit")
                except sqlite3.OperationalError as error:
                    raise OperationalError("COMMIT", {}, error) from error
            seams.committed(machine.name, "a commit")
            machine.point("after a commit")

        def migrate(self) -> None:
            if not seams.migrated:
                super().migrate()

    return SimulatedDatabase


def _at_once(seams: Seams) -> Any:
    async def run_sync(func: Any, *args: Any, **options: Any) -> Any:
        for _ in range(seams.turns()):
            await anyio.lowlevel.checkpoint()
        return func(*args)

    return run_sync


def _observed(seams: Seams) -> Any:
    def take(finisher: Finisher, unsealed: Unsealed) -> None:
        seams.decoded(finisher._partner.name, finisher, unsealed)
        _take(finisher, unsealed)

    return take


class _Log:
    """The lifecycle's log: what it swallows and tries again is told to the monitor."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams

    def exception(self, event: str, **fields: Any) -> None:
        self._seams.logged(event, fields)


def _without_digests(step: str) -> str:
    return " ".join(word for word in step.split() if len(word) < 40)
