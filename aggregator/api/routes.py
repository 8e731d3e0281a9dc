"""What every route is declared with: who reads which model from a body, and what the document says of answers.

FastAPI's own body parsing is not used: a body is authentic before it is parsed, and a message must be canonical.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Path
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from aggregator.api.models import Problem
from privacy.errors import MalformedMessage
from privacy.protocol.http_contract import FRAME_TYPE, MESSAGE_TYPE, PROBLEM_TYPE
from privacy.protocol.identifiers import Digest, PartnerId

DigestPath = Annotated[Digest, Path()]
PartnerPath = Annotated[PartnerId, Path()]
IndexPath = Annotated[int, Path(ge=0, le=1 << 20)]
BULK_TYPE = "application/octet-stream"
LINES_TYPE = "application/jsonl"

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_model(model: type[ModelT], raw: bytes) -> ModelT:
    """A request's JSON. Raises MalformedMessage."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(
            f"a body of schema {model.__name__}", f"{where}: {first['msg']}", "compare with docs/openapi.json"
        ) from None


def answer(value: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(value, status_code=status)


def message(raw: bytes, status: int = 200) -> Response:
    """A stored message, the bytes that came or were signed."""
    return Response(raw, status_code=status, media_type=MESSAGE_TYPE)


def raw_bytes(data: bytes) -> Response:
    return Response(data, media_type=BULK_TYPE)


TOO_MANY: dict[str, Any] = {
    "description": "More requests than one identity, or one address, may send (docs/limits.md)",
    "headers": {
        "Retry-After": {
            "description": "Seconds until the next may come.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def answers(model: type[BaseModel] | str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: a model, or the media type of raw bytes."""
    if isinstance(model, str):
        shown: dict[str, Any] = {"content": {model: {"schema": {"type": "string", "format": "binary"}}}}
    else:
        shown = {"content": {MESSAGE_TYPE: {"schema": reference(model)}}}
    failed = {"description": "A problem", "content": {PROBLEM_TYPE: {"schema": reference(Problem)}}}
    return {status: {"description": "Done", **shown}, 429: TOO_MANY, "default": failed}


def takes(model: type[BaseModel], *, framed: bool = False) -> dict[str, Any]:
    """For a route's `openapi_extra`: the body it reads, framed with bytes behind it or alone."""
    if framed:
        schema = {
            "type": "string",
            "format": "binary",
            "description": f"u32 little-endian length, {schema_name(model)} in canonical JSON, bytes",
        }
        return {"requestBody": {"required": True, "content": {FRAME_TYPE: {"schema": schema}}}}
    return {"requestBody": {"required": True, "content": {MESSAGE_TYPE: {"schema": reference(model)}}}}


def takes_bytes() -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "content": {BULK_TYPE: {"schema": schema}}}}


DOCUMENTED: dict[str, type[BaseModel]] = {}
"""Models that routes refer to, by the name they have in the document."""


def schema_name(model: type[BaseModel]) -> str:
    return model.__name__.replace("[", "").replace("]", "")


def reference(model: type[BaseModel]) -> dict[str, str]:
    name = schema_name(model)
    DOCUMENTED[name] = model
    return {"$ref": f"#/components/schemas/{name}"}
