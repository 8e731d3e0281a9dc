"""The accountant's answers for a list of events, each computed once in a process.

Rules:
1. What was asked before is answered from memory: participants who took part in the same rounds share figures.
2. Infinity is a figure (kind *none*); a failure of the accountant is not: AccountingFailed passes through.
These calls take tens of milliseconds each when new: whoever serves requests calls them from a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from privacy.dp import accountant, planner
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.trade_off import attack_power

Counts = tuple[tuple[PrivacyEvent, int], ...]


def counts(events: Iterable[PrivacyEvent] | Counter[PrivacyEvent]) -> Counts:
    """Events and how often each happened, in one order whatever order they came in."""
    counted = events if isinstance(events, Counter) else Counter(events)
    return tuple(sorted(counted.items(), key=lambda item: item[0].model_dump_json()))


@lru_cache(maxsize=8192)
def epsilon(spent: Counts, delta: float, guarantee: Guarantee, honest: int) -> float:
    """Epsilon at `delta` of these events; math.inf if one is of kind *none*."""
    return accountant.epsilon(spent, delta, guarantee, honest)


@lru_cache(maxsize=4096)
def even_odds(spent: Counts, guarantee: Guarantee, honest: int) -> float:
    """The best chance, from even odds, to tell whether one record took part: (1 + delta(0)) / 2."""
    if not any(count for _, count in spent):
        return 0.5
    return accountant.even_odds(spent, guarantee, honest)


@lru_cache(maxsize=1024)
def detections(spent: Counts, guarantee: Guarantee, honest: int) -> tuple[tuple[float, float], ...]:
    """(false-alarm rate, detection rate) pairs of the best attacker."""
    return attack_power(spent, guarantee, honest).at


@lru_cache(maxsize=1024)
def epsilon_for_copies(spent: Counts, delta: float, guarantee: Guarantee, honest: int, copies: int) -> float:
    """Epsilon for a record that several participants hold; about a second where it is new."""
    return accountant.epsilon_for_copies(spent, delta, guarantee, honest, copies)


@lru_cache(maxsize=64)
def plan_curve(event: PrivacyEvent, delta: float, honest: int, rounds: int) -> tuple[planner.PlanPoint, ...]:
    """Epsilon against rounds of this event; about a second where it is new."""
    return planner.plan_curve(event, delta, honest, rounds)


@lru_cache(maxsize=256)
def rounds_within(
    event: PrivacyEvent, delta: float, guarantee: Guarantee, honest: int, cap: float, most: int
) -> int:
    """How many rounds of this event a cap lets through, `most` at most."""
    return planner.rounds_within(event, delta, guarantee, honest, cap, most)
