"""The chain: one legal way to grow, totals equal to a model's, and every departure refused at its line."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import LedgerBroken
from privacy.ledger.chain import EMPTY, ChainVerifier, RowTotals, read_lines, verify_lines
from privacy.ledger.entry import LedgerEntry
from tests.privacy.ledger.chains import COUNTS, EVENT, ChainWriter, plan_digest, small_chain

PARTNERS = ("aster", "birch", "cedar")
_LEGAL = {None: ("reserve", "recovered"), "reserve": ("charge", "lapse", "recovered"), "lapse": ("recovered",)}


def test_an_empty_chain_verifies_to_the_empty_head() -> None:
    assert verify_lines([]).head == EMPTY


def test_every_kind_of_entry_verifies_and_reads_back() -> None:
    writer = small_chain()
    verifier = verify_lines(writer.lines)
    assert verifier.head == writer.verifier.head
    assert verifier.head.head == writer.entries[-1].digest
    assert list(read_lines(writer.lines)) == writer.entries
    assert verifier.totals.row(writer.charter, "aster", "training") == RowTotals(1, 0)
    assert verifier.totals.row(writer.charter, "birch", "training") == RowTotals(1, 0)


@given(st.lists(st.tuples(st.sampled_from(PARTNERS), st.integers(1, 6), st.integers(0, 2)), max_size=40))
def test_totals_agree_with_a_model_that_only_counts(moves: list[tuple[str, int, int]]) -> None:
    writer = ChainWriter()
    stands: dict[tuple[str, int], str] = {}
    for partner, number, choice in moves:
        legal = _LEGAL.get(stands.get((partner, number)), ())
        if not legal:
            continue
        kind = legal[choice % len(legal)]
        row = "training" if number % 2 else "counts"
        writer.move(kind, partner, number, row=row, event=EVENT if number % 2 else COUNTS)  # type: ignore[arg-type]
        stands[(partner, number)] = kind
    totals = verify_lines(writer.lines).totals
    charged = Counter((p, n % 2) for (p, n), kind in stands.items() if kind in ("charge", "recovered"))
    reserved = Counter((p, n % 2) for (p, n), kind in stands.items() if kind == "reserve")
    for partner in PARTNERS:
        for odd, row in ((1, "training"), (0, "counts")):
            assert totals.row(writer.charter, partner, row) == RowTotals(
                charged[(partner, odd)], reserved[(partner, odd)]
            )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (None, "charge"),
        (None, "lapse"),
        ("reserve", "reserve"),
        ("charge", "charge"),
        ("charge", "lapse"),
        ("charge", "recovered"),
        ("recovered", "charge"),
        ("lapse", "reserve"),
        ("lapse", "charge"),
    ],
)
def test_an_illegal_move_is_refused_and_not_added(first: str | None, second: str) -> None:
    writer = ChainWriter()
    if first in ("charge", "lapse"):
        writer.move("reserve", "aster", 1)
    if first:
        writer.move(first, "aster", 1)  # type: ignore[arg-type]
    head = writer.verifier.head
    with pytest.raises(LedgerBroken) as refused:
        writer.move(second, "aster", 1)  # type: ignore[arg-type]
    assert refused.value.line == head.count + 1
    assert writer.verifier.head == head


def test_a_charge_of_another_event_than_was_reserved_is_refused() -> None:
    writer = ChainWriter()
    writer.move("reserve", "aster", 1)
    weaker = EVENT.model_copy(update={"noise_multiplier": 9.0})
    with pytest.raises(LedgerBroken, match="event that was reserved"):
        writer.move("charge", "aster", 1, event=weaker)


def test_a_charge_in_another_row_than_was_reserved_is_refused() -> None:
    writer = ChainWriter()
    writer.move("reserve", "aster", 1)
    writer.move("reserve", "aster", 2, row="counts")
    with pytest.raises(LedgerBroken, match="row that was reserved"):
        writer.move("charge", "aster", 1, row="counts")


def test_what_lapsed_may_be_recovered_in_another_row() -> None:
    writer = ChainWriter()
    writer.move("reserve", "aster", 1)
    writer.move("lapse", "aster", 1)
    writer.move("recovered", "aster", 1, row="counts")
    assert writer.verifier.totals.row(writer.charter, "aster", "counts") == RowTotals(1, 0)


def test_rows_of_one_name_under_two_charters_are_two_rows() -> None:
    writer = ChainWriter()
    writer.move("recovered", "aster", 1)
    writer.charter = "d" * 64
    entry = writer.move("recovered", "aster", 2)
    assert entry.budget is not None
    assert entry.budget.charged == 1


def test_altered_totals_are_refused() -> None:
    writer = small_chain()
    last = writer.entries[-1]
    assert last.budget is not None
    forged = last.model_copy(update={"budget": last.budget.model_copy(update={"charged": 0})})
    with pytest.raises(LedgerBroken, match="totals 1 charged") as refused:
        verify_lines([*writer.lines[:-1], forged.canonical_bytes])
    assert refused.value.line == len(writer.entries)


def test_an_action_may_not_carry_a_budget_nor_a_charge_go_without() -> None:
    entry = small_chain().entries[0]
    for change in ({"kind": "action"}, {"budget": None}):
        with pytest.raises(LedgerBroken, match="every entry but an action"):
            ChainVerifier().add(entry.model_copy(update=change))


def test_an_own_chain_holds_charges_of_one_participant_alone() -> None:
    writer = ChainWriter(own=True)
    writer.move("charge", "aster", 1)
    writer.move("recovered", "aster", 2)
    with pytest.raises(LedgerBroken, match="budget of aster"):
        writer.move("charge", "birch", 1)
    with pytest.raises(LedgerBroken, match="reserve that may follow"):
        writer.move("reserve", "aster", 3)
    assert verify_lines(writer.lines, own=True).head == writer.verifier.head


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: b" " + line,
        lambda line: line.replace(b'"at":', b'"at": '),
        lambda line: line.replace(b',"steps":1', b""),
        lambda line: line.replace(b'"index":1', b'"index":1,"index":1'),
        lambda line: line.replace(b'"reason":""', b'"reason":"","extra":1'),
        lambda line: line.replace(b'"index":1', b'"index":1.0'),
        lambda line: line[:-20],
        lambda line: b"",
        lambda line: b"\xff" + line,
        lambda line: b"[" * 20_000,
    ],
)
def test_a_line_that_is_not_its_own_canonical_form_is_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    lines = small_chain().lines
    with pytest.raises(LedgerBroken) as refused:
        verify_lines([spoil(lines[0].rstrip(b"\n")), *lines[1:]])
    assert refused.value.line == 1


def test_moved_dropped_and_doubled_lines_are_refused_where_they_stand() -> None:
    lines = small_chain().lines
    for broken, line in (
        ([lines[0], lines[2], lines[1], *lines[3:]], 2),
        ([lines[0], *lines[2:]], 2),
        ([lines[0], lines[0], *lines[1:]], 2),
        (lines[1:], 1),
    ):
        with pytest.raises(LedgerBroken) as refused:
            verify_lines(broken)
        assert refused.value.line == line


@given(st.text(max_size=40), st.integers(0, 2**40))
def test_any_entry_reads_back_from_its_line(reason: str, at: int) -> None:
    writer = ChainWriter()
    entry = LedgerEntry(
        index=1,
        at=at,
        charter=plan_digest(3),
        kind="action",
        participant=None,
        budget=None,
        reason=reason,
        previous=EMPTY.head,
    )
    writer.append(entry)
    assert list(read_lines(writer.lines)) == [entry]
