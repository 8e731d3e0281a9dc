"""The printed report: whole, the same bytes each time, its fonts inside, and names that are names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from privacy.errors import ConfigurationError
from privacy.report import charts, fonts, pdf, pdf_data, pdf_figures, pdf_period
from privacy.report.catalogue import LANGUAGES, PRINT, Catalogue, catalogue
from privacy.report.pdf import render_pdf
from tests import catalogues
from tests.privacy.report.reports import NAMES, over_two_charters, report

KINDS: dict[str, dict[str, Any]] = {
    "consortium": {"second_half": True},
    "one participant": {"only": True, "source": "partner"},
    "many rounds of one": {"only": True, "rounds": 30, "second_half": True},
    "many actions": {"actions": 30},
    "many alarms": {"alarms": 20},
    "few alarms": {"alarms": 2, "only": True},
    "nothing happened": {"rounds": 0, "alarms": 0},
    "no action in the period": {"second_half": True, "quiet": True},
    "nothing happened to one": {"rounds": 0, "only": True, "room": 0, "quiet": True},
    "without bound": {"unprotected": True},
    "one without bound": {"unprotected": True, "only": True},
    "above a cap": {"cap": 0.01},
    "one above a cap": {"cap": 0.01, "only": True},
    "used up": {"room": 0},
    "one used up": {"room": 0, "only": True},
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_report_is_set_the_same_each_time(kind: str, language: str) -> None:
    made = report(**KINDS[kind])
    first = render_pdf(made, language)
    assert first.startswith(b"%PDF-1.7")
    assert first == render_pdf(made, language)


def test_every_text_of_print_is_used_by_some_report(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    call = Catalogue.__call__

    def listening(self: Catalogue, message: str, **values: object) -> str:
        used.add(message)
        return call(self, message, **values)

    monkeypatch.setattr(Catalogue, "__call__", listening)
    for kind in KINDS.values():
        pdf_data.printed(report(**kind), "en")
    monkeypatch.undo()
    source = next(one for one in catalogues.sources() if one.stem == PRINT.name)
    texts = set(catalogues.texts(source))
    assert {one for one in used if one.startswith("print.")} == texts


@pytest.mark.parametrize(
    ("kind", "said", "alarming"),
    [
        ("consortium", "All 3 participants are within", False),
        ("used up", "3 of 3 participants have no round left", False),
        ("above a cap", "3 of 3 participants are above", True),
        ("without bound", "1 of 3 participants trained without noise", True),
        ("one without bound", "no bound can be stated", True),
        ("one above a cap", "above a cap", True),
    ],
)
def test_the_first_page_says_the_worst_that_is_true(kind: str, said: str, alarming: bool) -> None:
    data = pdf_data.printed(report(**KINDS[kind]), "en")
    assert said in data["verdict"]
    assert data["alarming"] is alarming


def test_a_list_that_is_cut_short_says_so() -> None:
    data = pdf_data.printed(report(rounds=30, only=True), "en")
    assert len(data["happened"]) == pdf_period.MOST_ENTRIES
    assert "32; the newest 9 are shown" in data["happened_note"]  # 30 charges, a lapse, an action


def test_two_campaigns_of_one_charter_have_attempts_of_their_own() -> None:
    """Each counts its rounds from 1: the printed number of attempts is by plan."""
    made = report(rounds=2)
    alike = tuple(
        one.model_copy(update={"entries": tuple(entry.model_copy(update={"round": 1}) for entry in one.entries)})
        for one in made.participants
    )
    told = pdf_period.activity(made.model_copy(update={"participants": alike}), None, catalogue("en", PRINT))
    assert told[0] == ("Attempts with a cohort", "2")


@pytest.mark.parametrize("other_rule", [False, True])
def test_what_earlier_charters_cost_is_printed(other_rule: bool) -> None:
    made = over_two_charters(other_rule=other_rule)
    first, *_ = made.participants
    assert first.lifetime is not None
    summed = [charts.number(first.lifetime.summed.in_sum), charts.number(first.lifetime.summed.alone), "2 × 10⁻⁵"]
    held = [charts.number(one.in_sum) for one in first.shared]
    line = pdf_data.printed(made, "en")["beyond"][0]
    assert line["values"] == ["2", "7", *summed, *held[1:]]
    one = pdf_data.printed(over_two_charters(other_rule=other_rule, only=True), "en")["participants"][0]
    names = [name for name, *_ in one["epochs"]]
    assert names[:4] == [
        *(f"epoch {e.epoch} · {e.charter[:16]}" for e in first.lifetime.epochs),
        "Caps of all charters added up",
        "Spent under all charters, added up",
    ]
    assert names[4:] == ([] if other_rule else ["Spent under all charters, taken together"])
    # The charters' own caps, 8 and 34 in each, although officers tightened the second.
    assert one["epochs"][2] == ["Caps of all charters added up", "", "16.00", "68.00", "2 × 10⁻⁵"]
    assert one["epochs"][3] == ["Spent under all charters, added up", "7", *summed]
    assert one["shared"] == [[str(holders), value] for holders, value in enumerate(held, start=1)]
    assert ("honest contributors changed" in one["epochs_note"]) == other_rule


@pytest.mark.parametrize(
    ("language", "said"), [("en", "did not come from what rounds had shown"), ("ko", "강화하기로 한 결정이")]
)
def test_what_a_tightened_cap_is_worth_is_said_and_only_where_there_is_one(language: str, said: str) -> None:
    made = over_two_charters(only=True)
    old = made.participants[0].tightened_from
    assert old is not None
    assert (old.epsilon_in_sum, old.epsilon_alone) == (8.0, 34.0)
    texts = [part["text"] for part in pdf_data.printed(made, language)["meaning"]]
    assert sum(said in text and "8 / 34" in text for text in texts) == 1
    assert not any(said in part["text"] for part in pdf_data.printed(report(), language)["meaning"])


def test_charts_are_of_those_who_spent_most() -> None:
    data = pdf_data.printed(report(partners=pdf_figures.MOST_CHARTS + 3), "en")
    assert len(data["charts"]) == pdf_figures.FEW_CHARTS
    assert len(data["glance"]) == len(data["details"]) == pdf_figures.MOST_CHARTS + 3


def test_the_font_is_known_by_its_characters() -> None:
    known = fonts.coverage()
    assert all(ord(sign) in known for sign in "AZaz09εδγ∞×⁻⁵–—“”□한글뷁힣가")
    assert not any(ord(sign) in known for sign in "漢\u202e\t\U0001f600")
    assert fonts.drawable(["a漢", {"b": "\u202ec"}, 3]) == ["a□", {"b": "□c"}, 3]


def test_the_fonts_are_those_of_the_note_beside_them() -> None:
    from hashlib import sha256

    note = (fonts.FOLDER / "PROVENANCE.md").read_text("utf-8")
    told = re.findall(r"^\| (\S+) \| dist\S* \| ([0-9a-f]{64}) \|$", note, re.MULTILINE)
    there = {path.name for path in fonts.FOLDER.iterdir()} - {"PROVENANCE.md"}
    assert {name for name, _ in told} == there
    for name, digest in told:
        assert sha256((fonts.FOLDER / name).read_bytes()).hexdigest() == digest


def test_a_template_that_fails_is_an_error_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "STANDARDS", ["a-1a", "a-4"])
    with pytest.raises(ConfigurationError):
        render_pdf(report())


def _poppler(program: str, path: Path, *arguments: str) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} of poppler-utils is absent")
    return subprocess.run([program, *arguments, str(path), *(["-"] if program == "pdftotext" else [])],
        capture_output=True, text=True, check=True, timeout=60).stdout  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "kind",
    [
        {"partners": 12, "rounds": 300, "second_half": True, "actions": 40, "alarms": 40},
        {"partners": 3, "rounds": 300, "only": True},
        {"partners": 3, "rounds": 0},
        {"partners": 40, "rounds": 5, "actions": 3, "alarms": 3},
    ],
    ids=["twelve", "one", "new", "forty"],
)
def test_pages_are_a4_few_tagged_and_hold_their_fonts(kind: dict[str, Any], language: str, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(render_pdf(report(**kind), language))
    info = _poppler("pdfinfo", path)
    assert "(A4)" in info
    assert re.search(r"Tagged:\s+yes", info)
    assert re.search(r"JavaScript:\s+no", info)
    assert 2 <= int(re.search(r"Pages:\s+(\d+)", info).group(1)) <= 6  # type: ignore[union-attr]
    listed = [line.split() for line in _poppler("pdffonts", path).splitlines()[2:]]
    assert {name.split("+")[1].split("-Identity")[0] for name, *_ in listed} == {
        "Pretendard-Regular", "Pretendard-SemiBold", "DejaVuSansMono"
    }  # fmt: skip
    assert all(row[-5:-2] == ["yes", "yes", "yes"] for row in listed)  # embedded, a subset, with Unicode


@pytest.mark.full
def test_names_and_reasons_are_printed_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(render_pdf(report(partners=6, second_half=False)))
    text = _poppler("pdftotext", path, "-layout")
    for name in (NAMES[0], NAMES[1], NAMES[2], NAMES[3], NAMES[5]):
        assert name in text
    assert '=suspended #read("x") after' in text
