"""A hash chain of ledger entries: how it grows, and how it is verified, online and offline.

Rules:
1. `next_entry` is the only way to make an entry: it computes index, previous hash and running totals.
2. `ChainVerifier` replays a chain entry by entry in constant memory a participant and row, and raises
   `LedgerBroken` with the line (from 1) of the first entry that is wrong.
3. Legal budget entries: a charge or a lapse follows a reservation of the same participant and attempt; a
   recovered charge needs none; an attempt is charged at most once a participant. A partner's own chain
   (`own=True`) holds charges without reservations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from privacy.dp.events import PrivacyEvent
from privacy.errors import ChoraleError, LedgerBroken
from privacy.ledger.entry import BudgetChange, EntryKind, LedgerEntry
from privacy.protocol.canonical import parse
from privacy.protocol.identifiers import ZERO_DIGEST
from privacy.protocol.messages import ChainHead, Plan

EMPTY = ChainHead(count=0, head=ZERO_DIGEST)


@dataclass(frozen=True)
class RowTotals:
    """What one participant has charged and reserved of one row."""

    charged: int = 0
    reserved: int = 0


@dataclass
class ChainTotals:
    """Running totals by (participant, row), and what each attempt of a participant stands at."""

    rows: dict[tuple[str, str], RowTotals] = field(default_factory=dict)
    attempts: dict[tuple[str, str], tuple[EntryKind, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class BudgetMove:
    """A reserve, charge, lapse or recovered charge to be written down."""

    kind: EntryKind
    participant: str
    plan: str
    round: int
    attempt: int
    event: PrivacyEvent
    row: str

    @classmethod
    def of_plan(cls, kind: EntryKind, participant: str, plan: Plan, row: str) -> BudgetMove:
        return cls(kind, participant, plan.digest, plan.round, plan.attempt, plan.event, row)


def next_budget_entry(
    head: ChainHead, charter: str, at: int, move: BudgetMove, before: RowTotals, held: bool, reason: str = ""
) -> LedgerEntry:
    """The entry that records `move`; `held` says whether this attempt stands reserved in that row now."""
    after = totals_after(move.kind, before, held)
    change = BudgetChange(
        plan=move.plan,
        round=move.round,
        attempt=move.attempt,
        event=move.event,
        row=move.row,
        charged=after.charged,
        reserved=after.reserved,
    )
    return LedgerEntry(
        index=head.count + 1,
        at=at,
        charter=charter,
        kind=move.kind,
        participant=move.participant,
        budget=change,
        reason=reason,
        previous=head.head,
    )


def totals_after(kind: EntryKind, before: RowTotals, held: bool) -> RowTotals:
    """The one place that says how an entry moves a row's totals."""
    if kind == "reserve":
        return RowTotals(before.charged, before.reserved + 1)
    spent = 1 if kind in ("charge", "recovered") else 0
    return RowTotals(before.charged + spent, before.reserved - (1 if held else 0))


def next_action_entry(head: ChainHead, charter: str, at: int, participant: str | None, reason: str) -> LedgerEntry:
    return LedgerEntry(
        index=head.count + 1,
        at=at,
        charter=charter,
        kind="action",
        participant=participant,
        budget=None,
        reason=reason,
        previous=head.head,
    )


class ChainVerifier:
    """Replays a chain; `head` is what has verified so far."""

    def __init__(self, own: bool = False) -> None:
        self.head = EMPTY
        self.totals = ChainTotals()
        self._own = own

    def add(self, entry: LedgerEntry) -> None:
        line = self.head.count + 1
        if entry.index != line or entry.previous != self.head.head:
            raise LedgerBroken(
                line,
                f"entry {line} after {self.head.head[:16]}",
                f"entry {entry.index} after {entry.previous[:16]}",
                "fetch the ledger again; if it stays so, history was rewritten: raise the alarm",
            )
        if entry.budget is not None:
            self._check_budget(line, entry, entry.budget)
        elif entry.kind != "action":
            raise LedgerBroken(line, f"a budget change in a {entry.kind} entry", "none", "the writer is broken")
        self.head = ChainHead(count=line, head=entry.digest)

    def _check_budget(self, line: int, entry: LedgerEntry, change: BudgetChange) -> None:
        if entry.participant is None or entry.kind == "action":
            raise LedgerBroken(line, "a participant and a budget kind", f"a {entry.kind}", "the writer is broken")
        attempt = (entry.participant, change.plan)
        row = (entry.participant, change.row)
        before = self.totals.attempts.get(attempt)
        stands_at = before[0] if before else None
        needs = {"reserve": (None, "lapse"), "lapse": ("reserve",), "recovered": (None, "reserve", "lapse")}
        legal = needs.get(entry.kind, (None,) if self._own else ("reserve",))
        if stands_at not in legal or (before and entry.kind != "reserve" and before[1] != change.row):
            raise LedgerBroken(
                line,
                f"a {entry.kind} that may follow what the attempt stands at",
                f"it stands at {stands_at}",
                "fetch the ledger again; if it stays so, raise the alarm",
            )
        after = totals_after(entry.kind, self.totals.rows.get(row, RowTotals()), stands_at == "reserve")
        if (change.charged, change.reserved) != (after.charged, after.reserved):
            raise LedgerBroken(
                line,
                f"totals {after.charged} charged and {after.reserved} reserved",
                f"{change.charged} and {change.reserved}",
                "the running totals were altered: raise the alarm",
            )
        self.totals.rows[row] = after
        self.totals.attempts[attempt] = (entry.kind, change.row)


def read_lines(lines: Iterable[bytes]) -> Iterator[LedgerEntry]:
    """Entries of a JSON Lines export; each line must be its own canonical form."""
    for number, line in enumerate(lines, start=1):
        raw = line.removesuffix(b"\n")
        try:
            parse(raw)
            entry = LedgerEntry.model_validate_json(raw)
            if entry.canonical_bytes != raw:
                raise ValueError("fields left to defaults")
        except (ChoraleError, ValidationError, ValueError) as error:
            raise LedgerBroken(
                number,
                "a ledger entry in canonical JSON",
                str(error).splitlines()[0],
                "export the ledger again",
            ) from error
        yield entry


def verify_lines(lines: Iterable[bytes], own: bool = False) -> ChainVerifier:
    """Verify a whole export; the verifier that comes back holds head and totals."""
    verifier = ChainVerifier(own)
    for entry in read_lines(lines):
        verifier.add(entry)
    return verifier
