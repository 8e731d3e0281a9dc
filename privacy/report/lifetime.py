"""What one participant spent under every charter so far: a record does not forget an epoch (protocol 6.4).

Rules:
1. Each epoch's figures are at the delta of that participant's caps then, with that charter's honest contributors.
2. `summed`: the sums of epsilons and of deltas. They hold always, whatever one charter's outcome made of the next.
3. `composed`: all events in one PLD at the newest delta, "as if the number of rounds had been fixed"; only where
   every charter has the same number of honest contributors, for else *alone* and *in the sum* mean other attackers.
4. Events of kind *none* count, and make every figure of theirs infinite: so does a genesis trained from data.
5. An entry under a charter that was not given is LedgerBroken: half a lifetime is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import LedgerBroken
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.identifiers import Digest, Model, PartnerId
from privacy.protocol.messages import Charter, Count, Positive
from privacy.report import figures
from privacy.report.budget_report import INFINITE, Epsilon


class Spent(Model):
    """Both guarantees at one delta."""

    delta: Annotated[float, Field(ge=0)]
    in_sum: Epsilon
    alone: Epsilon


class EpochSpent(Model):
    charter: Digest
    epoch: Positive
    honest: Positive
    charged: Count
    spent: Spent


class Lifetime(Model):
    partner: PartnerId
    epochs: tuple[EpochSpent, ...]
    summed: Spent
    composed: Spent | None


def lifetime(entries: Iterable[LedgerEntry], partner: str, charters: Mapping[str, Charter]) -> Lifetime:
    """From verified entries, and every charter that they name, by digest. Raises LedgerBroken, AccountingFailed."""
    events: dict[str, list[PrivacyEvent]] = {}
    for entry in entries:
        if entry.participant != partner or entry.budget is None or entry.kind not in ("charge", "recovered"):
            continue
        if entry.charter not in charters:
            raise LedgerBroken(
                entry.index,
                "an entry under a charter that was given",
                f"one under {entry.charter[:16]}",
                "give every charter of the consortium",
            )
        events.setdefault(entry.charter, []).append(entry.budget.event)
    under = sorted((charters[digest] for digest in events), key=lambda charter: charter.epoch)
    epochs = tuple(_epoch(charter, partner, events[charter.digest]) for charter in under)
    everything = [event for charter in under for event in events[charter.digest]]
    newest = under[-1] if under else None
    composed = None
    if newest is not None and len({charter.honest for charter in under}) == 1:
        composed = _spent(everything, newest.entry(partner).caps.delta, newest.honest)
    return Lifetime(partner=partner, epochs=epochs, summed=_summed(epochs), composed=composed)


def _epoch(charter: Charter, partner: str, events: list[PrivacyEvent]) -> EpochSpent:
    return EpochSpent(
        charter=charter.digest,
        epoch=charter.epoch,
        honest=charter.honest,
        charged=len(events),
        spent=_spent(events, charter.entry(partner).caps.delta, charter.honest),
    )


def _spent(events: list[PrivacyEvent], delta: float, honest: int) -> Spent:
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
