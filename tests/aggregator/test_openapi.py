"""The committed document is the application's."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aggregator.api.openapi import document, written

DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_document_is_current() -> None:
    assert (DOCS / "openapi.json").read_text(encoding="utf-8") == written(), "run `make docs`"


def test_every_reference_leads_somewhere() -> None:
    shown = document()
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(shown)))
    assert names <= set(shown["components"]["schemas"])
    assert "SignedPlan" in names


def test_every_route_of_the_contract_is_served() -> None:
    shown = document()
    served = {
        (verb.upper(), re.sub(r"\{[^}]+\}", "{}", path)) for path, verbs in shown["paths"].items() for verb in verbs
    }
    contract = (DOCS / "http.md").read_text(encoding="utf-8")
    promised = {
        (verb, re.sub(r"\{[^}]+\}", "{}", path.split("?")[0]))
        for verb, path in re.findall(r"`(GET|POST|PUT) (/(?:v1|healthz)[^`]*)`", contract)
    }
    assert promised == served
