"""The report's figures: they follow from the ledger and the charter, and from nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.dp import accountant
from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee, TableRow
from privacy.errors import LedgerBroken, MalformedMessage
from privacy.ledger.chain import next_action_entry
from privacy.ledger.entry import OfficersAction, RowLimit
from privacy.protocol.canonical import canonical
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport
from privacy.report.build import build_report
from privacy.report.period import Period
from privacy.report.render import render_json
from privacy.report.tally import Tally
from tests.privacy.ledger.chains import COUNTS, EVENT, NOTHING, ChainWriter, charter, plan_digest

TABLE = (TableRow(name="counts", event=COUNTS, count=2), TableRow(name="training", event=EVENT, count=10))
CHARTER = charter(table=TABLE)
PARTNERS = CHARTER.partners
AT = 1_770_000_000


def _writer(rounds: int) -> ChainWriter:
    writer = ChainWriter(charter=CHARTER.digest)
    for number in range(1, rounds + 1):
        writer.attempt(number, PARTNERS)
    return writer


def _report(writer: ChainWriter, **more: object) -> BudgetReport:
    return build_report(CHARTER, writer.entries, AT, source="service", **more)  # type: ignore[arg-type]


def test_an_empty_ledger_has_spent_nothing() -> None:
    for participant in _report(ChainWriter(charter=CHARTER.digest)).participants:
        assert [budget.epsilon for budget in participant.guarantees] == [0.0, 0.0]
        assert [budget.even_odds for budget in participant.guarantees] == [0.5, 0.5]
        assert participant.rounds_left is None
        assert participant.last is None
        assert participant.entries == ()


def test_rounds_left_are_of_training_also_after_statistics() -> None:
    writer = _writer(3)
    for kind in ("reserve", "charge"):
        writer.move(kind, "aster", 5, row="counts", event=COUNTS)
    writer.move("reserve", "birch", 6, row="counts", event=COUNTS)
    aster, birch, _ = _report(writer).participants
    assert (aster.present_event, aster.rounds_left) == (birch.present_event, birch.rounds_left) == (EVENT, 7)
    alone = ChainWriter(charter=CHARTER.digest)
    alone.move("reserve", "aster", 1, row="counts", event=COUNTS)
    assert _report(alone).participants[0].present_event == COUNTS


def test_both_guarantees_are_the_accountants_for_what_was_charged() -> None:
    writer = _writer(3)
    writer.move("reserve", "aster", 4)
    writer.move("reserve", "aster", 5, row="counts", event=COUNTS)
    writer.move("charge", "aster", 5, row="counts", event=COUNTS)
    aster, birch, _ = _report(writer).participants
    for budget in aster.guarantees:
        rows = ((EVENT, 3), (COUNTS, 1))
        kind = budget.kind
        assert budget.epsilon == accountant.epsilon(rows, 1e-5, kind, CHARTER.honest)
        assert budget.even_odds == accountant.even_odds(rows, kind, CHARTER.honest)
        with_reserved = ((EVENT, 4), (COUNTS, 1))
        assert budget.with_reserved == accountant.epsilon(with_reserved, 1e-5, kind, CHARTER.honest)
    assert (aster.charged, aster.reserved, aster.rounds_left) == (4, 1, 6)
    assert (birch.charged, birch.reserved, birch.rounds_left) == (3, 0, 7)
    in_sum, alone = birch.guarantees
    assert (in_sum.guarantee, alone.guarantee) == ("in_sum", "alone")
    assert isinstance(in_sum.epsilon, float)
    assert isinstance(alone.epsilon, float)
    assert in_sum.epsilon < alone.epsilon
    assert [(row.name, row.charged, row.reserved, row.count) for row in aster.rows] == [
        ("counts", 1, 0, 2),
        ("training", 3, 1, 10),
    ]


def test_attempts_without_a_result_are_spent_and_shown_apart() -> None:
    writer = _writer(4)
    outcomes = {
        plan_digest(1): RoundState.CONFIRMED,
        plan_digest(2): RoundState.VOID,
        plan_digest(3): RoundState.CLOSED,
        plan_digest(4): RoundState.OPENING,
    }
    aster = _report(writer, outcomes=outcomes).participants[0]
    assert aster.charged_without_result == 2
    for budget in aster.guarantees:
        all_of_it = accountant.epsilon(((EVENT, 4),), 1e-5, budget.kind, CHARTER.honest)
        fruitful = accountant.epsilon(((EVENT, 2),), 1e-5, budget.kind, CHARTER.honest)
        assert budget.epsilon == all_of_it
        assert budget.without_result == pytest.approx(all_of_it - fruitful)
    outcome = {entry.round: entry.outcome for entry in aster.entries if entry.kind == "charge"}
    assert outcome == {1: "confirmed", 2: "void", 3: "closed", 4: "running"}
    untold = _report(writer).participants[0]
    assert untold.charged_without_result == 0
    assert {entry.outcome for entry in untold.entries if entry.kind == "charge"} == {"unknown"}


def test_a_row_without_noise_makes_epsilon_infinite_and_stays_json() -> None:
    table = (TableRow(name="open", event=NOTHING, count=2), TableRow(name="training", event=EVENT, count=10))
    signed = charter(table=table)
    writer = ChainWriter(charter=signed.digest)
    writer.attempt(1, ("aster",))
    writer.move("reserve", "aster", 2, row="open", event=NOTHING)
    writer.move("charge", "aster", 2, row="open", event=NOTHING)
    report = build_report(signed, writer.entries, AT, source="partner", outcomes={plan_digest(2): RoundState.VOID})
    aster = report.participants[0]
    for budget in aster.guarantees:
        assert budget.epsilon == "infinite"
        assert budget.without_result == "infinite"
        assert budget.even_odds == 1.0
    parsed = json.loads(render_json(report))
    assert parsed["participants"][0]["guarantees"][0]["epsilon"] == "infinite"


def test_json_is_canonical_and_reads_back() -> None:
    report = _report(_writer(2))
    raw = render_json(report)
    assert canonical(json.loads(raw)) == raw
    assert BudgetReport.model_validate_json(raw) == report


def test_the_curve_rises_from_nothing_over_what_happened_to_the_end_of_the_table() -> None:
    aster = _report(_writer(4)).participants[0]
    for budget in aster.guarantees:
        places = [point.charges for point in budget.curve]
        values = [float(point.epsilon) for point in budget.curve]
        assert places == sorted(set(places))
        assert values == sorted(values)
        assert (places[0], values[0]) == (0, 0.0)
        now = [point for point in budget.curve if not point.planned][-1]
        assert (now.charges, now.epsilon) == (4, budget.epsilon)
        assert places[-1] == 10
        assert budget.curve[-1].planned


def test_only_those_asked_for_are_reported_and_strangers_are_refused() -> None:
    report = _report(_writer(1), participants=["birch"])
    assert [participant.partner for participant in report.participants] == ["birch"]
    with pytest.raises(MalformedMessage):
        _report(_writer(1), participants=["zinnia"])


def test_entries_under_another_charter_count_for_the_head_alone() -> None:
    """And for the lifetime, which is refused where the other charter is not given."""
    first = CHARTER.model_copy(update={"epoch": 2, "consortium": "the same, under another charter"})
    writer = ChainWriter(charter=first.digest)
    writer.attempt(1, ("aster",))
    writer.charter = CHARTER.digest
    writer.attempt(2, ("aster",))
    report = _report(writer, earlier=[first])
    assert report.ledger == writer.verifier.head
    aster, birch, _ = report.participants
    assert aster.charged == 1
    assert aster.lifetime is not None
    assert [(line.epoch, line.charged) for line in aster.lifetime.epochs] == [(1, 1), (2, 1)]
    assert birch.lifetime is not None
    assert birch.lifetime.epochs == ()
    with pytest.raises(LedgerBroken, match="give every charter"):
        _report(writer)


def test_a_record_that_several_hold_costs_more_than_one_partners() -> None:
    aster = _report(_writer(3)).participants[0]
    one, two, three = aster.shared
    assert (one.holders, one.in_sum) == (1, aster.guarantees[0].epsilon)
    for held in (two, three):
        cost = accountant.epsilon_for_copies(((EVENT, 3),), 1e-5, Guarantee.IN_SUM, CHARTER.honest, held.holders)
        assert held.in_sum == cost
    assert one.in_sum < two.in_sum < three.in_sum  # type: ignore[operator]


def test_a_tally_refuses_entries_out_of_order() -> None:
    entries = _writer(1).entries
    with pytest.raises(LedgerBroken):
        Tally(CHARTER.digest, entries[1:])
    with pytest.raises(LedgerBroken):
        Tally(CHARTER.digest, [*entries, entries[-1]])


@settings(max_examples=15)
@given(st.lists(st.sampled_from(["confirmed", "lapsed", "reserved"]), max_size=8))
def test_rounds_left_and_counts_agree_with_counting(fates: list[str]) -> None:
    writer = ChainWriter(charter=CHARTER.digest)
    for number, fate in enumerate(fates, start=1):
        writer.move("reserve", "aster", number)
        if fate != "reserved":
            writer.move("charge" if fate == "confirmed" else "lapse", "aster", number)
    aster = _report(writer, present_event=EVENT).participants[0]
    assert aster.charged == fates.count("confirmed")
    assert aster.reserved == fates.count("reserved")
    assert aster.rounds_left == 10 - aster.charged - aster.reserved


def test_a_tightened_cap_is_the_cap_from_then_on_for_that_participant() -> None:
    writer = _writer(2)
    caps = Caps(epsilon_alone=30.0, epsilon_in_sum=5.0, delta=1e-5)
    action = OfficersAction(
        what="tighten",
        officer="kim",
        role="officer",
        second=None,
        alarm=None,
        caps=caps,
        limits=(RowLimit(row="training", count=4),),
    )
    at = writer.entries[-1].at + 60
    head = writer.verifier.head
    writer.append(next_action_entry(head, CHARTER.digest, at, "birch", "asked for by the board", action))
    aster, birch, _ = _report(writer).participants
    assert [budget.cap for budget in birch.guarantees] == [5.0, 30.0]
    assert [row.count for row in birch.rows if row.name == "training"] == [4]
    assert birch.rounds_left == 2
    assert birch.tightened_from == CHARTER.entry("birch").caps
    assert aster.tightened_from is None
    assert (aster.guarantees[0].cap, aster.rounds_left) == (8.0, 8)
    before = _report(writer, period=Period(start=None, end=at)).participants[1]
    assert before.guarantees[0].cap == 8.0


def test_caps_are_each_participants_own() -> None:
    caps = Caps(epsilon_alone=30.0, epsilon_in_sum=7.0, delta=1e-6)
    roster = tuple(
        entry.model_copy(update={"caps": caps}) if entry.partner == "birch" else entry for entry in CHARTER.roster
    )
    signed = CHARTER.model_copy(update={"roster": roster})
    writer = ChainWriter(charter=signed.digest)
    writer.attempt(1, ("aster", "birch"))
    aster, birch, _ = build_report(signed, writer.entries, AT, source="service").participants
    assert [budget.cap for budget in birch.guarantees] == [7.0, 30.0]
    assert birch.delta == 1e-6
    spent = [float(participant.guarantees[0].epsilon) for participant in (aster, birch)]
    assert spent[1] > spent[0]  # the same event costs more at a smaller delta
    assert Guarantee.IN_SUM is birch.guarantees[0].kind
