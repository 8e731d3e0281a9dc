"""A PostgreSQL cluster of the tests' own: made in a temporary folder, reached by a Unix socket, gone afterwards.

Rules:
1. It listens on no network port, so runs beside others need no coordination.
2. PostgreSQL refuses to run as root: there, it runs as the system's user `postgres`, who owns its folder.
3. Where its programs or its driver are absent, the tests that need it skip and say so.
Syncing is off: these tests end the service's process, not the machine.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

USER = "postgres"
_NUMBERS = count(1)


class Cluster:
    """A running server; `database` makes an empty database and gives its SQLAlchemy URL."""

    def __init__(self, programs: Path, socket: Path) -> None:
        self._programs = programs
        self._socket = socket

    def database(self) -> str:
        name = f"chorale_{next(_NUMBERS)}"
        _run(self._programs / "createdb", "-h", str(self._socket), "-U", USER, name)
        return f"postgresql+psycopg://{USER}@/{name}?host={self._socket}"

    def end_sessions(self) -> None:
        """Cut off everyone who is connected, as a restart of the server would."""
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        ended += " AND backend_type = 'client backend'"
        _run(self._programs / "psql", "-h", str(self._socket), "-U", USER, "-q", "-c", ended, "postgres")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Skips the test where PostgreSQL is absent."""
    programs = _programs()
    if programs is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL absent: install postgresql, and psycopg from the extra `postgresql`")
    # Not under pytest's folder, which the user `postgres` may not enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    data = folder / "data"
    if os.geteuid() == 0:
        owner = pwd.getpwnam(USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=200"
    try:
        _run(programs / "initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        start = ("start", "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log"), "-o", settings)
        _run(programs / "pg_ctl", *start)
        try:
            yield Cluster(programs, folder)
        finally:
            _run(programs / "pg_ctl", "stop", "-D", str(data), "-w", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Where initdb is: on the path, or where Debian keeps it, the newest version first."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda program: int(program.parts[-3]), default=None)
    return None if newest is None else newest.parent


def _run(program: Path, *arguments: str) -> None:
    as_owner = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*as_owner, str(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{program.name}: {done.stdout}"
