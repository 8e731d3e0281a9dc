"""What epsilon means: how well the best possible attacker tells that one record took part (protocol 6.4).

Rules:
1. At a false-alarm rate f, detection is the minimum over all real epsilon of e^epsilon f + delta(epsilon), for the
   worse of adding and removing the record (Dong, Roth, Su 2019, arXiv 1905.02383, proposition 2.12). From even odds
   it is (1 + delta(0)) / 2, never e^epsilon / (1 + e^epsilon).
2. Every epsilon gives an upper bound and every delta is pessimistic, so each figure is at or above the true one,
   but for the rounding of float64 sums (1e-12).
3. An event of kind *none* lets the attacker always be right; no event at all leaves only guessing.
It speaks of a record that one participant holds. Deltas are accountant.py's, and fail closed as they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from privacy.dp.accountant import Rows, privacy_profile
from privacy.dp.events import Guarantee
from privacy.errors import UnsafeParameters

FALSE_ALARMS: Final = (0.001, 0.01, 0.1)

_LOW = -20.0
"""Below, the sum is 1 but for e^-20, and rounding drowns its slope."""
_RESOLUTION = 4e-3
"""The minimum is flat: this width of bracket moves it by less than 1e-5 of itself."""
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class AttackPower:
    """at: (false-alarm rate, detection rate) pairs. even_odds: the chance to be right where both are as likely."""

    at: tuple[tuple[float, float], ...]
    even_odds: float


def attack_power(rows: Rows, guarantee: Guarantee, honest: int) -> AttackPower:
    """The best attacker against all rows (event, count) together, honest = n_min - c. Raises AccountingFailed."""
    delta = privacy_profile(rows, guarantee, honest)
    return AttackPower(tuple((rate, _detection(delta, rate)) for rate in FALSE_ALARMS), (1.0 + delta(0.0)) / 2.0)


def detection(rows: Rows, false_alarm: float, guarantee: Guarantee, honest: int) -> float:
    """The largest chance to detect a record that took part, at this chance to accuse one that did not.

    Raises UnsafeParameters unless false_alarm is in [1e-9, 1]; AccountingFailed.
    """
    if not 1e-9 <= false_alarm <= 1:
        raise UnsafeParameters("a false-alarm rate from 1e-9 to 1", str(false_alarm), "choose one in between")
    return _detection(privacy_profile(rows, guarantee, honest), false_alarm)


def _detection(delta: Callable[[float], float], false_alarm: float) -> float:
    """Golden-section search: the sum is convex in e^epsilon, so in epsilon it falls and then rises.

    Where e^epsilon f passes 1 nothing is to be found: detection is at most 1.
    """

    def bound(epsilon: float) -> float:
        return math.exp(epsilon) * false_alarm + delta(epsilon)

    low, high = _LOW, -math.log(false_alarm)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = bound(left), bound(right)
    best = min(1.0, bound(0.0), at_left, at_right)
    while high - low > _RESOLUTION:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = bound(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = bound(right)
        best = min(best, at_left, at_right)
    return max(false_alarm, best)
