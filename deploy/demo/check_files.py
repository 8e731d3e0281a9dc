"""A finished consortium's files, for `deploy.demo.check`: read, and never written.

Rules:
1. Databases are opened read-only, and each is read within one transaction.
2. What is read here is claimed, not verified: whoever asks verifies it.
Nothing is asked of a service or an agent; both are to be stopped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.rounds.upload import shard_name
from client_sdk.journal_file import JOURNAL_NAME
from client_sdk.partner import PINNED_CHARTER
from privacy.errors import NotFound
from privacy.protocol.messages import BodyT, Signed, parse_signed


@dataclass(frozen=True)
class AttemptFiles:
    """What the service's database says of one attempt."""

    round: str
    number: int
    attempt: int
    state: str
    plan: bytes
    cohort: bytes | None
    seal: bytes | None
    confirmed_state: str | None
    close: bytes | None


@dataclass(frozen=True)
class ConsortiumFiles:
    """The folder of one consortium, as `deploy.demo.consortium` makes it."""

    folder: Path

    def partners(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "partners").iterdir() if path.is_dir())

    # --- the service's database ---------------------------------------------------------------------

    @contextmanager
    def _service(self) -> Iterator[sqlite3.Connection]:
        with _opened(self.folder / "service" / "chorale.db") as database:
            yield database

    def charters(self) -> list[bytes]:
        """Signed charters that are in force."""
        return self._column("SELECT message FROM charters WHERE in_force ORDER BY sequence")

    def acceptances(self, charter: str) -> dict[str, bytes]:
        return self._by_partner("SELECT partner, message FROM acceptances WHERE charter = ?", charter)

    def campaigns(self, charter: str) -> list[bytes]:
        return self._column("SELECT message FROM campaigns WHERE charter = ? ORDER BY sequence", charter)

    def attempts(self, campaign: str) -> list[AttemptFiles]:
        """In the order in which they were planned."""
        with self._service() as database:
            rows = database.execute(
                "SELECT round, number, attempt, state, plan, cohort, seal, confirmed_state, close FROM attempts"
                " WHERE campaign = ? ORDER BY sequence",
                (campaign,),
            )
            return [AttemptFiles(*row) for row in rows]

    def joins(self, round_digest: str) -> dict[str, bytes]:
        return self._by_partner("SELECT partner, message FROM joins WHERE round = ?", round_digest)

    def manifests(self, round_digest: str) -> dict[str, bytes]:
        return self._by_partner("SELECT partner, manifest FROM uploads WHERE round = ?", round_digest)

    def receipts(self, round_digest: str) -> dict[str, bytes]:
        query = "SELECT partner, receipt FROM uploads WHERE round = ? AND receipt IS NOT NULL"
        return self._by_partner(query, round_digest)

    def openings(self, round_digest: str) -> dict[str, bytes]:
        return self._by_partner("SELECT partner, message FROM openings WHERE round = ?", round_digest)

    def confirmations(self, round_digest: str) -> dict[str, bytes]:
        return self._by_partner("SELECT partner, message FROM confirmations WHERE round = ?", round_digest)

    def void_votes(self, round_digest: str) -> dict[str, bytes]:
        return self._by_partner("SELECT partner, message FROM voids WHERE round = ?", round_digest)

    def ledger_lines(self) -> list[bytes]:
        return self._column('SELECT entry FROM ledger_entries ORDER BY "index"')

    def ledger_head(self) -> tuple[int, str]:
        """Count and head, as the service keeps them beside its chain."""
        with self._service() as database:
            rows = database.execute("SELECT count, head FROM ledger_heads").fetchall()
        if len(rows) != 1:
            raise NotFound("one head of the service's chain", f"{len(rows)}", "restore the database")
        return int(rows[0][0]), str(rows[0][1])

    def _column(self, query: str, *parameters: str) -> list[bytes]:
        with self._service() as database:
            return [bytes(row[0]) for row in database.execute(query, parameters)]

    def _by_partner(self, query: str, key: str) -> dict[str, bytes]:
        with self._service() as database:
            return {name: bytes(raw) for name, raw in database.execute(query, (key,)).fetchall()}

    # --- blobs, journals, exports -------------------------------------------------------------------

    def upload_shard(self, round_digest: str, partner: str, index: int) -> bytes:
        path = self.folder / "service" / "blobs" / shard_name(round_digest, partner, index)
        return _read(path, f"shard {index} of the upload of {partner}")

    def own_ledger(self, partner: str) -> list[bytes]:
        with _opened(self._journal(partner)) as journal:
            return [bytes(row[0]) for row in journal.execute("SELECT entry FROM own_ledger ORDER BY place")]

    def own_states(self, partner: str) -> dict[str, str]:
        """The state that a partner's journal holds after each attempt it saw confirmed, by plan."""
        query = "SELECT plan, state FROM attempt WHERE ending = 'confirmed' AND state IS NOT NULL"
        with _opened(self._journal(partner)) as journal:
            return dict(journal.execute(query).fetchall())

    def pinned_charter(self, partner: str) -> bytes:
        """The signed charter that a partner holds everything against."""
        with _opened(self._journal(partner)) as journal:
            row = journal.execute("SELECT value FROM fact WHERE name = ?", (PINNED_CHARTER,)).fetchone()
        if row is None:
            raise NotFound(f"a charter in the journal of {partner}", "none", "let it accept the charter")
        return bytes(row[0])

    def exported(self, partner: str, name: str) -> bytes:
        """What a partner gives to an auditor: `summed_key`, `state_before` or `state_after` of the last round."""
        return _read(self.folder / "partners" / partner / "exported" / name, f"{name} as {partner} exported it")

    def _journal(self, partner: str) -> Path:
        return self.folder / "partners" / partner / JOURNAL_NAME


def parse_all(body: type[BodyT], messages: dict[str, bytes]) -> dict[str, Signed[BodyT]]:
    return {name: parse_signed(body, raw) for name, raw in messages.items()}


def only(what: str, found: Iterable[Any]) -> Any:
    """The one of them. Raises NotFound where there is none, or more."""
    held = list(found)
    if len(held) != 1:
        raise NotFound(f"one {what}", f"{len(held)}", "check a folder that `make demo` has made")
    return held[0]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise NotFound(f"a database at {path}", "none", "run `make demo` first")
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        database.execute("BEGIN")
        yield database
    finally:
        database.close()


def _read(path: Path, what: str) -> bytes:
    if not path.is_file():
        raise NotFound(what, f"no file {path}", "run `make demo` to its end first")
    return path.read_bytes()
