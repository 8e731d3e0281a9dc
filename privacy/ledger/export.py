"""A ledger as a file that carries all it takes to verify it: JSON Lines, each line its own canonical form.

In this order (docs/ledger.md):
1. the header, which says whose chain it is: `service`, the consortium's; `own`, one partner's;
2. each charter, the oldest first, and the acceptances of it, by partner: of the whole roster for the service's
   chain, of the exporting partner for its own;
3. the checkpoint: the service's over its chain; for an own chain the partner's (`chorale/1 own-checkpoint`);
4. for the service's chain, the countersignatures: by charter, then by partner, each one's newest confirmation;
5. the entries, up to the one that the checkpoint names.
What signs stands before what is signed, so that a reader holds no entry for longer than its turn.
It writes and splits lines; verification.py says whether they are true. It opens no file: streams are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final, Literal

from privacy.errors import LedgerBroken
from privacy.protocol.canonical import MAX_MESSAGE_BYTES
from privacy.protocol.messages import (
    BodyT,
    Charter,
    CharterAcceptance,
    Checkpoint,
    Confirmation,
    OwnCheckpoint,
    Signed,
    parse_signed,
)

_PAGE: Final = 1000
Chain = Literal["service", "own"]
HEADERS: Final[dict[bytes, Chain]] = {
    b'{"chain":"service","type":"chorale/1 ledger-export"}': "service",
    b'{"chain":"own","type":"chorale/1 ledger-export"}': "own",
}


def service_export(
    charters: Iterable[tuple[Signed[Charter], Iterable[Signed[CharterAcceptance]]]],
    checkpoint: Signed[Checkpoint],
    countersignatures: Iterable[Signed[Confirmation]],
    entries: Iterable[bytes],
) -> Iterator[bytes]:
    """The lines of the service's chain, each with its line feed. Orders as in the rules above are the caller's."""
    yield from _export("service", charters, checkpoint, countersignatures, entries)


def own_export(
    charters: Iterable[tuple[Signed[Charter], Iterable[Signed[CharterAcceptance]]]],
    checkpoint: Signed[OwnCheckpoint],
    entries: Iterable[bytes],
) -> Iterator[bytes]:
    """The lines of a partner's own chain, each with its line feed."""
    yield from _export("own", charters, checkpoint, (), entries)


def _export(
    chain: Chain,
    charters: Iterable[tuple[Signed[Charter], Iterable[Signed[CharterAcceptance]]]],
    checkpoint: Signed[Any],
    countersignatures: Iterable[Signed[Confirmation]],
    entries: Iterable[bytes],
) -> Iterator[bytes]:
    yield next(header for header, of in HEADERS.items() if of == chain) + b"\n"
    for charter, acceptances in charters:
        yield charter.canonical_bytes + b"\n"
        for acceptance in acceptances:
            yield acceptance.canonical_bytes + b"\n"
    yield checkpoint.canonical_bytes + b"\n"
    for countersignature in countersignatures:
        yield countersignature.canonical_bytes + b"\n"
    for entry in entries:
        yield entry + b"\n"


def with_entries(preamble: bytes, fetch: Callable[[int, int], Iterable[bytes]]) -> Iterator[bytes]:
    """A whole export from the service's preamble: its lines, then the entries that its checkpoint counts, by pages.

    fetch: entries after the first argument's, at most the second's, as lines without their ends. What it gives is
    written down as it came; verification says what it is worth. Raises MalformedMessage, LedgerBroken.
    """
    lines = preamble.splitlines(keepends=True)
    yield from lines
    count = 0
    for line in lines:
        if b'"type":"chorale/1 checkpoint"' in line:
            count = parse_signed(Checkpoint, line.removesuffix(b"\n")).body.chain.count
    done = 0
    while done < count:
        page = list(fetch(done, min(_PAGE, count - done)))
        if not page:
            raise LedgerBroken(
                len(lines) + done + 1,
                f"{count} entries, as the checkpoint counts",
                f"{done}",
                "fetch them again; if it stays so, raise the alarm",
            )
        yield b"".join(entry + b"\n" for entry in page)
        done += len(page)


def preamble_messages(preamble: bytes, kind: type[BodyT]) -> Iterator[Signed[BodyT]]:
    """The signed messages of one type in a preamble; nothing is verified here. Raises MalformedMessage."""
    named = f'"type":"{kind.model_fields["type"].default}"'.encode()
    for line in preamble.splitlines():
        if line.startswith(b'{"body":') and named in line:
            yield parse_signed(kind, line)


def read_file(stream: BinaryIO) -> Iterator[bytes]:
    """Lines as they stand in a file, the line feed kept; none longer than a message may be. Raises LedgerBroken."""
    number = 0
    while line := stream.readline(MAX_MESSAGE_BYTES + 2):
        number += 1
        if len(line) > MAX_MESSAGE_BYTES + 1:
            raise LedgerBroken(
                number,
                f"a line of at most {MAX_MESSAGE_BYTES} bytes",
                "a longer one",
                "export the ledger again",
            )
        yield line
