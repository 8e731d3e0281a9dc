"""What one participant spent under every charter so far: a record does not forget an epoch (protocol 6.4).

Rules:
1. Each epoch's figures are at the delta of that participant's caps then, with that charter's honest contributors.
2. `summed`: the sums of epsilons and of deltas. They hold always, whatever one charter's outcome made of the next.
3. `composed`: all events in one PLD at the newest delta, "as if the number of rounds had been fixed"; only where
   every charter has the same number of honest contributors, for else *alone* and *in the sum* mean other attackers.
4. Events of kind *none* count, and make every figure of theirs infinite. A genesis trained from data is one only if
   it was declared: no ledger shows it by itself (docs/accounting.md).
5. An entry under a charter that was not given is LedgerBroken: half a lifetime is none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import LedgerBroken
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter
from privacy.report import figures
from privacy.report.budget_report import INFINITE, EpochSpent, Epsilon, Lifetime, Spent


@dataclass
class _Charged:
    """first: the entry that charged the first of them."""

    first: int
    events: Counter[PrivacyEvent] = field(default_factory=Counter)


class Lifetimes:
    """What everyone was charged under every charter, counted as verified entries come."""

    def __init__(self, entries: Iterable[LedgerEntry] = ()) -> None:
        self._charged: dict[str, dict[str, _Charged]] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: LedgerEntry) -> None:
        if entry.participant is None or entry.budget is None or entry.kind not in ("charge", "recovered"):
            return
        under = self._charged.setdefault(entry.participant, {})
        under.setdefault(entry.charter, _Charged(entry.index)).events[entry.budget.event] += 1

    def of(self, partner: str, charters: Mapping[str, Charter]) -> Lifetime:
        """charters: every one that its charges are under, by digest. Raises LedgerBroken, AccountingFailed."""
        charged = self._charged.get(partner, {})
        under = sorted(
            (charter_of(charters, digest, found.first) for digest, found in charged.items()),
            key=lambda charter: charter.epoch,
        )
        epochs = tuple(_epoch(charter, partner, charged[charter.digest].events) for charter in under)
        newest = under[-1] if under else None
        composed = None
        if newest is not None and len({charter.honest for charter in under}) == 1:
            everything: Counter[PrivacyEvent] = Counter()
            for found in charged.values():
                everything.update(found.events)
            composed = _spent(everything, newest.entry(partner).caps.delta, newest.honest)
        return Lifetime(partner=partner, epochs=epochs, summed=_summed(epochs), composed=composed)


def charter_of(charters: Mapping[str, Charter], digest: str, index: int) -> Charter:
    """Rule 5: the charter that the entry of this index is under. Raises LedgerBroken."""
    if digest not in charters:
        raise LedgerBroken(
            index,
            "an entry under a charter that was given",
            f"one under {digest[:16]}",
            "give every charter of the consortium",
        )
    return charters[digest]


def lifetime(entries: Iterable[LedgerEntry], partner: str, charters: Mapping[str, Charter]) -> Lifetime:
    """From verified entries, and every charter that they name, by digest. Raises LedgerBroken, AccountingFailed."""
    return Lifetimes(entries).of(partner, charters)


def _epoch(charter: Charter, partner: str, events: Counter[PrivacyEvent]) -> EpochSpent:
    return EpochSpent(
        charter=charter.digest,
        epoch=charter.epoch,
        honest=charter.honest,
        charged=events.total(),
        spent=_spent(events, charter.entry(partner).caps.delta, charter.honest),
    )


def _spent(events: Counter[PrivacyEvent], delta: float, honest: int) -> Spent:
    counted = figures.counts(events)
    in_sum, alone = (
        figures.epsilon(counted, delta, guarantee, honest) for guarantee in (Guarantee.IN_SUM, Guarantee.ALONE)
    )
    return Spent(delta=delta, in_sum=_stated(in_sum), alone=_stated(alone))


def _summed(epochs: tuple[EpochSpent, ...]) -> Spent:
    return Spent(
        delta=math.fsum(epoch.spent.delta for epoch in epochs),
        in_sum=_stated(math.fsum(_number(epoch.spent.in_sum) for epoch in epochs)),
        alone=_stated(math.fsum(_number(epoch.spent.alone) for epoch in epochs)),
    )


def _number(value: Epsilon) -> float:
    return math.inf if value == INFINITE else float(value)


def _stated(value: float) -> Epsilon:
    return INFINITE if math.isinf(value) else value
