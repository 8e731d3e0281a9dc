"""A partner's crash log: what it has promised, been charged and released, durable before it is acted on.

Rules (protocol 4, 6.4):
1. What a method wrote survives kill -9 and a power cut once it returns (journal_file.py).
2. The accepted cohort and the charge for it are one transaction; one cohort J is accepted for an attempt, ever.
3. One set U is opened for an attempt, ever; the opening stands here whole before its first byte is sent.
4. Nothing is deleted or overwritten: a column is written once, and a second, different value is a Conflict.
It decides nothing and sends nothing. Its file holds no key; ciphertexts and states lie beside it as files.
Both ledgers' tables are own_ledger.py's and ledger_watch.py's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from client_sdk.journal_file import JournalFile
from privacy.errors import Conflict
from privacy.ledger.entry import LedgerEntry

_STANDS_ON: Final = "stands on "


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


_COLUMNS: Final = ", ".join(field.name for field in fields(AttemptRecord))


class Journal(JournalFile):
    """The journal in one folder."""

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
