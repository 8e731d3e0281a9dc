"""Canonical JSON (RFC 8785): the one form in which messages are hashed, signed and sent.

Rules:
1. What is not byte for byte its own canonical form is refused, so a message has one hash.
2. Binary fields are lowercase hex. Integers above 2^53 - 1 are decimal strings: a JSON number would be rounded.
3. Size and nesting are bounded before anything is parsed.
4. Common values are written here, for ledgers are long; numbers with a fraction and whatever is out of the ordinary
   by rfc8785, to which a property test holds the rest equal.
It does not know any schema; `messages` does.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

import rfc8785

from privacy.errors import MalformedMessage, TooLarge

MAX_MESSAGE_BYTES = 4 << 20
MAX_DEPTH = 12


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value (dict, list, str, int, float, bool, None)."""
    try:
        return _written(value).encode("utf-8")
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedMessage(
            "a value that canonical JSON can hold",
            str(error),
            "write integers beyond 2^53 - 1 as decimal strings; leave out NaN, infinities and lone surrogates",
        ) from error


_MAX_INTEGER = (1 << 53) - 1


def _written(value: Any) -> str:
    # Exact types: a subclass could print as something else than it is.
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int and -_MAX_INTEGER <= value <= _MAX_INTEGER:
        return str(value)
    if kind is dict:
        # Keys in the order of their UTF-16 code units, which for ASCII is Python's own.
        if _ascii_names(value):
            members = [f"{encode_basestring(name)}:{_written(value[name])}" for name in sorted(value)]
            return "{" + ",".join(members) + "}"
    elif kind is list or kind is tuple:
        return "[" + ",".join([_written(item) for item in value]) + "]"
    elif kind is float:
        return _number(value)
    elif value is None:
        return "null"
    elif kind is bool:
        return "true" if value else "false"
    return rfc8785.dumps(value).decode("utf-8")


def _ascii_names(value: dict[Any, Any]) -> bool:
    try:
        return "".join(value).isascii()
    except TypeError:
        return False


@lru_cache(maxsize=1024)
def _number(value: float) -> str:
    return rfc8785.dumps(value).decode("ascii")


def digest(data: bytes) -> str:
    """SHA-256 in lowercase hex."""
    return hashlib.sha256(data).hexdigest()


def parse(raw: bytes, limit: int = MAX_MESSAGE_BYTES) -> Any:
    """The JSON value of `raw`, which must be its own canonical form."""
    if len(raw) > limit:
        raise TooLarge(f"a message of at most {limit} bytes", f"{len(raw)} bytes", "send it in smaller parts")
    check_depth(raw, MAX_DEPTH)
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, UnicodeDecodeError) as error:
        raise MalformedMessage("canonical JSON in UTF-8", str(error), "send RFC 8785 output") from error
    if canonical(value) != raw:
        raise MalformedMessage(
            "JSON in its canonical form (RFC 8785)",
            "JSON with other spacing, key order or number format",
            "canonicalise before signing and sending",
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object names a key twice")
    return value


# A whole string, or one cut off by the end: possessive, so that it always matches and never looks twice; what has
# no backslash in it in one stride.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+\\?"?', re.DOTALL)
_BRACKETS = re.compile(rb"[][{}]")


def check_depth(raw: bytes, limit: int) -> None:
    """Bound nesting in linear time and without recursion, so that a depth bomb never reaches the parser.

    Raises MalformedMessage.
    """
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            raise MalformedMessage(
                f"JSON nested at most {limit} deep", "deeper nesting", "send a message of this protocol"
            )
