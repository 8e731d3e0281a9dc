"""One check disabled, and the attacks that must then get through."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`quick`: also tried by `make test-full`."""

    check: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    quick: bool = False
