"""Reports computed anew from an export: over two charters, with tightened caps under a table and under a filter."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from privacy.dp.caps import Caps
from privacy.dp.events import TableRow
from privacy.errors import DigestMismatch, LedgerBroken
from privacy.ledger.entry import RowLimit
from privacy.ledger.export import service_export
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Charter, Checkpoint
from privacy.protocol.signing import sign
from privacy.report import pdf_data
from privacy.report.budget_report import BudgetReport
from privacy.report.build import build_report
from privacy.report.catalogue import LANGUAGES, catalogue
from privacy.report.period import Period
from privacy.report.recompute import check_against_ledger
from privacy.report.render import render_html, render_json
from tests.privacy.ledger.chains import (
    COUNTS,
    EVENT,
    SERVER_KEY,
    ChainWriter,
    accepted,
    charter,
    plan_digest,
    signed_charter,
)
from tests.privacy.report.reports import alarm

TABLE = (TableRow(name="counts", event=COUNTS, count=2), TableRow(name="training", event=EVENT, count=10))
FIRST = charter(("aster", "birch", "cedar", "dahlia"), TABLE)
SECOND = FIRST.model_copy(update={"epoch": 2, "previous": FIRST.digest, "roster": FIRST.roster[:3]})
FILTERED = SECOND.model_copy(update={"filter_order": 6})
TIGHTER = Caps(epsilon_alone=20.0, epsilon_in_sum=5.0, delta=1e-5)


@dataclass
class Consortium:
    """Two charters, what officers did under the second, and one chain."""

    second: Charter
    chain: ChainWriter = field(default_factory=lambda: ChainWriter(charter=FIRST.digest))

    @property
    def lines(self) -> list[bytes]:
        checkpoint = sign(
            Checkpoint(charter=self.second.digest, chain=self.chain.verifier.head), SERVER, SERVER_KEY
        )
        charters = [
            (signed_charter(one), [accepted(one, partner) for partner in one.partners])
            for one in (FIRST, self.second)
        ]
        return list(service_export(charters, checkpoint, [], [one.canonical_bytes for one in self.chain.entries]))

    def report(self, participants: list[str] | None = None, since: int = 0) -> BudgetReport:
        """since: how many entries lie before the period."""
        entries = self.chain.entries
        as_of = entries[-1].at + 60
        return build_report(
            self.second,
            entries,
            as_of,
            source="service",
            participants=participants,
            period=Period(start=entries[since].at if since else None, end=as_of + 1),
            earlier=[FIRST, self.second],
            alarms=[alarm(1, entries[0].at), alarm(2, entries[0].at)],
        )

    def check(self, report: BudgetReport) -> None:
        read = BudgetReport.model_validate_json(render_json(report))
        assert check_against_ledger(read, self.second, self.lines).head.count == len(self.chain.entries)


def _consortium(second: Charter) -> Consortium:
    made = Consortium(second)
    made.chain.attempt(1, FIRST.partners)
    made.chain.charter = second.digest
    made.chain.attempt(2, second.partners)
    made.chain.officer("birch", "suspend", "asked for by its board")
    made.chain.officer("birch", "resume", "all is well", officer="lee", second="kim")
    limits = () if second.filter_order else (RowLimit(row="counts", count=1), RowLimit(row="training", count=4))
    made.chain.officer("birch", "tighten", "asked for by its board", caps=TIGHTER, limits=limits)
    made.chain.officer(None, "acknowledge", "a forgotten password", alarm=plan_digest(1))
    made.chain.attempt(3, second.partners)
    return made


@pytest.fixture(params=[SECOND, FILTERED], ids=["table", "filter"])
def consortium(request: pytest.FixtureRequest) -> Consortium:
    return _consortium(request.param)


@pytest.mark.parametrize("since", [0, 5])
@pytest.mark.parametrize("participants", [None, ["birch"]])
def test_what_officers_did_and_both_charters_are_computed_anew(
    consortium: Consortium, participants: list[str] | None, since: int
) -> None:
    made = consortium.report(participants, since)
    birch = next(one for one in made.participants if one.partner == "birch")
    assert [budget.cap for budget in birch.guarantees] == [5.0, 20.0]
    assert [one.action.what for one in birch.entries if one.action] == ["suspend", "resume", "tighten"]
    assert {one.epoch for one in birch.entries} == {1, 2}
    assert [one.partner for one in made.former] == ([] if participants else ["dahlia"])
    consortium.check(made)


def test_rounds_left_are_what_a_filter_has_left_under_a_tightened_cap() -> None:
    consortium = _consortium(FILTERED)
    aster, birch, _ = consortium.report().participants
    tight = FILTERED.filter_for("birch", TIGHTER)
    assert tight is not None
    assert birch.rounds_left == min(10 - birch.charged, tight.room_for(((EVENT, 2),), EVENT))
    assert birch.rounds_left < (aster.rounds_left or 0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_and_print_say_by_which_rule_the_cap_holds(language: str) -> None:
    t = catalogue(language)
    for second, said in ((SECOND, t("meaning.fixed")), (FILTERED, t("meaning.fixed_filter", order=6))):
        made = _consortium(second).report()
        assert said in render_html(made, language)
        assert any(part["text"].startswith(said) for part in pdf_data.printed(made, language)["meaning"])


def test_a_cap_that_the_ledger_tightened_is_not_stated_as_it_was(consortium: Consortium) -> None:
    made = consortium.report()
    birch = made.participants[1]
    in_sum, alone = birch.guarantees
    looser = birch.model_copy(update={"guarantees": (in_sum.model_copy(update={"cap": 8.0}), alone)})
    lying = made.model_copy(update={"participants": (made.participants[0], looser, made.participants[2])})
    with pytest.raises(DigestMismatch, match="cap"):
        consortium.check(lying)


def test_who_acknowledged_what_is_held_to_the_ledger(consortium: Consortium) -> None:
    made = consortium.report()
    assert made.alarms is not None
    seen, waiting = made.alarms
    assert (seen.id, waiting.id) == (plan_digest(1), plan_digest(2))
    assert seen.acknowledged is not None
    other = seen.model_copy(update={"acknowledged": seen.acknowledged.model_copy(update={"officer": "lee"})})
    unseen = seen.model_copy(update={"acknowledged": None})
    both = waiting.model_copy(update={"acknowledged": seen.acknowledged})
    for alarms in ((other, waiting), (unseen, waiting), (seen, both)):
        with pytest.raises(DigestMismatch, match="acknowledged"):
            consortium.check(made.model_copy(update={"alarms": alarms}))


def test_entries_of_an_earlier_charter_and_of_those_who_left_cannot_be_left_out(consortium: Consortium) -> None:
    made = consortium.report()
    aster = made.participants[0]
    later = aster.model_copy(update={"entries": tuple(one for one in aster.entries if one.epoch == 2)})
    for change in ({"participants": (later, *made.participants[1:])}, {"former": ()}, {"actions": ()}):
        with pytest.raises(DigestMismatch):
            consortium.check(made.model_copy(update=change))


def test_a_ledger_on_which_a_cap_was_loosened_proves_no_report(consortium: Consortium) -> None:
    looser = Caps(epsilon_alone=34.0, epsilon_in_sum=8.0, delta=1e-5)
    consortium.chain.officer("birch", "tighten", "not a tightening", caps=looser)
    with pytest.raises(LedgerBroken, match="no looser"):
        consortium.check(consortium.report())


def test_a_later_tightening_keeps_the_counts_that_it_does_not_name() -> None:
    consortium = _consortium(SECOND)
    tightest = TIGHTER.model_copy(update={"epsilon_in_sum": 4.0})
    consortium.chain.officer(
        "birch", "tighten", "less still", caps=tightest, limits=(RowLimit(row="counts", count=0),)
    )
    birch = consortium.report().participants[1]
    assert birch.guarantees[0].cap == 4.0
    assert [row.count for row in birch.rows] == [0, 4]
