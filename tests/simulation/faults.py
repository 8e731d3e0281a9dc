"""What goes wrong, when, and how often: each answer is a hash of the seed, the place and a count.

Rules:
1. A decision depends on nothing but the seed, its place and how often that place was asked before. So a seed
   replays, and leaving one fault out (`only`) leaves all others where they were, as far as the run allows: that is
   what lets a failure be shrunk.
2. Faults happen before `heal` alone; from then on every machine and line works.
3. A fault that happened is logged under its name, `place#count`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

Choice = TypeVar("Choice")


@dataclass
class Faults:
    """`only`: names of the faults that may happen; None: all that the seed draws."""

    seed: int
    now: Callable[[], float]
    heal: float
    rates: dict[str, float]
    only: frozenset[str] | None = None
    happened: list[str] = field(default_factory=list)
    _asked: Counter[str] = field(default_factory=Counter)

    def fires(self, kind: str, place: str) -> bool:
        """Whether a fault of this kind happens at this place, this time."""
        name = self._name(f"{kind} {place}")
        if self.now() >= self.heal or self._draw(name) >= self.rates.get(kind, 0.0):
            return False
        if self.only is not None and name not in self.only:
            return False
        self.happened.append(name)
        return True

    def uniform(self, place: str, low: float, high: float) -> float:
        """No fault: how long something takes."""
        return low + (high - low) * self._draw(self._name(place))

    def choose(self, place: str, among: Sequence[Choice]) -> Choice:
        return among[int(self._draw(self._name(place)) * len(among))]

    def _name(self, place: str) -> str:
        self._asked[place] += 1
        return f"{place}#{self._asked[place]}"

    def _draw(self, name: str) -> float:
        raw = sha256(f"{self.seed} {name}".encode()).digest()
        return int.from_bytes(raw[:8], "big") / 2.0**64
