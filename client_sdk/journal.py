"""A partner's crash log: what it has promised, been charged and released, durable before it is acted on.

Rules (protocol 4, 6.4):
1. SQLite in WAL mode with synchronous FULL: what a method wrote survives kill -9 and a power cut once it returns.
2. The accepted cohort and the charge for it are one transaction; one cohort J is accepted for an attempt, ever.
3. One set U is opened for an attempt, ever; the opening stands here whole before its first byte is sent.
4. Nothing is deleted or overwritten: a column is written once, and a second, different value is a Conflict.
It decides nothing and sends nothing. Its file holds no key; ciphertexts and states lie beside it as files.
"""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from privacy.errors import ConfigurationError, Conflict, FolderInUse, StorageFull
from privacy.ledger.entry import LedgerEntry

JOURNAL_NAME: Final = "journal.sqlite"
SCHEMA_VERSION: Final = 1
_BESIDE_A_DATABASE: Final = 64 << 10
"""Bytes: more than the shared memory of a write-ahead log takes at first."""
_STANDS_ON: Final = "stands on "

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

_COLUMNS: Final = (
    "sequence, plan, campaign, round, open_deadline, signed_plan, signed_join, cohort, signed_cohort, joins,"
    " manifest, attachment, receipt, seal, opened_set, opening, result_boxes, refusal, state, probe_ratio,"
    " confirmation, void_vote, ending, reason"
)


@dataclass(frozen=True)
class AttemptRecord:
    """What the journal holds of one attempt; messages as their canonical bytes, None where not yet."""

    sequence: int
    plan: str
    campaign: str
    round: int
    open_deadline: int
    signed_plan: bytes
    signed_join: bytes | None
    cohort: str | None
    signed_cohort: bytes | None
    joins: bytes | None
    manifest: bytes | None
    attachment: bytes | None
    receipt: bytes | None
    seal: bytes | None
    opened_set: str | None
    opening: bytes | None
    result_boxes: bytes | None
    refusal: bytes | None
    state: str | None
    probe_ratio: float | None
    confirmation: bytes | None
    void_vote: bytes | None
    ending: str | None
    reason: str | None

    def join_messages(self) -> dict[str, bytes]:
        """The joins that the accepted cohort names, by partner."""
        if self.joins is None:
            return {}
        return {name: text.encode() for name, text in json.loads(self.joins).items()}


class Journal:
    """The journal in one folder. One process at a time writes, held by the folder's lock.

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

    # --- facts ----------------------------------------------------------------------------------------

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

    # --- attempts -------------------------------------------------------------------------------------

    def record(self, plan: str) -> AttemptRecord | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM attempt WHERE plan = ?",  # noqa: S608 - constant columns
            (plan,),
        ).fetchone()
        return None if row is None else AttemptRecord(*row)

    def records(self, campaign: str | None = None, unfinished: bool = False) -> list[AttemptRecord]:
        """Attempts in the order in which they were met."""
        clauses = ["1"] + (["campaign = ?"] if campaign else []) + (["ending IS NULL"] if unfinished else [])
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM attempt WHERE {' AND '.join(clauses)} ORDER BY sequence",  # noqa: S608
            (campaign,) if campaign else (),
        )
        return [AttemptRecord(*row) for row in rows]

    def met(self, plan: str, campaign: str, round_number: int, open_deadline: int, signed_plan: bytes) -> None:
        """An attempt of which something will be written; harmless twice."""
        with self.transaction("met") as database:
            database.execute(
                "INSERT OR IGNORE INTO attempt (plan, campaign, round, open_deadline, signed_plan)"
                " VALUES (?, ?, ?, ?, ?)",
                (plan, campaign, round_number, open_deadline, signed_plan),
            )

    def write_once(self, step: str, plan: str, values: Mapping[str, bytes | str | float]) -> None:
        """Write columns of an attempt that are still empty. Raises Conflict on a different value."""
        with self.transaction(step) as database:
            _write_once(database, plan, values)

    def accept_cohort(
        self,
        plan: str,
        cohort: str,
        signed_cohort: bytes,
        joins: Mapping[str, bytes],
        counts: Mapping[str, int],
        charge: LedgerEntry | None,
    ) -> None:
        """Rule 2. `counts`: ledger counts seen in the joins; `charge`: None where this is charged already."""
        encoded = json.dumps({name: raw.decode() for name, raw in joins.items()}).encode()
        with self.transaction("cohort accepted") as database:
            _write_once(database, plan, {"cohort": cohort, "signed_cohort": signed_cohort, "joins": encoded})
            if charge is not None:
                append_own(database, plan, charge)
            for partner, count in counts.items():
                database.execute(
                    "INSERT INTO seen_count VALUES (?, ?)"
                    " ON CONFLICT (partner) DO UPDATE SET count = MAX(count, excluded.count)",
                    (partner, count),
                )

    def end(self, plan: str, ending: str, reason: str, campaign: str, stands_on: str) -> None:
        """How an attempt ended, and the state that this partner stands on from here."""
        with self.transaction("ended") as database:
            _write_once(database, plan, {"ending": ending, "reason": reason})
            database.execute(
                "INSERT OR REPLACE INTO fact VALUES (?, ?)", (_STANDS_ON + campaign, stands_on.encode())
            )

    def stand_on(self, campaign: str, state_digest: str) -> None:
        self.set_fact(_STANDS_ON + campaign, state_digest.encode())

    def stands_on(self, campaign: str) -> str | None:
        """The state that counts: the first that was kept, or what an attempt ended with, or a later one."""
        raw = self.fact(_STANDS_ON + campaign)
        return None if raw is None else raw.decode()

    def reopen(self, plan: str, seal: bytes, opened_set: str, opening: bytes) -> None:
        """The same U under another root of the sum: a new opening message, the same boxes. Raises Conflict."""
        with self.transaction("reopened") as database:
            changed = database.execute(
                "UPDATE attempt SET seal = ?, opening = ? WHERE plan = ? AND opened_set = ?",
                (seal, opening, plan, opened_set),
            ).rowcount
            if changed != 1:
                raise Conflict("the set that was opened", "another", "open nothing: one set an attempt")

    def seen_counts(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT partner, count FROM seen_count").fetchall())

    # --- states and decisions -------------------------------------------------------------------------

    def add_state(self, campaign: str, state_digest: str, round_number: int) -> None:
        with self.transaction("state kept") as database:
            database.execute(
                "INSERT INTO state (campaign, digest, round) VALUES (?, ?, ?)",
                (campaign, state_digest, round_number),
            )
            database.execute(
                "INSERT OR IGNORE INTO fact VALUES (?, ?)", (_STANDS_ON + campaign, state_digest.encode())
            )

    def states(self, campaign: str) -> list[tuple[str, int]]:
        """(digest, round) of the states kept, newest first."""
        return list(
            self._database.execute(
                "SELECT digest, round FROM state WHERE campaign = ? ORDER BY sequence DESC", (campaign,)
            ).fetchall()
        )

    def decide(self, at: int, kind: str, reason: str) -> None:
        """A person's decision on this machine, such as to resume after void attempts."""
        with self.transaction("decision") as database:
            database.execute(
                "INSERT INTO decision (at, kind, reason, after_attempt)"
                " VALUES (?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) FROM attempt))",
                (at, kind, reason),
            )

    def last_decision(self, kind: str) -> int:
        """The attempt sequence after which the last decision of this kind was taken; 0 for none."""
        row = self._database.execute(
            "SELECT COALESCE(MAX(after_attempt), 0) FROM decision WHERE kind = ?", (kind,)
        ).fetchone()
        return int(row[0])

    def query(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows for the ledger modules, which own the remaining tables."""
        return list(self._database.execute(sql, parameters).fetchall())


def append_own(database: sqlite3.Connection, plan: str, entry: LedgerEntry) -> None:
    database.execute("INSERT INTO own_ledger VALUES (?, ?, ?)", (entry.index, plan, entry.canonical_bytes))


def _write_once(database: sqlite3.Connection, plan: str, values: Mapping[str, bytes | str | float]) -> None:
    for column, value in values.items():
        row = database.execute(f"SELECT {column} FROM attempt WHERE plan = ?", (plan,)).fetchone()  # noqa: S608
        if row is None:
            raise Conflict(f"an attempt {plan[:16]} in the journal", "none", "join it first")
        if row[0] is None:
            database.execute(f"UPDATE attempt SET {column} = ? WHERE plan = ?", (value, plan))  # noqa: S608
        elif row[0] != value:
            raise Conflict(
                f"the {column.replace('_', ' ')} that this partner's journal holds for attempt {plan[:16]}",
                "another one",
                "go on with what was accepted; tell the operator that two were shown",
            )


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
