"""The machine-readable form of docs/http.md: `python -m aggregator.api.openapi docs/openapi.json` writes it.

Bodies are parsed by hand, after they are authentic, so their schemas are added here from the models routes name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from aggregator.api import accounts, bulk, campaigns, constitution, ledger, reports, rounds
from aggregator.api.routes import DOCUMENTED
from privacy.protocol.http_contract import (
    DIGEST_HEADER,
    IDENTITY_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    TIME_HEADER,
)

ROUTERS: tuple[APIRouter, ...] = (
    constitution.router,
    campaigns.router,
    rounds.router,
    bulk.router,
    ledger.router,
    reports.router,
    accounts.router,
)
_UNSIGNED = frozenset({("/v1/about", "get"), ("/healthz", "get"), ("/v1/enrolments", "post")})
_HEADERS = (IDENTITY_HEADER, TIME_HEADER, NONCE_HEADER, DIGEST_HEADER, SIGNATURE_HEADER)


def document() -> dict[str, Any]:
    """The OpenAPI document of the API, without the console's pages."""
    app = FastAPI(title=constitution.NAME, version=constitution.VERSION)
    for router in ROUTERS:
        app.include_router(router)
    shown = get_openapi(
        title=constitution.NAME,
        version=constitution.VERSION,
        description="Routes are explained in docs/http.md, messages in docs/protocol.md.",
        routes=app.routes,
    )
    schemas = shown.setdefault("components", {}).setdefault("schemas", {})
    for name, model in sorted(DOCUMENTED.items()):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        # A definition may be a documented model under pydantic's own name for it; both names stay.
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    shown["components"]["securitySchemes"] = {
        name: {"type": "apiKey", "in": "header", "name": name} for name in _HEADERS
    }
    for path, operations in shown["paths"].items():
        for verb, operation in operations.items():
            if (path, verb) not in _UNSIGNED:
                operation["security"] = [{name: [] for name in _HEADERS}]
    return shown


def written() -> str:
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(written(), encoding="utf-8")
