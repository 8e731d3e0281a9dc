"""What each charge on a ledger cost: by itself, and together with all that its participant was charged before.

Rules:
1. Both guarantees, at the delta of that participant's caps and with the honest contributors of the charter that the
   entry is under; `cumulated` counts the charges under the same charter, "as if their number had been fixed".
2. `cumulated` is stated for the newest charges alone: as many as NEWEST histories take, which participants who took
   part in the same rounds share. A history that is new to a process costs it some 40 ms, and a long ledger has
   thousands. Which charges have it follows from the entries, so whoever computes a report anew states the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from privacy.dp.events import PrivacyEvent
from privacy.ledger.entry import CHARGES, LedgerEntry
from privacy.protocol.messages import Charter
from privacy.report import figures
from privacy.report.budget_report import EntryCost, Spent
from privacy.report.lifetime import charter_of, spent

NEWEST: Final = 20


@dataclass(frozen=True)
class _Charge:
    """An entry that charged. under: (participant, charter)."""

    index: int
    under: tuple[str, str]
    event: PrivacyEvent
    delta: float
    honest: int

    @property
    def itself(self) -> Spent:
        return spent(Counter([self.event]), self.delta, self.honest)


def entry_costs(
    entries: Iterable[LedgerEntry],
    before: int,
    charters: Mapping[str, Charter],
    participants: Collection[str] | None,
) -> dict[int, EntryCost]:
    """By index, of the charges after the first `before` entries; of these participants', if any are named.

    Raises LedgerBroken where a charter is missing, AccountingFailed.
    """
    charges: list[_Charge] = []
    rules: dict[tuple[str, str], tuple[float, int]] = {}
    for entry in entries:
        partner, change = entry.participant, entry.budget
        if partner is None or change is None or entry.kind not in CHARGES:
            continue
        if participants is None or partner in participants:
            under = partner, entry.charter
            if under not in rules:
                charter = charter_of(charters, entry.charter, entry.index)
                rules[under] = charter.entry(partner).caps.delta, charter.honest
            charges.append(_Charge(entry.index, under, change.event, *rules[under]))
    cumulated = _cumulated(charges, before)
    return {
        charge.index: EntryCost(itself=charge.itself, cumulated=cumulated.get(charge.index))
        for charge in charges
        if charge.index > before
    }


def _cumulated(charges: Sequence[_Charge], before: int) -> dict[int, Spent]:
    """Rule 2: from the newest charge back, each participant's history one charge shorter at a time."""
    histories: dict[tuple[str, str], Counter[PrivacyEvent]] = {}
    for charge in charges:
        histories.setdefault(charge.under, Counter())[charge.event] += 1
    stated: set[tuple[figures.Counts, float, int]] = set()
    found: dict[int, Spent] = {}
    for charge in reversed(charges):
        if charge.index <= before:
            break
        history = histories[charge.under]
        stated.add((figures.counts(+history), charge.delta, charge.honest))
        if len(stated) > NEWEST:
            break
        found[charge.index] = spent(+history, charge.delta, charge.honest)
        history[charge.event] -= 1
    return found
