"""A period cuts the chain at places with a head each, and states what was spent in it never too small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from privacy.errors import ConfigurationError
from privacy.ledger.chain import verify_lines
from privacy.report.build import build_report
from privacy.report.period import DAY_SECONDS, Period, cut, period_of
from tests.privacy.ledger.chains import ChainWriter, charter
from tests.privacy.report.reports import alarm

CHARTER = charter()
AT = 1_770_000_000


def _writer() -> ChainWriter:
    """Four attempts of three partners, an entry an hour from 1,760,000,000 on, and two actions."""
    writer = ChainWriter(charter=CHARTER.digest)
    writer.action(None, "charter in force")
    for number in range(1, 5):
        writer.attempt(number, CHARTER.partners)
    writer.action("aster", "suspended")
    return writer


def test_days_are_utc_and_both_included() -> None:
    period = period_of("2026-07-01", "2026-07-01", AT * 2)
    assert period.start == 1_782_864_000
    assert period.end == 1_782_864_000 + DAY_SECONDS
    assert period_of(None, None, AT) == Period(start=None, end=AT + 1)
    assert period_of("2025-01-01", "2999-01-01", AT).end == AT + 1


@pytest.mark.parametrize("days", [("2026-07-02", "2026-07-01"), ("2999-01-01", None), ("1.7.26", None), ("", "x")])
def test_days_that_make_no_period_are_refused(days: tuple[str, str | None]) -> None:
    with pytest.raises(ConfigurationError):
        period_of(*days, AT)
    with pytest.raises(ValidationError):
        Period(start=2, end=2)


def test_figures_are_of_the_periods_end_and_entries_of_the_period() -> None:
    writer = _writer()
    start, end = writer.entries[7].at, writer.entries[19].at  # the second and third attempts
    report = build_report(CHARTER, writer.entries, AT, source="service", period=Period(start=start, end=end))
    assert report.opening == verify_lines(writer.lines[:7]).head
    assert report.ledger == verify_lines(writer.lines[:19]).head
    aster = report.participants[0]
    assert (aster.charged_before, aster.charged) == (1, 3)
    assert {entry.round for entry in aster.entries} == {2, 3}
    assert report.actions == ()
    whole = build_report(CHARTER, writer.entries, AT, source="service")
    assert [entry.reason for entry in whole.actions] == ["charter in force"]
    assert whole.participants[0].entries[-1].reason == "suspended"
    assert whole.participants[0].guarantees[0].at_start == 0.0
    once, thrice = (
        build_report(CHARTER, writer.entries[:count], AT, source="service").participants[0].guarantees
        for count in (7, 19)
    )
    for budget, before, after in zip(aster.guarantees, once, thrice, strict=True):
        assert (budget.at_start, budget.epsilon) == (before.epsilon, after.epsilon)


def test_a_participants_report_holds_no_actions_on_others() -> None:
    report = build_report(CHARTER, _writer().entries, AT, source="service", participants=["birch"])
    assert report.actions == ()
    assert "suspended" not in report.model_dump_json()


def test_a_report_until_now_holds_what_was_charged_while_the_clock_was_ahead() -> None:
    writer = _writer()
    behind = writer.entries[10].at
    raised = [alarm(1, behind + 3600)]
    report = build_report(CHARTER, writer.entries, behind, source="service", alarms=raised)
    assert report.ledger == writer.verifier.head
    assert report.participants[0].charged == 4
    assert len(report.alarms or ()) == 1
    ended = build_report(
        CHARTER, writer.entries, behind, source="service", period=Period(start=None, end=behind), alarms=raised
    )
    assert (ended.ledger.count, ended.alarms) == (10, ())


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 19), st.integers(1, 20))
def test_a_cut_holds_all_before_the_end_and_nothing_before_the_start_is_counted_into_the_period(
    times: list[int], start: int, length: int
) -> None:
    template = _writer().entries[0]
    entries = [template.model_copy(update={"at": at}) for at in times]
    period = Period(start=start, end=start + length)
    before, until = cut(entries, period, 20)
    assert 0 <= before <= until <= len(entries)
    assert all(entry.at >= period.end for entry in entries[until:])
    assert all(entry.at < start for entry in entries[:before])
