"""What a partner hands back to a service that lost its memory: JSON Lines, each line its own canonical form.

In this order (docs/backups.md):
1. the header, which names the partner;
2. signed messages: the campaigns that it works for; of each attempt the plan, the cohort with its joins, the seal
   and its own confirmation, as far as it came; every checkpoint of the service that it has seen; the checkpoint of
   its own chain, which is the one message made for this file;
3. after a line that says so, entries of the service's chain as they came;
4. after a line that says so, its own chain.
All of it speaks for itself: the service, the operator and partners signed it, or a checkpoint counts it. So the
file needs no signature, and a partner that lies in it can hold back, and harm itself, and no one else.
Here it is only written and read: aggregator/backup/evidence.py says what of it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from privacy.errors import ChoraleError, LedgerBroken
from privacy.ledger.chain import read_line
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.identifiers import PartnerId
from privacy.protocol.messages import (
    Body,
    Campaign,
    Checkpoint,
    Cohort,
    Confirmation,
    Join,
    OwnCheckpoint,
    Plan,
    Seal,
    Signed,
    parse_signed,
)

_HEADER: Final = "chorale/1 handed-back"
_SERVICE: Final = b'{"type":"chorale/1 service-entries"}'
_OWN: Final = b'{"type":"chorale/1 own-entries"}'
_NAME: TypeAdapter[str] = TypeAdapter(PartnerId)
_KINDS: Final[dict[str, type[Body]]] = {
    kind.model_fields["type"].default: kind
    for kind in (Campaign, Plan, Join, Cohort, Seal, Confirmation, Checkpoint, OwnCheckpoint)
}


@dataclass
class HandedBack:
    """One file, read and not verified. messages: by their body's type. entries: the service's, by their place."""

    partner: str
    messages: dict[type[Body], list[Signed[Any]]] = field(default_factory=dict)
    entries: dict[int, bytes] = field(default_factory=dict)
    own: list[LedgerEntry] = field(default_factory=list)

    def of(self, kind: type[Body]) -> list[Signed[Any]]:
        return self.messages.get(kind, [])


def write(
    partner: str, messages: Iterable[bytes], entries: Iterable[bytes], own: Iterable[bytes]
) -> Iterator[bytes]:
    """The lines of the file, each with its line feed."""
    yield canonical({"partner": partner, "type": _HEADER}) + b"\n"
    for message in messages:
        yield message + b"\n"
    yield _SERVICE + b"\n"
    for entry in entries:
        yield entry + b"\n"
    yield _OWN + b"\n"
    for entry in own:
        yield entry + b"\n"


def read(lines: Iterable[bytes]) -> HandedBack:
    """Raises LedgerBroken with the line that is none of this file."""
    numbered = enumerate((line.removesuffix(b"\n") for line in lines), start=1)
    number, header = next(numbered, (1, b""))
    try:
        value = parse(header)
        if not isinstance(value, dict) or value.get("type") != _HEADER:
            raise ValueError("another header")
        found = HandedBack(_NAME.validate_python(value.get("partner")))
    except (ChoraleError, ValidationError, ValueError) as error:
        raise _broken(number, "the header of a file that `recovery` wrote", str(error)) from None
    section: bytes | None = None
    for number, line in numbered:
        if line in (_SERVICE, _OWN):
            section = line
        elif section is None:
            _take_message(found, number, line)
        elif section == _SERVICE:
            entry = read_line(number, line)
            found.entries.setdefault(entry.index, line)
        else:
            found.own.append(read_line(number, line))
    if section != _OWN:
        raise _broken(number + 1, "the partner's own entries at the end", "the end: the file was cut off")
    return found


def _take_message(found: HandedBack, number: int, line: bytes) -> None:
    try:
        value = parse(line)
        body = value.get("body") if isinstance(value, dict) else None
        kind = _KINDS[str(body["type"])] if isinstance(body, dict) else None
        if kind is None:
            raise ValueError("no signed message")
        found.messages.setdefault(kind, []).append(parse_signed(kind, line))
    except (ChoraleError, KeyError, ValueError) as error:
        raise _broken(number, "a signed message that belongs here", str(error)) from None


def _broken(line: int, expected: str, came: str) -> LedgerBroken:
    return LedgerBroken(line, expected, came, "write the file again with `chorale-partner recovery`")
