"""docs/openapi.json, as a generator can work from it.

Rules:
1. Keys, signatures and digests have one length and no structure that a guess could hit: each becomes a choice among
   real ones and a false one. (Of 6,618 hexadecimal digits no generator gets far.)
2. A frame is generated as the message in it; what is behind the message comes when it is sent (sending.py).
3. A message's type is always written out, as the service asks for.
4. Lists are short.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

from privacy.protocol.http_contract import FRAME_TYPE, MESSAGE_TYPE

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8")
)
MAX_ITEMS = 4
_HEX = re.compile(r"\^\[0-9a-f\]\{(\d+)\}\$")
_FRAMED = re.compile(r"length, (\w+) in canonical JSON")


def framed_routes() -> set[tuple[str, str]]:
    """(method, path) of the routes that take a frame."""
    return {
        (verb.upper(), path)
        for path, verbs in DOCUMENT["paths"].items()
        for verb, route in verbs.items()
        if FRAME_TYPE in route.get("requestBody", {}).get("content", {})
    }


def generable(known: set[str]) -> dict[str, Any]:
    """The document under the rules above. known: hexadecimal values that are real somewhere."""
    document = copy.deepcopy(DOCUMENT)
    for verbs in document["paths"].values():
        for route in verbs.values():
            content = route.get("requestBody", {}).get("content", {})
            if FRAME_TYPE in content:
                named = _FRAMED.search(content.pop(FRAME_TYPE)["schema"]["description"])
                assert named is not None
                content[MESSAGE_TYPE] = {"schema": {"$ref": f"#/components/schemas/{named[1]}"}}
            # Who asks is decided when the request is sent.
            route.pop("security", None)
    document["components"].pop("securitySchemes")
    _choose(document, known)
    return document


def _choose(node: Any, known: set[str]) -> None:
    if isinstance(node, dict):
        length = _HEX.fullmatch(str(node.get("pattern")))
        if length is not None:
            digits = int(length[1])
            del node["pattern"]
            node["enum"] = [*sorted(one for one in known if len(one) == digits)[:8], "ab" * (digits // 2)]
        members = node.get("properties", {})
        fixed = [name for name, member in members.items() if isinstance(member, dict) and "const" in member]
        if fixed:
            node["required"] = sorted({*node.get("required", []), *fixed})
        if node.get("type") == "array" and "prefixItems" not in node:
            node["maxItems"] = max(MAX_ITEMS, node.get("minItems", 0))
        for value in node.values():
            _choose(value, known)
    elif isinstance(node, list):
        for value in node:
            _choose(value, known)
