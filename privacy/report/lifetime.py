"""What one participant spent under every charter so far: a record does not forget an epoch (protocol 6.4).

Rules:
1. Each epoch's figures are at the delta of that participant's caps then, with that charter's honest contributors.
2. `capped`: the sums of the charters' own caps and of their deltas. They hold whatever came of one charter made of
   the next, and however rounds were chosen under each (basic composition along every path, arXiv 1605.08294, of
   epsilons fixed before anything runs under them, as caps are, while what was spent is not: decision 15).
   Officers' tighter caps are not in it.
3. `summed`: the sums of what was spent, each epoch's "as if the number of its rounds had been fixed". `composed`:
   all events in one PLD at the newest delta, "as if" for all of them; only where every charter has the same number
   of honest contributors, for else *alone* and *in the sum* mean other attackers.
4. Events of kind *none* count, and make every figure of theirs infinite, `capped` too: no cap covers them. A
   genesis trained from data is one only if it was declared: no ledger shows it by itself (docs/accounting.md).
5. An entry under a charter that was not given is LedgerBroken: half a lifetime is none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import LedgerBroken
from privacy.ledger.entry import CHARGES, LedgerEntry
from privacy.protocol.messages import Charter
from privacy.report import figures
from privacy.report.budget_report import INFINITE, EpochSpent, Epsilon, Lifetime, Spent, stated


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
        if entry.participant is None or entry.budget is None or entry.kind not in CHARGES:
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
            composed = spent(everything, newest.entry(partner).caps.delta, newest.honest)
        return Lifetime(
            partner=partner,
            epochs=epochs,
            capped=_summed([epoch.capped for epoch in epochs]),
            summed=_summed([epoch.spent for epoch in epochs]),
            composed=composed,
        )


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
    caps = charter.entry(partner).caps
    unbounded = any(event.kind == "none" for event in events)
    return EpochSpent(
        charter=charter.digest,
        epoch=charter.epoch,
        honest=charter.honest,
        charged=events.total(),
        spent=spent(events, caps.delta, charter.honest),
        capped=Spent(
            delta=caps.delta,
            in_sum=INFINITE if unbounded else caps.epsilon_in_sum,
            alone=INFINITE if unbounded else caps.epsilon_alone,
        ),
    )


def spent(events: Counter[PrivacyEvent], delta: float, honest: int) -> Spent:
    """What these events cost together under both guarantees, from memory where it was asked before."""
    counted = figures.counts(events)
    in_sum, alone = (
        figures.epsilon(counted, delta, guarantee, honest) for guarantee in (Guarantee.IN_SUM, Guarantee.ALONE)
    )
    return Spent(delta=delta, in_sum=stated(in_sum), alone=stated(alone))


def _summed(parts: Sequence[Spent]) -> Spent:
    return Spent(
        delta=math.fsum(part.delta for part in parts),
        in_sum=stated(math.fsum(_number(part.in_sum) for part in parts)),
        alone=stated(math.fsum(_number(part.alone) for part in parts)),
    )


def _number(value: Epsilon) -> float:
    return math.inf if value == INFINITE else float(value)
