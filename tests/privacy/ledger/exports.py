"""Exports for tests, small and whole, and the line at which a spoiled one is refused."""

from __future__ import annotations

import pytest

from privacy.dp.events import TableRow
from privacy.errors import LedgerBroken
from privacy.ledger.verification import verify_export
from privacy.protocol.messages import ChainHead
from privacy.protocol.signing import Verifier
from tests.privacy.ledger.chains import COUNTS, EVENT, ChainWriter, charter, export_of, own_export_of, small_chain

ROW = TableRow(name="training", event=EVENT, count=2)
MADE = charter(table=(ROW, TableRow(name="zcounts", event=COUNTS, count=1)))
PREAMBLE = 6
"""Lines before the countersignatures: header, charter, three acceptances, checkpoint."""


def small_export() -> list[bytes]:
    writer = small_chain(MADE.digest)
    seen = {"aster": head_at(writer, 3), "cedar": head_at(writer, 5)}
    return export_of(writer, MADE, seen)


def small_own_export() -> list[bytes]:
    writer = ChainWriter(MADE.digest, own=True)
    writer.move("charge", "aster", 1)
    writer.move("recovered", "aster", 2, row="zcounts", event=COUNTS)
    return own_export_of(writer, MADE, "aster")


def head_at(writer: ChainWriter, count: int) -> ChainHead:
    return ChainHead(count=count, head=writer.entries[count - 1].digest)


def broken_at(lines: list[bytes], match: str | None = None, verifier: Verifier | None = None) -> int:
    with pytest.raises(LedgerBroken, match=match) as refused:
        verify_export(lines, verifier=verifier)
    return refused.value.line
