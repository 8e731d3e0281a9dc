"""How numbers and times are written for people, on pages and in print alike. Epsilons: charts.number."""

from __future__ import annotations

import math
import time

from privacy.report.budget_report import Epsilon

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(value: Epsilon) -> str:
    """A number as it was written: caps, noise multipliers, rates."""
    return "∞" if isinstance(value, str) else f"{value:.6g}"


def delta(value: float) -> str:
    """1e-05 as 1 × 10⁻⁵."""
    mantissa, exponent = f"{value:.2e}".split("e")
    power = str(int(exponent)).translate(_SUPERSCRIPTS)
    return f"{float(mantissa):g} × 10{power}"


def percent(chance: float) -> str:
    """In percent, rounded up: a bound that is rounded down would promise too much. Two digits below 10 %."""
    value = chance * 100 - 1e-9
    digits = 0 if value > 9.9 else 1 if value > 1 else 2
    return f"{min(100.0, max(0.0, math.ceil(value * 10**digits) / 10**digits)):g}"


def utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def timestamp(seconds: int) -> str:
    """RFC 3339, for machines."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
