"""The checks that the protocol numbers, each with what disables it and the attacks that must then get through.

Rules:
1. One mutant disables one check, in one place: `old` stands exactly once in `file` and becomes `new`.
2. `tests` are attacks of this folder: red under the mutant, and green without it.
"""

from __future__ import annotations

from typing import Final

from tests.attacks.mutants.edges import EDGES
from tests.attacks.mutants.mutant import Mutant
from tests.attacks.mutants.opening import OPENING
from tests.attacks.mutants.results import RESULTS
from tests.attacks.mutants.terms import TERMS

__all__ = ["MUTANTS", "Mutant"]

MUTANTS: Final = (*OPENING, *TERMS, *RESULTS, *EDGES)
