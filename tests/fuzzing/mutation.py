"""One change of bytes into others that a parser may get further with than with noise.

Rules:
1. JSON, alone or a line of many or the head of a frame, mostly stays canonical: one value becomes one that is out
   of the ordinary, or one of another place; then numbers and keys are written as the protocol writes them.
2. Other bytes are cut, doubled, exchanged with another seed's, or set to the ends of their range.
3. The same seed of the generator is the same change.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from privacy.errors import MalformedMessage
from privacy.protocol.canonical import canonical

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**53 - 1,
    2**53,
    -(2**63),
    10**400,
    0.5,
    -0.0,
    float("inf"),
    float("nan"),
    5e-324,
    1e308,
    "",
    "\x00",
    "a" * 5000,
    "../../x",
    "\ud800",
    "\u202e\u0430",
    "NaN",
    "9" * 6000,
    "0" * 64,
    "server",
    [],
    {},
    [[]],
    {"": None},
)


def mutated(raw: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        raw = _once(raw, others, chance)
    return raw


def _once(raw: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    if chance.random() < 0.7:
        lines = raw.split(b"\n")
        place = chance.randrange(len(lines))
        if lines[place][:1] in (b"{", b"["):
            lines[place] = _json(lines[place], chance)
            return b"\n".join(lines)
        if raw[4:5] == b"{":
            end = 4 + int.from_bytes(raw[:4], "little")
            message = _json(raw[4:end], chance)
            return len(message).to_bytes(4, "little") + message + raw[end:]
    return _bytes(raw, others, chance)


def _json(raw: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    places = list(_places(value))
    if not places:
        return raw
    holder, name = chance.choice(places)
    kind = chance.random()
    if kind < 0.4:
        holder[name] = _like(holder[name], chance)
    elif kind < 0.65:
        holder[name] = chance.choice(ODD)
    elif kind < 0.8:
        other, at = chance.choice(places)
        holder[name] = json.loads(json.dumps(other[at]))
    elif kind < 0.9:
        del holder[name]
    elif isinstance(holder, list):
        holder.insert(name, holder[name])
    else:
        holder[chance.choice(("", "type", "body", "\u00e9", name + "s"))] = holder[name]
    try:
        return canonical(value)
    except (MalformedMessage, RecursionError):
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _like(value: Any, chance: random.Random) -> Any:
    """Another value of the same type and form: what a schema lets pass."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice((0, 1, value + 1, max(0, value - 1), 2 * value, 1000, 2**53 - 1))
    if isinstance(value, float):
        return chance.choice((value / 2, value * 2, 1.0, 0.5, 5e-324, 1e-300, 1e6, 1e308))
    if isinstance(value, str):
        if value and not set(value) - set("0123456789abcdef"):
            return chance.choice(("0" * len(value), "f" * len(value), "".join(reversed(value))))
        return chance.choice((value + "a", value[:-1], value.upper(), "server", "operator", "none", "statistics"))
    if isinstance(value, list):
        return chance.choice((value[::-1], value[:1], value[1:], value * 2, []))
    return {}


def _places(node: Any) -> Any:
    """(holder, key) of every value below `node`; a signature's digits are one value."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in list(below):
        yield node, name
        yield from _places(value)


def _bytes(raw: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    first, second = sorted((chance.randint(0, len(raw)), chance.randint(0, len(raw))))
    kind = chance.randrange(7)
    if kind == 0:
        return raw[:first] + raw[second:]
    if kind == 1:
        return raw[:second] + raw[first:]
    if kind == 2:
        return raw[:first] + bytes((chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x5B, 0x22)),)) + raw[first + 1 :]
    if kind == 3:
        return raw[:first] + bytes((0xFF,)) * chance.choice((1, 4, 8)) + raw[first:]
    if kind == 4:
        piece = chance.choice(others)
        return raw[:first] + piece[chance.randint(0, len(piece)) :]
    if kind == 5:
        return (
            raw[:first]
            + chance.choice((b"[", b'{"a":', b"x = [", b"\xf0")) * chance.choice((1, 9, 20_000))
            + raw[second:]
        )
    return raw[:first] + chance.randbytes(chance.choice((1, 8, 40))) + raw[second:]
