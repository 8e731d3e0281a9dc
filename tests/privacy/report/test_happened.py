"""What happened in a period: every entry under whatever charter, who did what, alarms and who looked at them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from privacy.report import pdf_data, sentences
from privacy.report.budget_report import BudgetReport
from privacy.report.build import build_report
from privacy.report.catalogue import LANGUAGES, catalogue
from privacy.report.pdf import render_pdf
from privacy.report.render import render_html, render_json
from privacy.report.table import render_csv
from tests.privacy.ledger.chains import plan_digest
from tests.privacy.report.reports import REASON, alarm, consortium, over_two_charters, report


@pytest.fixture(scope="module")
def made() -> BudgetReport:
    return over_two_charters()


def test_entries_of_the_period_under_an_earlier_charter_are_there(made: BudgetReport) -> None:
    indices = [one.index for who in made.everyone for one in who.entries] + [one.index for one in made.actions]
    assert sorted(indices) == list(range(made.opening.count + 1, made.ledger.count + 1))
    first = made.participants[0]
    charged = [(one.epoch, one.round) for one in first.entries if one.kind == "charge"]
    assert charged == [(1, 6), (1, 7), (2, 11), (2, 12), (2, 13)]
    assert (first.charged_before, first.charged) == (0, 3)  # of this charter
    assert "under earlier charters: 16." in sentences.under_earlier_charters(made, catalogue("en"))
    assert sentences.under_earlier_charters(report(), catalogue("en")) == ""


def test_who_is_not_on_the_roster_any_more_is_not_forgotten(made: BudgetReport) -> None:
    (gone,) = made.former
    assert gone.partner == "partner-003"
    assert [(one.epoch, one.charged) for one in gone.lifetime.epochs] == [(1, 4)]
    assert [one.round for one in gone.entries if one.kind == "charge"] == [6, 7]
    assert over_two_charters(only=True).former == ()
    line = pdf_data.printed(made, "en")["beyond"][-1]
    assert line["name"] == f"{gone.name} (no longer on the roster)"
    assert line["values"][:2] == ["1", "4"]


def test_an_alarm_is_of_a_period_in_which_it_was_open_and_the_ledger_says_who_looked(made: BudgetReport) -> None:
    assert made.alarms is not None
    found = {one.id: one.acknowledged for one in made.alarms}
    assert list(found) == [plan_digest(3), plan_digest(1), plan_digest(2)]  # the fourth was seen before the period
    assert found[plan_digest(3)] is None
    seen = found[plan_digest(2)]
    assert seen is not None
    assert (seen.officer, seen.role, seen.reason) == ("=park", "officer", REASON)
    entry = next(one for one in made.participants[0].entries if one.index == seen.entry)
    assert entry.action is not None
    assert (entry.action.what, entry.action.alarm, entry.at) == ("acknowledge", plan_digest(2), seen.at)
    later = alarm(9, made.period.end)
    assert later.id not in {one.id for one in report(alarms=0).alarms or ()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_and_print_say_who_did_what_and_why(made: BudgetReport, language: str) -> None:
    t = catalogue(language)
    page, data = render_html(made, language), pdf_data.printed(made, language)
    actions, names = sentences.actions(made), sentences.names(made)
    assert [one.action.what for _, one in actions if one.action] == [
        "acknowledge",
        "acknowledge",
        "suspend",
        "propose-resume",
        "resume",
        "tighten",
    ]
    printed = {line["what"] for line in data["happened"]}
    for partner, one in actions:
        said = sentences.entry(one, t, made.epoch)
        assert said in page
        assert one.action is not None
        assert one.action.officer in said
        whose = said if partner is None else t("period.of", name=names[partner], text=said)
        assert whose in printed
    assert sentences.under_earlier_charters(made, t) in page
    assert data["earlier"] == sentences.under_earlier_charters(made, t)
    assert t("report.epoch", epoch=1) in page
    for one, line in zip(reversed(made.alarms or ()), data["alarms"], strict=True):
        assert line[1:] == [sentences.alarm(one, t, names), sentences.acknowledged(one, t)]
    assert "<b>#x" not in page
    assert render_pdf(made, language).startswith(b"%PDF")


def test_english_words_of_actions_and_alarms(made: BudgetReport) -> None:
    t = catalogue("en")
    said = [sentences.entry(one, t, made.epoch) for _, one in sentences.actions(made)]
    assert said[2:] == [
        "Action: suspended by kim (officer)",
        "Action: kim (officer) proposes to resume",
        "Action: resumed by lee (officer); proposed by kim",
        "Action: cap tightened by kim (officer); caps now 7.5 in the sum, 30 alone",
    ]
    assert made.alarms is not None
    told = sentences.alarm(made.alarms[-1], t, sentences.names(made))
    assert told == "하나제약: 80 % of the cap is spent (In the sum): epsilon 6.4321 of 8."
    assert sentences.acknowledged(made.alarms[0], t) == "not by the end of the period"


def test_who_keeps_no_alarms_says_so_and_none_is_not_unsaid() -> None:
    assert "its own report lists them" in render_html(report(source="partner", only=True))
    assert "none was open" in render_html(report(alarms=0))
    assert "the newest 6 are shown" in pdf_data.printed(report(alarms=20), "en")["alarms_note"]


def test_the_table_has_actions_alarms_and_those_who_left(made: BudgetReport) -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv(made).decode("utf-8-sig"), newline="")))
    entries = [line for line in lines if line["line"] == "entry"]
    assert {line["epoch"] for line in entries} == {"1", "2"}
    tightened = next(line for line in entries if line["action"] == "tighten")
    assert (tightened["officer"], tightened["role"]) == ("kim", "officer")
    assert json.loads(tightened["detail"])["limits"] == [{"count": 6, "row": "training"}]
    assert next(line["second"] for line in entries if line["action"] == "resume") == "kim"
    alarms = [line for line in lines if line["line"] == "alarm"]
    assert [(line["alarm"], line["officer"]) for line in alarms] == [
        (plan_digest(3), ""),
        (plan_digest(1), "kim"),
        (plan_digest(2), "'=park"),
    ]
    assert json.loads(alarms[0]["detail"])["account"] == '=lee <b>#x"'
    gone = [line for line in lines if line["participant"] == "partner-003"]
    assert {"epoch", "lifetime", "entry"} == {line["line"] for line in gone}


def test_it_reads_back(made: BudgetReport) -> None:
    assert render_json(BudgetReport.model_validate_json(render_json(made))) == render_json(made)


def test_what_the_service_wrote_itself_is_said_in_korean_and_what_people_wrote_is_not() -> None:
    signed, writer = consortium(3, 1, quiet=True)
    writer.action(None, "charter of epoch 1 in force")
    made = build_report(signed, writer.entries, writer.entries[-1].at, source="service", participants=None)
    page, data = render_html(made, "ko"), pdf_data.printed(made, "ko")
    assert "제1기 규약 발효" in page
    assert "charter of epoch 1" not in page
    assert data["happened"][0]["reason"] == "제1기 규약 발효"
    assert data["happened"][-1]["reason"] == "charter in force"
