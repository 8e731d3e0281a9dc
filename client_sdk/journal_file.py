"""The SQLite file of a partner's journal: opened, brought to its schema, and written in transactions that last.

Rules:
1. WAL mode with synchronous FULL: what a transaction wrote survives kill -9 and a power cut once it ended.
2. One process at a time writes; another reads a snapshot beside it and can write nothing.
3. A full disk is StorageFull, whatever SQLite calls it: nothing was written, and running again goes on.
It knows tables and facts. What an attempt's columns may hold is journal.py's.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from privacy.errors import ConfigurationError, FolderInUse, StorageFull

JOURNAL_NAME: Final = "journal.sqlite"
SCHEMA_VERSION: Final = 1
_BESIDE_A_DATABASE: Final = 64 << 10
"""Bytes: more than the shared memory of a write-ahead log takes at first."""

_SCHEMA: Final = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE attempt (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL UNIQUE, campaign TEXT NOT NULL, round INTEGER NOT NULL,
    open_deadline INTEGER NOT NULL,
    signed_plan BLOB NOT NULL, signed_join BLOB,
    cohort TEXT, signed_cohort BLOB, joins BLOB,
    manifest BLOB, attachment BLOB, receipt BLOB,
    seal BLOB, opened_set TEXT, opening BLOB, result_boxes BLOB, refusal BLOB,
    state TEXT, probe_ratio REAL, confirmation BLOB, void_vote BLOB,
    ending TEXT, reason TEXT
) STRICT;
CREATE TABLE own_ledger (place INTEGER PRIMARY KEY, plan TEXT NOT NULL UNIQUE, entry BLOB NOT NULL) STRICT;
CREATE TABLE seen_count (partner TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT;
CREATE TABLE server_row (
    charter TEXT, participant TEXT, row TEXT, charged INTEGER NOT NULL, reserved INTEGER NOT NULL,
    PRIMARY KEY (charter, participant, row)
) STRICT;
CREATE TABLE server_attempt (
    participant TEXT, plan TEXT, kind TEXT NOT NULL, change BLOB NOT NULL, PRIMARY KEY (participant, plan)
) STRICT;
CREATE TABLE checkpoint (count INTEGER PRIMARY KEY, signed BLOB NOT NULL) STRICT;
CREATE TABLE state (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, campaign TEXT NOT NULL, digest TEXT NOT NULL,
    round INTEGER NOT NULL
) STRICT;
CREATE TABLE decision (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    after_attempt INTEGER NOT NULL
) STRICT;
"""

# Beside what version 1 began with: a journal that lacks it gets it, empty, and goes on.
_ADDED: Final = """
CREATE TABLE IF NOT EXISTS server_entry (place INTEGER PRIMARY KEY, plan TEXT, line BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS server_entry_plan ON server_entry (plan);
"""


class JournalFile:
    """The file at one path, held by the folder's lock where it is written.

    reading: a snapshot of what stands in it now, beside whoever writes; whatever would write is FolderInUse.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self._path = path
        self._reading = reading
        try:
            if reading:
                self._database = sqlite3.connect(
                    f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None
                )
                self._database.execute("PRAGMA query_only = ON")
                self._database.execute("BEGIN")
                self._require_version(path)
                return
            # Before SQLite makes it: the files beside a database are born with the mode it has then.
            path.touch(mode=0o600)
            path.chmod(0o600)
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
            self._prepare(path)
        except (sqlite3.DatabaseError, OSError) as error:
            if _is_full(error, path):
                raise StorageFull(
                    f"room for a journal at {path}", "a full disk", "free some space and run again"
                ) from error
            raise ConfigurationError(
                f"a journal at {path}", str(error), "restore the folder, or enrol again in an empty one"
            ) from error

    def _prepare(self, path: Path) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        else:
            self._require_version(path)
        self._database.executescript(f"BEGIN; {_ADDED} COMMIT;")

    def _require_version(self, path: Path) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise ConfigurationError(
                f"a journal of version {SCHEMA_VERSION} at {path}",
                f"version {version}",
                "use the release that wrote it",
            )

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def transaction(self, step: str) -> Iterator[sqlite3.Connection]:
        """Everything inside, or nothing; durable when it ends. `step` names the durable write."""
        if self._reading:
            raise FolderInUse(
                "a folder that no other process uses, to write to it",
                f"one in use, and {step} to be written",
                "run this again once the other process has ended",
            )
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._commit(step)
        except BaseException as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if _is_full(error, self._path):
                raise StorageFull(
                    f"room in the journal for {step}", "a full disk", "free some space and run again: it goes on"
                ) from error
            raise

    def _commit(self, step: str) -> None:  # noqa: ARG002 - a crash test stops at a step by its name
        self._database.execute("COMMIT")

    def query(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of any table, as they stand."""
        return list(self._database.execute(sql, parameters).fetchall())

    def fact(self, name: str) -> bytes | None:
        row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def facts(self, prefix: str) -> list[bytes]:
        """Values of all facts whose name begins so, in the order of their names."""
        rows = self._database.execute(
            "SELECT value FROM fact WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
        )
        return [bytes(value) for (value,) in rows]

    def set_fact(self, name: str, value: bytes) -> None:
        """A fact may change (the pinned charter of the next epoch); its changes are not kept."""
        with self.transaction(f"fact {name}") as database:
            database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def _is_full(error: BaseException, path: Path) -> bool:
    """SQLite says FULL of its database, but only "I/O error" of a file beside it that has no room."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not isinstance(error, sqlite3.OperationalError):
        return False
    name = error.sqlite_errorname
    return name == "SQLITE_FULL" or (
        name.startswith("SQLITE_IOERR") and shutil.disk_usage(path.parent).free < _BESIDE_A_DATABASE
    )
