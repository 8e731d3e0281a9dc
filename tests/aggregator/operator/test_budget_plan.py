"""`chorale-server budget-plan`: it needs no service and no key, and what it proposes becomes a charter's row."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.operator.budget_plan import propose
from privacy.dp.planner import BudgetTerms
from privacy.errors import UnsafeParameters

ARGUMENTS = ["budget-plan", "--target-epsilon", "3", "--rounds", "300", "--records", "20000"]


@pytest.mark.full
def test_json_holds_a_plan_that_keeps_its_bounds() -> None:
    result = CliRunner().invoke(
        app, [*ARGUMENTS, "--sampling-rate", "0.05", "--n-min", "3", "--cap-alone", "30", "--json"]
    )
    assert result.exit_code == 0, result.output
    plan = json.loads(result.output)
    assert plan["delta"] == 5e-6
    assert plan["epsilon_in_sum"] <= 3.0
    assert plan["epsilon_alone"] <= 30.0
    assert plan["expected_batch"] == 1000
    assert (plan["lane_width"], plan["bytes_per_parameter"]) == (12, 2.0)
    assert plan["upload_bytes"] == math.ceil((1_000_000 + 1024) / 4 / 4096) * 4096 * 8
    assert 0.5 < plan["even_odds"] < 0.7
    assert [bound["name"] for bound in plan["bounds"] if bound["binds"]] == plan["binding"]
    assert plan["binding"] == ["cap in the sum", "lane"]


def test_people_read_the_row_and_what_binds() -> None:
    result = CliRunner().invoke(app, [*ARGUMENTS, "--sampling-rate", "0.05"])
    assert result.exit_code == 0, result.output
    for text in ("noise multiplier", "epsilon alone", "binds", "[[table]]", "count = 300"):
        assert text in result.output


@pytest.mark.parametrize(
    ("contributors", "n_min", "colluders", "expected"),
    [(10, 2, 1, "n_min >= c"), (10, 11, 1, "a cohort of at least"), (1001, 900, 1, "1 to 1000 contributors")],
)
def test_sizes_that_no_charter_may_have_are_refused(
    contributors: int, n_min: int, colluders: int, expected: str
) -> None:
    terms = BudgetTerms(3.0, 300, 20_000, contributors, n_min - colluders, 1000, sampling_rate=0.05)
    with pytest.raises(UnsafeParameters, match=expected):
        propose(terms, n_min, colluders)
