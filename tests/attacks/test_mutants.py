"""Each numbered check is needed: without it an attack gets through (`make mutate-checks` tries all)."""

from __future__ import annotations

import pytest

from tests.attacks.mutants import MUTANTS
from tests.attacks.mutate import ROOT, main


def test_every_mutant_fits_the_code_once() -> None:
    for mutant in MUTANTS:
        assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1, mutant.check
        for test in mutant.tests:
            file, _, name = test.partition("::")
            assert file.startswith("tests/attacks/test_"), mutant.check
            assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8"), test


@pytest.mark.full
def test_the_quick_mutants_are_killed() -> None:
    assert main(["--quick"]) == 0
