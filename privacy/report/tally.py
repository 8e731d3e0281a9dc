"""What a chain's entries add up to for one charter, kept so that one more entry costs one more step.

Rules:
1. A tally is fed verified entries in their order, each once; entries under other charters are passed over.
2. It counts and costs nothing: epsilons are figures.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from privacy.dp.events import PrivacyEvent
from privacy.errors import LedgerBroken
from privacy.ledger.chain import RowTotals
from privacy.ledger.entry import CHARGES, BudgetChange, LedgerEntry
from privacy.protocol.messages import ChainHead


@dataclass(frozen=True)
class Charge:
    """One charged attempt: which entry, when, and what."""

    index: int
    at: int
    change: BudgetChange
    recovered: bool


@dataclass
class ParticipantTally:
    """One participant's charges in their order and counted, open reservations by plan, and totals by row."""

    charges: list[Charge] = field(default_factory=list)
    spent: Counter[PrivacyEvent] = field(default_factory=Counter)
    reserved: dict[str, BudgetChange] = field(default_factory=dict)
    rows: dict[str, RowTotals] = field(default_factory=dict)
    last: LedgerEntry | None = None

    @property
    def events(self) -> tuple[PrivacyEvent, ...]:
        return tuple(charge.change.event for charge in self.charges)


class Tally:
    """All participants' tallies under the charter of one digest."""

    def __init__(self, charter: str, entries: Iterable[LedgerEntry] = ()) -> None:
        self.charter = charter
        self.head: ChainHead = ChainHead(count=0, head="0" * 64)
        self._participants: dict[str, ParticipantTally] = {}
        for entry in entries:
            self.add(entry)

    def participant(self, partner: str) -> ParticipantTally:
        return self._participants.get(partner, ParticipantTally())

    def add(self, entry: LedgerEntry) -> None:
        """Raises LedgerBroken if the entry does not follow the last one (rule 1)."""
        if entry.index != self.head.count + 1 or entry.previous != self.head.head:
            raise LedgerBroken(
                entry.index,
                f"entry {self.head.count + 1} after {self.head.head[:16]}",
                f"entry {entry.index} after {entry.previous[:16]}",
                "feed a verified chain from its start, each entry once",
            )
        self.head = ChainHead(count=entry.index, head=entry.digest)
        if entry.charter == self.charter and entry.participant is not None:
            self._take(self._participants.setdefault(entry.participant, ParticipantTally()), entry)

    def snapshot(self) -> Tally:
        """What it adds up to now, unmoved by what is added later."""
        kept = Tally(self.charter)
        kept.head = self.head
        kept._participants = {
            partner: replace(
                tally,
                charges=list(tally.charges),
                spent=tally.spent.copy(),
                reserved=dict(tally.reserved),
                rows=dict(tally.rows),
            )
            for partner, tally in self._participants.items()
        }
        return kept

    def _take(self, tally: ParticipantTally, entry: LedgerEntry) -> None:
        tally.last = entry
        change = entry.budget
        if change is None:
            return
        tally.rows[change.row] = RowTotals(change.charged, change.reserved)
        tally.reserved.pop(change.plan, None)
        if entry.kind == "reserve":
            tally.reserved[change.plan] = change
        elif entry.kind in CHARGES:
            tally.spent[change.event] += 1
            tally.charges.append(Charge(entry.index, entry.at, change, entry.kind == "recovered"))
