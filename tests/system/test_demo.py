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
def test_the_quick_form_of_the_demo(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CHORALE_DEMO_ROUNDS": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out" / "demo"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["partners"] == 6
    assert summary["rounds"] == 3
    assert summary["parameters"] == 2048 * 30
    assert summary["model_hashes_agree"] is True
    assert 0 < summary["epsilon_in_sum"] < 2 < summary["epsilon_alone"] < 8
    assert 2.0 <= summary["upload_bytes_per_parameter"] < 2.2
    methods = {"alone_mlp", "alone_forest", "federated", "federated_no_dp", "pooled"}
    assert set(summary["roc_auc"]["own"]) == set(summary["roc_auc"]["everyone"]) == methods
    everyone = summary["roc_auc"]["everyone"]
    assert everyone["federated"] < everyone["pooled"], "three rounds win nothing: a gate would fail here"
    assert len(list((out / "reports").glob("*/report.html"))) == 6
    assert (out / "results.svg").read_text().startswith("<svg")
