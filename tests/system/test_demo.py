"""The demo, from an empty folder, for a few rounds: too few to win, and everything else must hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.full
@pytest.mark.system
@pytest.mark.timeout(900)
def test_three_rounds_of_the_demo(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.demo", "--rounds", "3"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert "5/5 results" in done.stdout, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "demo" / "results.json").read_text())
    passed = [gate["passed"] for gate in results["gates"]]
    assert passed[2:] == [True, True, True], "same states, everything verified, no budget overspent"
    assert not all(passed[:2]), "three rounds cannot beat the forests: a gate that passes here cannot fail"
    assert done.returncode == 1
    for spent in results["spent"].values():
        assert 0 < spent["in_sum"] < 2
        assert spent["in_sum"] < spent["alone"]
    assert 2.0 <= results["costs"]["bulk_up_per_parameter"] < 2.2
    assert len(list((tmp_path / "out" / "demo" / "reports").glob("*/report.html"))) == 6
    assert (tmp_path / "out" / "demo" / "results.svg").read_text().startswith("<svg")
