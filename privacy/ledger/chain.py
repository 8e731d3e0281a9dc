"""A hash chain of ledger entries: how it grows, and how it is verified, online and offline.

Rules:
1. `next_entry` is the only way to make an entry: it computes index, previous hash and running totals.
2. `ChainVerifier` replays a chain entry by entry, keeps no entries, and raises `LedgerBroken` with the line
   (from 1) of the first entry that is wrong. An entry that raised was not added.
3. Legal budget entries: an attempt is reserved once; a charge or a lapse follows that reservation and repeats
   its row, event, round and attempt; a recovered charge needs none; an attempt is charged at most once a
   participant, and all of it under one charter.
4. A partner's own chain (`own=True`) is of one participant, and holds charges without reservations.
Whether a row has room is the budget's business; verification.py compares a chain with its charters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from privacy.dp.events import PrivacyEvent
from privacy.errors import ChoraleError, LedgerBroken
from privacy.ledger.entry import CHARGES, BudgetChange, EntryKind, LedgerEntry, OfficersAction, entry_digest
from privacy.protocol.identifiers import ZERO_DIGEST
from privacy.protocol.messages import ChainHead, Plan

EMPTY = ChainHead(count=0, head=ZERO_DIGEST)

MAX_LINE_BYTES = 16 << 10
"""An entry's canonical form stays far below: every field but `reason` is of bounded width, `reason` 500."""

_SERVICE_MOVES: dict[EntryKind, tuple[EntryKind | None, ...]] = {
    "reserve": (None,),
    "charge": ("reserve",),
    "lapse": ("reserve",),
    "recovered": (None, "reserve", "lapse"),
}
_OWN_MOVES: dict[EntryKind, tuple[EntryKind | None, ...]] = {
    "reserve": (),
    "charge": (None,),
    "lapse": (),
    "recovered": (None,),
}


@dataclass(frozen=True)
class RowTotals:
    """What one participant has charged and reserved of one row."""

    charged: int = 0
    reserved: int = 0


@dataclass
class ChainTotals:
    """Running totals by (charter, participant, row); where each (participant, plan) stands; plans' charters."""

    rows: dict[tuple[str, str, str], RowTotals] = field(default_factory=dict)
    attempts: dict[tuple[str, str], tuple[EntryKind, BudgetChange]] = field(default_factory=dict)
    charters: dict[str, str] = field(default_factory=dict)

    def row(self, charter: str, participant: str, name: str) -> RowTotals:
        return self.rows.get((charter, participant, name), RowTotals())


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
    spent = 1 if kind in CHARGES else 0
    return RowTotals(before.charged + spent, before.reserved - (1 if held else 0))


def next_action_entry(
    head: ChainHead,
    charter: str,
    at: int,
    participant: str | None,
    reason: str,
    action: OfficersAction | None = None,
) -> LedgerEntry:
    return LedgerEntry(
        index=head.count + 1,
        at=at,
        charter=charter,
        kind="action",
        participant=participant,
        budget=None,
        action=action,
        reason=reason,
        previous=head.head,
    )


class ChainVerifier:
    """Replays a chain; `head` is what has verified so far, `totals` what it adds up to."""

    def __init__(self, own: bool = False) -> None:
        self.head = EMPTY
        self.totals = ChainTotals()
        self._own = own
        self._participant: str | None = None

    def add(self, entry: LedgerEntry) -> None:
        self._add(entry, entry.digest)

    def add_line(self, raw: bytes) -> LedgerEntry:
        """Add the next line of an export, with or without its line feed."""
        line = raw.removesuffix(b"\n")
        entry = read_line(self.head.count + 1, line)
        self._add(entry, entry_digest(line))
        return entry

    def _add(self, entry: LedgerEntry, digest: str) -> None:
        line = self.head.count + 1
        if entry.index != line or entry.previous != self.head.head:
            raise LedgerBroken(
                line,
                f"entry {line} after {self.head.head[:16]}",
                f"entry {entry.index} after {entry.previous[:16]}",
                "fetch the ledger again; if it stays so, history was rewritten: raise the alarm",
            )
        if (entry.budget is None) != (entry.kind == "action"):
            raise LedgerBroken(
                line,
                "a budget change in every entry but an action",
                f"a {entry.kind} entry {'without' if entry.budget is None else 'with'} one",
                "the writer is broken: raise the alarm",
            )
        if entry.action is not None and (entry.kind != "action" or self._own):
            raise LedgerBroken(
                line,
                "an officer's action in an action entry of the service's chain, and nowhere else",
                f"one in a {entry.kind} entry",
                "the writer is broken: raise the alarm",
            )
        if entry.budget is not None:
            self._apply(line, entry, entry.budget)
        self.head = ChainHead(count=line, head=digest)

    def _apply(self, line: int, entry: LedgerEntry, change: BudgetChange) -> None:
        participant = entry.participant
        if participant is None or (self._own and self._participant not in (None, participant)):
            raise LedgerBroken(
                line,
                f"a change to the budget of {self._participant or 'a participant'}",
                f"one to that of {participant or 'nobody'}",
                "the writer is broken: raise the alarm",
            )
        before = self.totals.attempts.get((participant, change.plan))
        stands_at = before[0] if before else None
        if stands_at not in (_OWN_MOVES if self._own else _SERVICE_MOVES)[entry.kind]:
            raise LedgerBroken(
                line,
                f"a {entry.kind} that may follow what the attempt stands at",
                f"it stands at {stands_at or 'nothing'}",
                "fetch the ledger again; if it stays so, raise the alarm",
            )
        under = self.totals.charters.get(change.plan, entry.charter)
        if under != entry.charter:
            raise LedgerBroken(
                line,
                f"the charter under which this plan was reserved or charged, {under[:16]}",
                entry.charter[:16],
                "one plan has one charter: raise the alarm",
            )
        if before is not None:
            _check_same_attempt(line, stands_at == "reserve", before[1], change)
        row = (entry.charter, participant, change.row)
        after = totals_after(entry.kind, self.totals.rows.get(row, RowTotals()), stands_at == "reserve")
        if (change.charged, change.reserved) != (after.charged, after.reserved):
            raise LedgerBroken(
                line,
                f"totals {after.charged} charged and {after.reserved} reserved",
                f"{change.charged} and {change.reserved}",
                "the running totals were altered: raise the alarm",
            )
        self._participant = participant
        self.totals.rows[row] = after
        self.totals.attempts[(participant, change.plan)] = (entry.kind, change)
        self.totals.charters[change.plan] = entry.charter


def _check_same_attempt(line: int, held: bool, before: BudgetChange, change: BudgetChange) -> None:
    """Rule 3. A lapse gave its row up, so a charge recovered later may stand in another."""
    fields = ("event", "round", "attempt") + (("row",) if held else ())
    for name in fields:
        if getattr(before, name) != getattr(change, name):
            raise LedgerBroken(
                line,
                f"the {name} that was reserved for this attempt: {getattr(before, name)}",
                str(getattr(change, name)),
                "one plan has one event: raise the alarm",
            )


def read_line(number: int, raw: bytes) -> LedgerEntry:
    """The entry in one line, which must be its own canonical form, every field written out."""
    try:
        if len(raw) > MAX_LINE_BYTES:
            raise ValueError(f"a line of {len(raw)} bytes")
        entry = LedgerEntry.model_validate_json(raw)
        # Equal to the canonical form of what it was read as: so no spacing, order, doubled key or default.
        if entry.canonical_bytes != raw:
            raise ValueError("JSON in another form than its canonical one")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _not_an_entry(number, f"{where}: {first['msg']}" if where else first["msg"]) from None
    except (ChoraleError, ValueError) as error:
        raise _not_an_entry(number, str(error)) from error
    return entry


def _not_an_entry(number: int, came: str) -> LedgerBroken:
    return LedgerBroken(number, "a ledger entry in canonical JSON", came, "export the ledger again")


def read_lines(lines: Iterable[bytes]) -> Iterator[LedgerEntry]:
    """Entries of a JSON Lines export, each read on its own: links and totals are not verified here."""
    for number, line in enumerate(lines, start=1):
        yield read_line(number, line.removesuffix(b"\n"))


def verify_lines(lines: Iterable[bytes], own: bool = False) -> ChainVerifier:
    """Verify a whole export; the verifier that comes back holds head and totals."""
    verifier = ChainVerifier(own)
    for line in lines:
        verifier.add_line(line)
    return verifier
