"""Machines that die: a folder, a memory disk, and a process that may end before or after any durable write.

Rules:
1. At its end a process leaves what the kernel holds: its folders are copied at that very point, and stand so again
   at its next start, whatever its own clean-up did while it was unwound.
2. A reboot empties the memory disk besides. A restored backup puts an older copy in place of the folder.
3. A full disk refuses to grow: it shows where files are opened and synced, and where databases commit.
4. After its end nothing of a process takes effect any more: each further write of it raises `Killed` again.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from tests.simulation.faults import Faults
from tests.simulation.scheduler import Killed

DISK_FULL = "database or disk is full"


class Machine:
    """One process and what it leaves. `folder` and `memory` exist."""

    def __init__(self, name: str, folder: Path, memory: Path, faults: Faults) -> None:
        self.name = name
        self.folder = folder
        self.memory = memory
        self.faults = faults
        self.dead = False
        self.rebooted = False
        self._left = folder.with_name(folder.name + ".left")

    def point(self, place: str) -> None:
        """A place at which the process may end."""
        if self.dead:
            raise Killed
        if self.faults.fires("crash", f"{self.name} {place}"):
            self.die()
            raise Killed

    def may_write(self, place: str) -> None:
        if self.faults.fires("full", f"{self.name} {place}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    def may_commit(self, place: str) -> None:
        if self.faults.fires("full", f"{self.name} {place}"):
            full = sqlite3.OperationalError(DISK_FULL)
            full.sqlite_errorname = "SQLITE_FULL"
            raise full

    def die(self) -> None:
        """Rule 1. Whoever calls this raises `Killed` where the process was, or wakes it so."""
        if not self.dead:
            self.dead = True
            copy_folder(self.folder, self._left / "folder")
            copy_folder(self.memory, self._left / "memory")

    @property
    def left(self) -> Path:
        """The folder as it stood when the process ended."""
        return self._left / "folder"

    def revive(self) -> None:
        """Before the next start, once the old process is unwound."""
        if self.dead:
            put_back(self._left / "folder", self.folder)
            put_back(self._left / "memory", self.memory)
            if self.faults.fires("reboot", self.name):
                self.rebooted = True
                shutil.rmtree(self.memory)
                self.memory.mkdir()
            self.dead = False


def copy_folder(source: Path, target: Path) -> None:
    # A database's shared memory is made anew from its log; copied, it would name the old process's locks.
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*-shm"))


def put_back(copy: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)


class Disk:
    """`os` as a module under test sees it: each call that makes something durable is a place to die at."""

    def __init__(self, machine_of: Any) -> None:
        self._machine_of = machine_of

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_WRONLY:
            self._machine_of().may_write(f"open {_kind(path)}")
        return os.open(path, flags, mode)

    def fsync(self, descriptor: int) -> None:
        self._machine_of().point("sync")
        os.fsync(descriptor)

    def replace(self, source: Any, target: Any) -> None:
        self._around("replace", target, lambda: os.replace(source, target))

    def rename(self, source: Any, target: Any) -> None:
        self._around("rename", source, lambda: os.rename(source, target))

    def _around(self, call: str, path: Any, act: Any) -> None:
        machine = self._machine_of()
        machine.point(f"before {call} {_kind(path)}")
        act()
        machine.point(f"after {call} {_kind(path)}")


def _kind(path: Any) -> str:
    """What a path is of, without digests and numbers, which differ from run to run."""
    found = Path(path)
    return found.suffix or found.parent.name if len(found.name) > 20 or found.name.isdigit() else found.name
