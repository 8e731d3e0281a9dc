"""Catalogues agree in every language, pages use only what is there, and the HTML needs nothing else."""

from __future__ import annotations

import re
import string
from pathlib import Path
from xml.etree import ElementTree

import pytest

import aggregator.console
import privacy.report
from privacy.dp.events import TableRow
from privacy.errors import ConfigurationError
from privacy.protocol.round_state import RoundState
from privacy.report import charts, shown
from privacy.report.budget_report import BudgetReport, GuaranteeBudget
from privacy.report.build import build_report
from privacy.report.catalogue import LANGUAGES, catalogue
from privacy.report.render import render_html
from tests import catalogues
from tests.privacy.ledger.chains import EVENT, NOTHING, ChainWriter, charter, plan_digest
from tests.privacy.report.reports import over_two_charters

_PLACES = [Path(privacy.report.__file__).parent, Path(aggregator.console.__file__).parent]
_SOURCES = list(catalogues.sources())


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def _messages(language: str) -> dict[str, str]:
    every = [catalogues.texts(source) for source in _SOURCES if source.parent.name == language]
    assert sum(map(len, every)) == len({name for domain in every for name in domain})
    return {name: text for domain in every for name, text in domain.items()}


def test_every_language_has_the_same_messages_and_placeholders() -> None:
    files = {language: {s.name for s in _SOURCES if s.parent.name == language} for language in LANGUAGES}
    assert {"report.po", "console.po"} <= files["en"]
    reference = _messages(LANGUAGES[0])
    for language in LANGUAGES[1:]:
        assert files[language] == files["en"]
        messages = _messages(language)
        assert messages.keys() == reference.keys()
        for name, text in messages.items():
            assert _placeholders(text) == _placeholders(reference[name]), name
            assert text.strip()
            if language == "ko":
                assert text == reference[name] or re.search("[가-힣]", text), name


@pytest.mark.parametrize("source", _SOURCES, ids=lambda s: f"{s.parent.name}/{s.stem}")
def test_what_is_compiled_is_what_the_source_says(source: Path) -> None:
    """`make catalogues` after a change of a .po."""
    assert catalogues.texts_compiled(source.with_suffix(".mo").read_bytes()) == catalogues.texts(source)


def test_an_unknown_message_raises_and_shows_nothing() -> None:
    for message in ("report.no_such_message", ""):
        with pytest.raises(KeyError):
            catalogue("ko")(message)


def test_templates_and_catalogue_name_the_same_messages() -> None:
    text = "".join(
        path.read_text("utf-8") for place in _PLACES for path in (*place.rglob("*.html"), *place.rglob("*.py"))
    )
    known = set(_messages("en"))
    groups = {name.split(".")[0] for name in known}
    named = {name for name in re.findall(r'["\']([a-z_]+\.[a-z_]+)["\']', text) if name.split(".")[0] in groups}
    named = {name for name in named if not name.endswith(("_", ".html", ".css", ".typ"))}
    assert named <= known
    # Families named by a variable: guarantee.<name>, entry.<kind>, ...
    families = (
        *re.findall(r'["\']([a-z_]+\.[a-z_]*)["\'] ~', text),
        *re.findall(r'f"([a-z_]+\.[a-z_]*)\{', text),
        *(f"{about}_heading" for about in re.findall(r'about="([a-z_.]+)"', text)),
    )
    # What print alone says is held to be used by test_pdf, which prints every kind of report.
    unused = {name for name in known - named if not name.startswith((*families, "print."))}
    assert unused == set()


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        catalogue("xx")


def _report(*, unprotected: bool = False, partners: int = 3, rounds: int = 2) -> BudgetReport:
    table = (TableRow(name="open", event=NOTHING, count=2), TableRow(name="training", event=EVENT, count=10))
    signed = charter(table=table if unprotected else table[1:])
    writer = ChainWriter(charter=signed.digest)
    for number in range(1, rounds + 1):
        writer.attempt(number, signed.partners)
    if unprotected:
        writer.move("reserve", "aster", 3, row="open", event=NOTHING)
        writer.move("charge", "aster", 3, row="open", event=NOTHING)
    writer.move("reserve", "aster", 4)
    writer.action("aster", "<b>suspended</b> & resumed")
    return build_report(
        signed,
        writer.entries,
        1_770_000_000,
        source="service",
        outcomes={plan_digest(2): RoundState.VOID},
        participants=signed.partners[:partners],
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("unprotected", [False, True])
@pytest.mark.parametrize("partners", [1, 3])
def test_the_page_is_whole_and_loads_nothing(language: str, unprotected: bool, partners: int) -> None:
    text = render_html(_report(unprotected=unprotected, partners=partners), language)
    assert f'<html lang="{language}">' in text
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert "<script" not in text
    assert "url(http" not in text
    assert "@import" not in text
    assert "<b>suspended" not in text  # what stands in a ledger is text, not markup
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for used in re.findall(r"url\(#([^)]+)\)", text):
        assert used in ids
    assert ("∞" in text) == unprotected


def test_a_page_states_both_epsilons_and_both_caps() -> None:
    report = _report()
    text = render_html(report)
    for participant in report.participants:
        for budget in participant.guarantees:
            assert f"ε {charts.number(budget.epsilon)}" in text
            assert f"of {budget.cap:g}" in text


@pytest.mark.parametrize("other_rule", [False, True])
def test_a_page_states_what_every_charter_cost_and_units_that_several_hold(other_rule: bool) -> None:
    report = over_two_charters(other_rule=other_rule)
    text = render_html(report)
    for participant in report.participants:
        life = participant.lifetime
        assert life is not None
        stated = [*(one.spent for one in life.epochs), life.summed, *([life.composed] if life.composed else [])]
        stated += [life.capped] if len(life.epochs) > 1 else []
        for spent in stated:
            cells = (charts.number(spent.in_sum), charts.number(spent.alone), shown.delta(spent.delta))
            assert "".join(f'<td class="number">{cell}</td>' for cell in cells) in text
        for one in participant.shared:
            assert f'<td>{one.holders}</td><td class="number">{charts.number(one.in_sum)}</td>' in text
    assert ("Spent under all charters, taken together" in text) != other_rule
    assert ("honest contributors changed" in text) == other_rule
    assert "Nothing was charged under any charter." in render_html(_report(rounds=0))


def _budget(epsilon: float, cap: float, without: float = 0.0, held: float | None = None) -> GuaranteeBudget:
    return GuaranteeBudget(
        guarantee="in_sum",
        cap=cap,
        at_start=0.0,
        epsilon=epsilon,
        without_result=without,
        with_reserved=epsilon if held is None else held,
        even_odds=0.6,
        detections=(),
        curve=(),
    )


def _widths(svg: str) -> dict[str, float]:
    root = ElementTree.fromstring(svg)
    return {
        rect.get("class", ""): float(rect.get("width", "0"))
        for rect in root.iter("rect")
        if rect.get("x") is not None
    }


def test_a_gauge_is_drawn_to_scale() -> None:
    widths = _widths(charts.gauge(_budget(4.0, 8.0, without=1.0, held=6.0), "label", "k"))
    assert widths["track"] == 360
    assert widths["spent"] == pytest.approx(135)
    assert widths["fruitless"] == pytest.approx(45)
    assert widths["held"] == pytest.approx(90)


def test_a_gauge_beyond_its_cap_shows_the_cap_within() -> None:
    svg = charts.gauge(_budget(10.0, 8.0), "label", "k")
    assert "spent over" in svg
    cap = next(line for line in ElementTree.fromstring(svg).iter("line") if line.get("class") == "cap")
    assert float(cap.get("x1", "0")) == pytest.approx(360 * 8 / 10.4, abs=0.1)


def test_no_curve_is_drawn_once_epsilon_is_infinite() -> None:
    aster, birch, _ = _report(unprotected=True).participants
    assert charts.curve(birch.guarantees[0], "label", "cap").startswith("<svg")
    assert charts.curve(aster.guarantees[0], "label", "cap") == ""


def test_labels_of_charts_are_escaped() -> None:
    assert "<i>" not in charts.gauge(_budget(1.0, 8.0), '"><i>', "k")


def test_small_and_infinite_figures_are_not_rounded_away() -> None:
    assert charts.number("infinite") == "∞"
    assert charts.number(0.0) == "0.00"
    assert charts.number(0.0001) == "< 0.01"
    assert charts.number(7.996) == "8.00"
