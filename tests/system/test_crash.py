"""Ten deaths by kill -9 of real processes in real rounds, on either database; `make crash` deals out more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.crash import crash

KILLS = 10


@pytest.mark.full
@pytest.mark.system
@pytest.mark.timeout(600)
def test_rounds_outlive_kills(database_url: str, tmp_path: Path) -> None:
    made = crash(tmp_path, KILLS, seed=1, database=database_url)
    assert made.kills == KILLS
    assert made.sums
