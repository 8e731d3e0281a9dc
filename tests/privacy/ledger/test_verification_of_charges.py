"""An export proves that every charge was within its charter: roster, rows, events, counts and filter."""

from __future__ import annotations

from privacy.dp.events import TableRow
from privacy.ledger.entry import NO_ROW
from privacy.ledger.verification import verify_export
from privacy.protocol.messages import Charter
from tests.privacy.ledger.chains import EVENT, ChainWriter, charter, export_of, own_export_of
from tests.privacy.ledger.exports import MADE, PREAMBLE, broken_at


def test_a_chain_within_its_charter_verifies_up_to_the_last_of_its_count() -> None:
    writer = ChainWriter(MADE.digest)
    writer.attempt(1, ("aster", "birch"))
    writer.attempt(2, ("aster", "birch"))
    writer.move("recovered", "aster", 3)
    writer.move("recovered", "aster", 4, row=NO_ROW)
    verify_export(export_of(writer, MADE))


def test_what_the_charter_does_not_cover_is_refused() -> None:
    overspent = ChainWriter(MADE.digest)
    for number in (1, 2, 3):
        overspent.move("reserve", "aster", number)
    stranger = ChainWriter(MADE.digest)
    stranger.move("reserve", "zinnia", 1)
    other_row = ChainWriter(MADE.digest)
    other_row.move("reserve", "aster", 1, row="counts")
    weaker = ChainWriter(MADE.digest)
    weaker.move("reserve", "aster", 1, event=EVENT.model_copy(update={"noise_multiplier": 0.5}))
    unknown = ChainWriter("d" * 64)
    unknown.action(None, "hello")
    no_row = ChainWriter(MADE.digest)
    no_row.move("reserve", "aster", 1, row=NO_ROW)
    for writer, why in (
        (overspent, "overspent"),
        (stranger, "zinnia"),
        (other_row, "row of the charter"),
        (weaker, "row training covers"),
        (unknown, "every charter"),
        (no_row, "row of the charter"),
    ):
        assert broken_at(export_of(writer, MADE), why) == PREAMBLE + len(writer.entries)


def test_an_own_chain_that_charged_beyond_its_row_is_refused() -> None:
    writer = ChainWriter(MADE.digest, own=True)
    for number in (1, 2, 3):
        writer.move("charge", "aster", number)
    assert broken_at(own_export_of(writer, MADE, "aster"), "overspent") == 4 + 3


def filtered() -> tuple[Charter, int]:
    """Counts allow 200 each, the filter of order 6 fewer; and how many."""
    table = (TableRow(name="training", event=EVENT, count=200),)
    made = charter(table=table).model_copy(update={"filter_order": 6})
    kept = made.filter_for("aster")
    assert kept is not None
    fits = kept.room_for((), EVENT)
    assert 2 < fits < 200
    return made, fits


def test_a_chain_that_passes_its_charters_filter_is_refused_at_that_line() -> None:
    """Lapsed room is room again; what is recovered may pass."""
    made, fits = filtered()
    writer, proved = ChainWriter(made.digest), ChainWriter(made.digest)
    writer.move("reserve", "aster", 1)
    writer.move("lapse", "aster", 1)
    for number in range(2, fits + 2):
        writer.attempt(number, ("aster", "birch"))
    for entry in writer.entries:
        proved.append(entry)
    verify_export(export_of(writer, made))
    proved.move("recovered", "aster", fits + 2)
    verify_export(export_of(proved, made))
    writer.move("reserve", "birch", fits + 2)
    lines = export_of(writer, made)
    assert broken_at(lines, "a divergence of at most") == len(lines)


def test_an_own_chain_that_passes_the_filter_is_refused() -> None:
    made, fits = filtered()
    writer = ChainWriter(made.digest, own=True)
    for number in range(fits):
        writer.move("charge", "aster", number + 1)
    verify_export(own_export_of(writer, made, "aster"))
    writer.move("charge", "aster", 500)
    lines = own_export_of(writer, made, "aster")
    assert broken_at(lines, "a divergence of at most") == len(lines)
