"""The JSON report's schema: `python -m privacy.report.schema docs/schemas/budget-report.json` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from privacy.report.budget_report import BudgetReport


def document() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:chorale:schema:budget-report:1",
        **BudgetReport.model_json_schema(mode="serialization"),
    }


def written() -> str:
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(written(), encoding="utf-8")
