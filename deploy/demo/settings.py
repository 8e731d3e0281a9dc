"""Every constant of the demo, in one place, with where it came from. Nothing here computes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DealSettings:
    """How compounds are dealt; two equal values give the same deal on any machine."""

    seed: int = 1
    partners: int = 6
    test_fraction: float = 0.2
    validation_fraction: float = 0.2
