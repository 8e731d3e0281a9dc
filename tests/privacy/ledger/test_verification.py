"""Offline verification: no byte of an export may change, no line go missing, no history be rewritten."""

from __future__ import annotations

import pytest

from privacy.dp.events import TableRow
from privacy.errors import BadSignature, LedgerBroken, RolledBack
from privacy.ledger.checkpoint import Landmarks, check_checkpoint, check_not_rolled_back, sign_checkpoint
from privacy.ledger.entry import NO_ROW
from privacy.ledger.verification import verify_export, verify_own_export
from privacy.protocol.messages import ChainHead
from privacy.protocol.signing import SigningKey
from tests.privacy.ledger.chains import CHARTER, COUNTS, EVENT, SERVER_KEY, ChainWriter, charter, small_chain

ROW = TableRow(name="training", event=EVENT, count=2)


def _split(raw: bytes) -> list[bytes]:
    """As a file opened in binary is iterated: at line feeds alone."""
    lines = raw.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def test_an_export_verifies_with_and_without_its_last_line_feed() -> None:
    writer = small_chain()
    checkpoint = sign_checkpoint(CHARTER, writer.verifier.head, SERVER_KEY)
    raw = b"".join(writer.lines)
    for form in (raw, raw.removesuffix(b"\n")):
        assert verify_export(_split(form), checkpoint, SERVER_KEY.public).head == writer.verifier.head


def test_every_changed_byte_is_refused_at_its_line_or_the_one_after() -> None:
    writer = small_chain()
    head = writer.verifier.head
    raw = b"".join(writer.lines)
    checkpoint = sign_checkpoint(CHARTER, head, SERVER_KEY)
    for place, old in enumerate(raw):
        changed_line = raw[:place].count(b"\n") + 1
        for new in {old ^ 0x01, old ^ 0x80, 0x0A, 0x30} - {old}:
            mutant = raw[:place] + bytes([new]) + raw[place + 1 :]
            with pytest.raises(LedgerBroken) as refused:
                verify_export(_split(mutant), checkpoint, SERVER_KEY.public)
            assert refused.value.line - changed_line in (0, 1), (place, old, new)


def test_a_shorter_and_a_longer_export_than_the_checkpoint_are_refused() -> None:
    writer = small_chain()
    checkpoint = sign_checkpoint(CHARTER, writer.verifier.head, SERVER_KEY)
    with pytest.raises(LedgerBroken) as refused:
        verify_export(writer.lines[:-1], checkpoint, SERVER_KEY.public)
    assert refused.value.line == len(writer.lines)
    writer.action(None, "one more")
    with pytest.raises(LedgerBroken, match="nobody has signed") as refused:
        verify_export(writer.lines, checkpoint, SERVER_KEY.public)
    assert refused.value.line == len(writer.lines)


def test_a_checkpoint_by_another_key_or_charter_is_refused() -> None:
    head = small_chain().verifier.head
    stranger = SigningKey(bytes(64))
    with pytest.raises(BadSignature):
        verify_export([], sign_checkpoint(CHARTER, head, stranger), SERVER_KEY.public)
    with pytest.raises(BadSignature, match="one under"):
        check_checkpoint(sign_checkpoint(CHARTER, head, SERVER_KEY), SERVER_KEY.public, charter="d" * 64)


def test_a_history_rewritten_after_a_countersignature_is_refused_at_that_line() -> None:
    writer = small_chain()
    seen = ChainHead(count=3, head=writer.entries[2].digest)
    rewritten = ChainWriter()
    rewritten.move("reserve", "aster", 1)
    rewritten.move("reserve", "birch", 1)
    rewritten.move("lapse", "aster", 1)
    rewritten.action(None, "nothing was charged")
    checkpoint = sign_checkpoint(CHARTER, rewritten.verifier.head, SERVER_KEY)
    verify_export(rewritten.lines, checkpoint, SERVER_KEY.public)
    with pytest.raises(LedgerBroken, match="rewritten") as refused:
        verify_export(rewritten.lines, checkpoint, SERVER_KEY.public, countersigned=[seen])
    assert refused.value.line == 3


def test_two_heads_of_one_count_prove_a_rewritten_history() -> None:
    with pytest.raises(LedgerBroken, match="rewritten"):
        Landmarks([ChainHead(count=2, head="a" * 64), ChainHead(count=2, head="b" * 64)])


def test_a_shorter_chain_than_was_seen_is_rolled_back() -> None:
    seen = ChainHead(count=2, head="a" * 64)
    check_not_rolled_back(seen, seen, "the service's chain")
    check_not_rolled_back(seen, ChainHead(count=3, head="b" * 64), "the service's chain")
    with pytest.raises(RolledBack):
        check_not_rolled_back(seen, ChainHead(count=1, head="a" * 64), "the service's chain")
    with pytest.raises(LedgerBroken):
        check_not_rolled_back(seen, ChainHead(count=2, head="b" * 64), "the service's chain")


def _under_charter(writer: ChainWriter, table: tuple[TableRow, ...] = (ROW,)) -> None:
    signed = charter(table=table)
    checkpoint = sign_checkpoint(signed.digest, writer.verifier.head, SERVER_KEY)
    verify_export(writer.lines, checkpoint, SERVER_KEY.public, charters={signed.digest: signed})


def test_a_chain_within_its_charter_verifies_up_to_the_last_of_its_count() -> None:
    writer = ChainWriter(charter=charter(table=(ROW,)).digest)
    writer.attempt(1, ("aster", "birch"))
    writer.attempt(2, ("aster", "birch"))
    writer.move("recovered", "aster", 3)
    writer.move("recovered", "aster", 4, row=NO_ROW)
    _under_charter(writer)


def test_what_the_charter_does_not_cover_is_refused() -> None:
    digest = charter(table=(ROW,)).digest
    overspent = ChainWriter(charter=digest)
    for number in (1, 2, 3):
        overspent.move("reserve", "aster", number)
    stranger = ChainWriter(charter=digest)
    stranger.move("reserve", "zinnia", 1)
    other_row = ChainWriter(charter=digest)
    other_row.move("reserve", "aster", 1, row="counts")
    weaker = ChainWriter(charter=digest)
    weaker.move("reserve", "aster", 1, event=EVENT.model_copy(update={"noise_multiplier": 0.5}))
    unknown = ChainWriter(charter="d" * 64)
    unknown.action(None, "hello")
    no_row = ChainWriter(charter=digest)
    no_row.move("reserve", "aster", 1, row=NO_ROW)
    for writer, why in (
        (overspent, "overspent"),
        (stranger, "zinnia"),
        (other_row, "row of the charter"),
        (weaker, "row training covers"),
        (unknown, "every charter"),
        (no_row, "row of the charter"),
    ):
        with pytest.raises(LedgerBroken, match=why) as refused:
            _under_charter(writer)
        assert refused.value.line == len(writer.lines)


def test_an_own_export_is_held_against_the_head_of_a_signed_join() -> None:
    signed = charter(table=(ROW, TableRow(name="zcounts", event=COUNTS, count=1)))
    writer = ChainWriter(charter=signed.digest, own=True)
    writer.move("charge", "aster", 1)
    writer.move("charge", "aster", 2, row="zcounts", event=COUNTS)
    head = writer.verifier.head
    assert verify_own_export(writer.lines, head, charters={signed.digest: signed}).head == head
    with pytest.raises(LedgerBroken):
        verify_own_export(writer.lines, ChainHead(count=2, head="a" * 64))
