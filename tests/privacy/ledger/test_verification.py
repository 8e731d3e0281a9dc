"""Offline verification: no byte of an export may change, no line go missing, no history be rewritten."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from privacy.errors import BadSignature, LedgerBroken
from privacy.ledger.checkpoint import Landmarks, check_checkpoint, sign_checkpoint
from privacy.ledger.export import read_file, service_export
from privacy.ledger.verification import verify_export
from privacy.protocol.canonical import MAX_MESSAGE_BYTES
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import ChainHead, Charter, Checkpoint
from privacy.protocol.signing import SigningKey, Verifier, sign
from tests.privacy.ledger.chains import (
    CHARTER,
    SERVER_KEY,
    ChainWriter,
    accepted,
    confirmation,
    export_of,
    own_export_of,
    signed_charter,
    small_chain,
)
from tests.privacy.ledger.exports import MADE, PREAMBLE, broken_at, head_at, small_export, small_own_export


def test_an_export_verifies_with_and_without_its_last_line_feed() -> None:
    writer = small_chain(MADE.digest)
    raw = b"".join(small_export())
    for form in (raw, raw.removesuffix(b"\n")):
        found = verify_export(read_file(io.BytesIO(form)), MADE.digest)
        assert (found.chain, found.head, found.charters) == ("service", writer.verifier.head, (MADE,))
        assert {partner: head.count for partner, head in found.countersigned.items()} == {"aster": 3, "cedar": 5}
        assert found.totals == writer.verifier.totals


def test_an_own_export_verifies() -> None:
    found = verify_export(small_own_export())
    assert (found.chain, found.partner, found.head.count) == ("own", "aster", 2)


def test_an_export_of_nothing_verifies() -> None:
    assert verify_export(export_of(ChainWriter(MADE.digest), MADE)).head.count == 0


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=[pytest.mark.full, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("made", [small_export, small_own_export])
def test_every_changed_byte_is_refused_at_its_line_or_the_one_after(
    made: Callable[[], list[bytes]], step: int
) -> None:
    """In the full run every byte; else every third of header and entries, and of the long signed lines some."""
    lines = made()
    verifier = Verifier()  # what did not change is verified once
    for number, line in enumerate(lines, start=1):
        for place in range(0, len(line), step if line.startswith(b'{"body":') else min(step, 3)):
            old = line[place]
            new = [old ^ 0x01, old ^ 0x80, 0x0A if old != 0x0A else 0x20, 0x30 if old != 0x30 else 0x31][place % 4]
            changed = line[:place] + bytes([new]) + line[place + 1 :]
            raw = b"".join([*lines[: number - 1], changed, *lines[number:]])
            said = broken_at(list(read_file(io.BytesIO(raw))), verifier=verifier)
            assert said - number in (0, 1), (number, place, old, new)


def test_every_line_left_out_doubled_or_swapped_is_refused() -> None:
    for made in (small_export, small_own_export):
        lines = made()
        # A countersignature less is a file that proves less: what it says is still true.
        kept = {PREAMBLE, PREAMBLE + 1} if made is small_export else set()
        for place in set(range(len(lines))) - kept:
            assert broken_at([*lines[:place], *lines[place + 1 :]]) in (place + 1, place + 2)
        for place in range(len(lines)):
            assert broken_at([*lines[: place + 1], *lines[place:]]) == place + 2
        for place in range(len(lines) - 1):
            swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
            assert broken_at(swapped) in (place + 1, place + 2)


def test_a_longer_export_than_the_checkpoint_is_refused() -> None:
    writer = small_chain(MADE.digest)
    lines = export_of(writer, MADE)
    writer.action(None, "one more")
    lines.append(writer.entries[-1].canonical_bytes)
    assert broken_at(lines, "nobody has signed") == len(lines)


def test_a_line_without_an_end_is_not_read_to_its_end() -> None:
    stream = io.BytesIO(small_export()[0] + b"a" * (2 * MAX_MESSAGE_BYTES))
    with pytest.raises(LedgerBroken, match="longer"):
        list(read_file(stream))
    assert stream.tell() < MAX_MESSAGE_BYTES + 100


def test_a_checkpoint_by_another_key_is_refused() -> None:
    assert broken_at(export_of(small_chain(MADE.digest), MADE, key=SigningKey(bytes(64)))) == PREAMBLE
    head = small_chain().verifier.head
    right = sign_checkpoint(CHARTER, head, SERVER_KEY)
    assert check_checkpoint(right, SERVER_KEY.public, CHARTER, Verifier()) == head
    with pytest.raises(BadSignature):
        check_checkpoint(
            sign_checkpoint(CHARTER, head, SigningKey(bytes(64))), SERVER_KEY.public, CHARTER, Verifier()
        )
    with pytest.raises(LedgerBroken, match="one under"):
        check_checkpoint(right, SERVER_KEY.public, "d" * 64, Verifier())


def test_a_file_of_another_consortium_is_told_by_its_charter() -> None:
    with pytest.raises(LedgerBroken, match="under charter"):
        verify_export(small_export(), "d" * 64)


def test_a_history_rewritten_after_a_countersignature_is_refused_at_that_line() -> None:
    """The server signs the new history; the partner's countersignature of the old one is in the file."""
    writer = small_chain(MADE.digest)
    rewritten = ChainWriter(MADE.digest)
    rewritten.move("reserve", "aster", 1)
    rewritten.move("reserve", "birch", 1)
    rewritten.move("lapse", "aster", 1)
    rewritten.action(None, "nothing was charged")
    verify_export(export_of(rewritten, MADE))
    lines = export_of(rewritten, MADE, {"birch": head_at(writer, 3)})
    assert broken_at(lines, "rewritten") == PREAMBLE + 1 + 3


def test_a_shorter_history_than_was_countersigned_is_refused() -> None:
    longer = small_chain(MADE.digest)
    shorter = ChainWriter(MADE.digest)
    shorter.move("reserve", "aster", 1)
    assert broken_at(export_of(shorter, MADE, {"birch": head_at(longer, 3)})) == PREAMBLE + 1


def test_two_epochs_verify_and_an_epoch_left_out_does_not() -> None:
    second = MADE.model_copy(update={"epoch": 2, "previous": MADE.digest})
    third = MADE.model_copy(update={"epoch": 3, "previous": second.digest})
    writer = small_chain(MADE.digest)
    writer.charter = second.digest
    writer.attempt(9, ("aster",))

    def lines(charters: tuple[Charter, ...]) -> list[bytes]:
        return list(
            service_export(
                [(signed_charter(one), [accepted(one, name) for name in one.partners]) for one in charters],
                sign(Checkpoint(charter=charters[-1].digest, chain=writer.verifier.head), SERVER, SERVER_KEY),
                [
                    confirmation(MADE, "aster", head_at(writer, 2)),
                    confirmation(second, "aster", head_at(writer, 7)),
                ],
                [entry.canonical_bytes for entry in writer.entries],
            )
        )

    found = verify_export(lines((MADE, second)))
    assert [one.epoch for one in found.charters] == [1, 2]
    assert found.countersigned["aster"].count == 7
    assert broken_at(lines((second,))) == 2
    assert broken_at(lines((MADE, third))) == 6


def test_an_own_export_signed_by_another_partner_is_refused() -> None:
    lines = small_own_export()
    other = own_export_of(ChainWriter(MADE.digest, own=True), MADE, "birch")
    assert broken_at([*lines[:3], other[3], *lines[4:]]) == 4
    assert broken_at([*other[:3], lines[3], *lines[4:]]) == 4
    assert broken_at(lines[:2], "acceptance") == 3


def test_two_heads_of_one_count_prove_a_rewritten_history() -> None:
    with pytest.raises(LedgerBroken, match="rewritten"):
        Landmarks([ChainHead(count=2, head="a" * 64), ChainHead(count=2, head="b" * 64)])


def test_people_read_by_name_who_countersigned_and_who_did_not() -> None:
    renamed = tuple(
        one.model_copy(update={"name": "자작나무 연구소"}) if one.partner == "birch" else one for one in MADE.roster
    )
    made = MADE.model_copy(update={"roster": renamed})
    writer = small_chain(made.digest)
    told = verify_export(export_of(writer, made, {"aster": head_at(writer, 3), "cedar": head_at(writer, 5)})).told()
    assert told["charged"] == "Aster (aster) 1; 자작나무 연구소 (birch) 1"
    assert told["countersigned"] == "Aster (aster) up to entry 3; Cedar (cedar) up to entry 5"
    assert told["not by"] == "자작나무 연구소 (birch)"
    nobody = verify_export(export_of(writer, made)).told()
    assert nobody["countersigned"] == "nobody"
    assert "countersigned" not in verify_export(small_own_export()).told()
