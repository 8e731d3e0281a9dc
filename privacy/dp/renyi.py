"""The Renyi filter: a budget for events that cannot be foreseen, at one order fixed in the charter (protocol 6.4).

Rules:
1. The order alpha is fixed before the first event. An event is refused if the sum of the Renyi divergences of
   order alpha of all that happened, with it, would pass the bound: then what happened holds the cap however the
   events were chosen (the Renyi filter of Feldman and Zrnic 2021, arXiv 2008.11193).
2. The bound of a cap (epsilon, delta) is the divergence that converts to it: Canonne, Kamath, Steinke 2020
   (arXiv 2004.00010, proposition 12): epsilon = R + log((alpha - 1) / alpha) - log(alpha delta) / (alpha - 1).
   The best of several orders would need a share of delta for each; a running PLD is no filter at all.
3. alpha is an integer: the divergence of a sampled Gaussian is then a finite sum of positive terms (Mironov,
   Talwar, Zhang 2019, arXiv 1908.10530, section 3.3). It is dp_accounting's, and fails closed as the accountant.
4. Events of kind *none* claim nothing and are left out, as they are of the table.
Sums are taken over counts by exact summation, so the order of events moves no decision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field

from privacy.dp.accountant import IMPLEMENTATION_SHARE, SMALLEST_DELTA, Rows
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import AccountingFailed, UnsafeParameters

LARGEST_ORDER: Final = 512

Order = Annotated[int, Field(ge=2, le=LARGEST_ORDER)]

LARGEST_TRIED: Final = 64
"""Above, an order serves only epsilons far below 1."""

_MOST_EVENTS = 1 << 40
_ROUNDING = 1e-14
"""Added to each divergence: above what float64 loses in its sum of terms."""
_REMEDY = "do not go on with these parameters: choose a lower order, or more noise"


@dataclass(frozen=True)
class RenyiFilter:
    """One participant's filter. bounds: the divergence that each guarantee's cap allows. honest: h = n_min - c."""

    order: int
    honest: int
    bounds: tuple[tuple[Guarantee, float], ...]

    @classmethod
    def of_caps(cls, order: int, epsilons: Mapping[Guarantee, float], delta: float, honest: int) -> RenyiFilter:
        """Raises UnsafeParameters where this order leaves a cap no room at all; AccountingFailed on delta."""
        bounds = tuple((guarantee, bound(order, epsilons[guarantee], delta)) for guarantee in Guarantee)
        return cls(order, honest, bounds)

    def has_room(self, rows: Rows) -> bool:
        """Whether all of rows (event, count) together stay within both bounds."""
        return all(self.spent(rows, guarantee) <= limit for guarantee, limit in self.bounds)

    def spent(self, rows: Rows, guarantee: Guarantee) -> float:
        """The sum of divergences of all rows under one guarantee."""
        return math.fsum(count * self._cost(event, guarantee) for event, count in rows if event.kind != "none")

    def share(self, rows: Rows) -> float:
        """How much of rows, in their own proportions, both bounds allow; math.inf where rows cost nothing."""
        spent = [(self.spent(rows, guarantee), limit) for guarantee, limit in self.bounds]
        return min(limit / cost if cost else math.inf for cost, limit in spent)

    def room_for(self, rows: Rows, event: PrivacyEvent) -> int:
        """How many more times `event` fits after rows; 2^40 where it costs nothing."""
        if event.kind == "none":
            return _MOST_EVENTS
        left = _MOST_EVENTS
        for guarantee, limit in self.bounds:
            cost = self._cost(event, guarantee)
            left = min(left, max(0, math.floor((limit - self.spent(rows, guarantee)) / cost)))
        while left and not self.has_room((*rows, (event, left))):
            left -= 1  # the division may round up by one
        return left

    def _cost(self, event: PrivacyEvent, guarantee: Guarantee) -> float:
        multiplier = event.noise_multiplier_for(guarantee, self.honest)
        return event.steps * divergence(self.order, multiplier, event.sampling_rate)


def bound(order: int, epsilon: float, delta: float) -> float:
    """The Renyi divergence of this order that converts to (epsilon, delta), by rule 2.

    The accountant's share of delta for the implementation is set aside here as well. Raises UnsafeParameters where
    nothing is left of it.
    """
    if not SMALLEST_DELTA <= delta < 1:
        raise AccountingFailed(
            f"a delta from {SMALLEST_DELTA} to below 1", str(delta), "choose at most 1 / (10 x number of records)"
        )
    usable = delta * (1 - IMPLEMENTATION_SHARE)
    found = epsilon - math.log1p(-1 / order) + math.log(order * usable) / (order - 1)
    if not found > 0:
        raise UnsafeParameters(
            f"an order at which epsilon {epsilon:g} at delta {delta:g} allows anything",
            f"order {order}, whose conversion alone costs {epsilon - found:.3f}",
            "choose a higher order, or a larger cap",
        )
    return found


@lru_cache(maxsize=4096)
def divergence(order: int, multiplier: float, rate: float) -> float:
    """The Renyi divergence of one sampled Gaussian, for the worse of adding and removing a record.

    Raises AccountingFailed on anything but a finite positive number.
    """
    # Imported at the first question: it takes a second, and most commands ask none.
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    if not 2 <= order <= LARGEST_ORDER:
        raise UnsafeParameters(f"an order from 2 to {LARGEST_ORDER}", str(order), "fix another in the charter")
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(multiplier))
    try:
        found = float(RdpAccountant(orders=[float(order)]).compose(event).rdp[0])
    except Exception as error:  # whatever the library raises, there is no number to rely on
        raise AccountingFailed("a divergence", f"{type(error).__name__}: {error}", _REMEDY) from error
    if not (math.isfinite(found) and found > 0):
        raise AccountingFailed("a finite divergence above 0", str(found), _REMEDY)
    return found + _ROUNDING


@dataclass(frozen=True)
class OrderChoice:
    """The order at which most of the rows fit: `share` of them, in their own proportions, where caps are tightest.

    beside: (order, share) of its neighbours that were tried, which leave no more.
    """

    order: int
    share: float
    beside: tuple[tuple[int, float], ...]


def best_order(rows: Rows, caps: Iterable[tuple[Mapping[Guarantee, float], float]], honest: int) -> OrderChoice:
    """The order from 2 to LARGEST_TRIED to fix for these rows (event, count), before any of them happens (rule 1).

    caps: (epsilons by guarantee, delta) of each participant. An order at which some row could not happen once is
    passed over; of equal ones it is the least. Raises UnsafeParameters where no order is left, AccountingFailed on
    a delta.
    """
    distinct = {(tuple(epsilons[guarantee] for guarantee in Guarantee), delta) for epsilons, delta in caps}
    shares: dict[int, float] = {}
    for order in range(2, LARGEST_TRIED + 1):
        try:
            filters = [
                RenyiFilter.of_caps(order, dict(zip(Guarantee, epsilons, strict=True)), delta, honest)
                for epsilons, delta in distinct
            ]
        except UnsafeParameters:
            continue
        if all(kept.room_for((), event) for kept in filters for event, _ in rows):
            shares[order] = min(kept.share(rows) for kept in filters)
    if not shares:
        raise UnsafeParameters(
            f"an order from 2 to {LARGEST_TRIED} at which each row fits every partner's caps once",
            "none",
            "raise the noise of the row that costs most, or agree on other caps",
        )
    best = max(shares, key=lambda order: shares[order])
    beside = tuple((order, shares[order]) for order in (best - 1, best + 1) if order in shares)
    return OrderChoice(best, shares[best], beside)
