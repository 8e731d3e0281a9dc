"""Which requests came before: nonces of signed requests, in a file of their own beside the database.

A nonce lost in a crash would let one request pass twice; a synced write for each request would cost more than most
requests do. So nonces are written without a sync, and one synced mark says how much a crash may have lost.

Rules:
1. `take` answers only once the nonce is written: the operating system then holds it, and a process that is killed
   at any line loses nothing.
2. The mark is a time: it is on disk before any request signed later is taken, and moves on by STEP_SECONDS at once.
3. Only the machine's own end loses what was written. The mark names the boot that it was written under, or that the
   file was closed in order; a start under another boot refuses, from then on, every request signed up to the mark,
   so all that can have been taken and lost. Clients sign anew once the clock has passed it.
4. A file that is missing where there are partners (a backup restored without it) counts as lost: requests signed
   within MAX_SKEW_SECONDS after the start are refused too.
5. A clock that was ahead, or is set back, must not make what was forgotten pass for fresh: of each identity it is
   kept when the last of the forgotten requests was signed, and nothing signed until then is taken again.
One process serves a folder, on a disk of its own machine.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from privacy.errors import ReplayedRequest, ServiceUnavailable, StorageFull
from privacy.protocol.http_contract import MAX_SKEW_SECONDS

STEP_SECONDS = 30
KEPT_SECONDS = 2 * MAX_SKEW_SECONDS
_BUSY_SECONDS = 15.0
_CLOSED = "closed"
_NOTHING_LOST = -1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS nonces (
    identity TEXT NOT NULL, nonce TEXT NOT NULL, expires REAL NOT NULL, signed INTEGER,
    PRIMARY KEY (identity, nonce)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonces_expire ON nonces (expires);
CREATE TABLE IF NOT EXISTS forgotten (identity TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (
    one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, until INTEGER NOT NULL, lost INTEGER NOT NULL
);
"""


_FORGET = """
INSERT INTO forgotten SELECT identity, MAX(signed) FROM nonces WHERE expires < :now GROUP BY identity
ON CONFLICT (identity) DO UPDATE SET until = MAX(until, excluded.until)
"""
# A file of an earlier version: what it does not say is at most this.
_SIGNED_AT_MOST = "UPDATE nonces SET signed = CAST(expires AS INTEGER) - ?"


def boot_id() -> str:
    """Linux's name for this run of the machine; another after each boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


class NonceStore:
    """Thread-safe. `lost_until`: requests signed up to this second are refused; -1 where nothing was lost."""

    def __init__(self, path: Path, boot: str, now: float, *, first_start: bool) -> None:
        """first_start: nothing was ever signed to this service, so a missing file lost nothing."""
        known = path.exists()
        self._lock = threading.Lock()
        # In turn under _lock; autocommit, so each statement is a transaction of its own.
        self._connection = sqlite3.connect(path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(_SCHEMA)
        if "signed" not in {row[1] for row in self._connection.execute("PRAGMA table_info(nonces)")}:
            self._connection.execute("ALTER TABLE nonces ADD COLUMN signed INTEGER")
            self._connection.execute(_SIGNED_AT_MOST, (KEPT_SECONDS - MAX_SKEW_SECONDS,))
        self._boot = boot
        row = self._connection.execute("SELECT boot, until, lost FROM mark").fetchone()
        if row is None:
            self.lost_until = _NOTHING_LOST if first_start and not known else int(now) + MAX_SKEW_SECONDS
            self._until = int(now)
        else:
            self.lost_until = int(row[2] if row[0] in (boot, _CLOSED) else row[1])
            self._until = int(row[1])
        self._set_mark(boot, self._until)
        self._forgotten: dict[str, int] = self._read_forgotten()
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def take(self, identity: str, nonce: str, signed_at: int, now: float) -> None:
        """Write the nonce down. Raises ReplayedRequest, or ServiceUnavailable for what a crash may have lost."""
        if signed_at <= self.lost_until:
            raise ServiceUnavailable(
                f"a request signed after {self.lost_until}",
                f"one signed at {signed_at}: the service's machine stopped, and which came before it is not known",
                "sign it again after that time",
            )
        try:
            with self._lock:
                self._require_remembered(identity, signed_at)
                if signed_at > self._until:
                    self._move_mark(max(signed_at, int(now)) + STEP_SECONDS)
                new = self._connection.execute(
                    "INSERT OR IGNORE INTO nonces VALUES (?, ?, ?, ?)",
                    (identity, nonce, now + KEPT_SECONDS, signed_at),
                ).rowcount
        except sqlite3.OperationalError as error:
            raise _unusable(error) from error
        if not new:
            raise ReplayedRequest("a nonce that is new", "one seen before", "sign each request anew")

    def purge(self, now: float) -> None:
        """Forget nonces whose requests no longer pass for fresh."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.execute(_FORGET, {"now": now})
                self._connection.execute("DELETE FROM nonces WHERE expires < ?", (now,))
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._forgotten = self._read_forgotten()

    def close(self) -> None:
        """Sync everything, and say so."""
        with self._lock:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._set_mark(_CLOSED, self._until)
            self._connection.close()

    def _require_remembered(self, identity: str, signed_at: int) -> None:
        """Rule 5."""
        until = self._forgotten.get(identity, _NOTHING_LOST)
        if signed_at <= until:
            raise ServiceUnavailable(
                f"a request signed after {until}",
                f"one signed at {signed_at}: the service's clock was ahead or set back, and it has forgotten which"
                " came before",
                "check both clocks (NTP), and sign it again after that time",
            )

    def _read_forgotten(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT identity, until FROM forgotten"))

    def _move_mark(self, until: int) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            self._set_mark(self._boot, until)
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")
        self._until = until

    def _set_mark(self, boot: str, until: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?)", (boot, until, self.lost_until))


def _unusable(error: sqlite3.OperationalError) -> StorageFull | ServiceUnavailable:
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageFull("room on the service's disk", str(error), "nothing was taken: send it again later")
    return ServiceUnavailable("a record of nonces that can be written", str(error), "send the request again")
