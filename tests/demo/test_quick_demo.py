"""The quick form of the demo: too few rounds to win, and everything else must hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.full, pytest.mark.system, pytest.mark.timeout(1800)]


def test_the_summary_and_the_reports(demo: Path) -> None:
    summary = json.loads((demo / "summary.json").read_text())
    assert summary["partners"] == 6
    assert summary["rounds"] == 2
    assert summary["parameters"] == 2048 * 30
    assert summary["model_hashes_agree"] is True
    assert 0 < summary["epsilon_in_sum"] < summary["epsilon_alone"] < 8
    assert 2.0 <= summary["upload_bytes_per_parameter"] < 2.2
    methods = {"alone_mlp", "alone_forest", "federated", "federated_no_dp", "pooled"}
    assert set(summary["roc_auc"]["own"]) == set(summary["roc_auc"]["everyone"]) == methods
    everyone = summary["roc_auc"]["everyone"]
    assert everyone["federated"] < everyone["pooled"], "two rounds win nothing: a gate would fail here"
    assert len(list((demo / "reports").glob("*/report.html"))) == 6
    assert (demo / "results.svg").read_text().startswith("<svg")
