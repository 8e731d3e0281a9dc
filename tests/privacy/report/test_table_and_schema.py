"""CSV and JSON: a stable header, nothing a spreadsheet runs, and a schema that holds what is made."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from privacy.report import schema
from privacy.report.render import render_json
from privacy.report.table import COLUMNS, render_csv, safe
from tests.privacy.report.reports import report

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas" / "budget-report.json"


def _lines(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def test_the_header_is_stable_and_lines_end_as_the_rfc_says() -> None:
    raw = render_csv(report())
    header = raw.removeprefix("\ufeff".encode()).split(b"\r\n", 1)[0].decode()
    assert header == (
        "line,ledger_head,ledger_count,charter,period_start,period_end,source,as_of,participant,name,guarantee,"
        "epsilon,epsilon_at_start,epsilon_without_result,epsilon_with_reserved,cap,delta,even_odds,charged_before,"
        "charged,charged_without_result,reserved,rounds_left,row,count,event,noise_multiplier,sampling_rate,steps,"
        "entry,at,kind,round,attempt,outcome,reason,epoch,composition,holders,"
        "action,officer,role,second,alarm,detail,acknowledged_entry,acknowledged_at,"
        "cost_in_sum,cost_alone,cumulated_in_sum,cumulated_alone"
    )
    assert raw.endswith(b"\r\n")


def test_every_line_says_what_it_rests_on_and_every_figure_is_there() -> None:
    made = report(second_half=True, unprotected=True)
    lines = _lines(render_csv(made))
    assert {(line["ledger_head"], line["ledger_count"]) for line in lines} == {
        (made.ledger.head, str(made.ledger.count))
    }
    budgets = [line for line in lines if line["line"] == "budget"]
    expected = [(p.partner, budget) for p in made.participants for budget in p.guarantees]
    for line, (partner, budget) in zip(budgets, expected, strict=True):
        assert (line["participant"], line["guarantee"]) == (partner, budget.guarantee)
        assert line["epsilon"] == "infinite" or float(line["epsilon"]) == budget.epsilon
    aster = made.participants[0]
    assert aster.lifetime is not None
    own = [line for line in lines if line["participant"] == aster.partner]
    shared = [(int(line["holders"]), line["epsilon"]) for line in own if line["line"] == "shared"]
    assert shared == [(one.holders, str(one.in_sum)) for one in aster.shared]
    summed = [line["epsilon"] for line in own if line["composition"] == "summed"]
    assert summed == [str(aster.lifetime.summed.in_sum), str(aster.lifetime.summed.alone)]
    assert [line["epoch"] for line in own if line["line"] == "epoch"] == ["1", "1"]
    entries = {int(line["entry"]) for line in lines if line["line"] == "entry"}
    assert entries == {e.index for e in (*made.actions, *(e for p in made.participants for e in p.entries))}


def test_no_cell_is_a_formula_whatever_partners_are_called() -> None:
    for line in _lines(render_csv(report(partners=6))):
        for cell in line.values():
            assert not cell.lstrip().startswith(tuple("=+-@\t\r\n＝＋－＠")), cell
    names = {line["name"] for line in _lines(render_csv(report(partners=6)))}
    assert '\'=HYPERLINK("x")' in names


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "  =1", "\r=1", "|x", "％".replace("％", "%x")])
def test_what_would_be_a_formula_is_text(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert safe("Aster 1") == "Aster 1"


def test_the_published_schema_is_the_models() -> None:
    """`python -m privacy.report.schema docs/schemas/budget-report.json` after a change of the model."""
    assert PUBLISHED.read_text("utf-8") == schema.written()
    Draft202012Validator.check_schema(schema.document())


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("unprotected", [False, True])
def test_reports_validate_and_others_do_not(only: bool, unprotected: bool) -> None:
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text("utf-8")))
    made = json.loads(render_json(report(only=only, unprotected=unprotected, second_half=True)))
    validator.validate(made)
    for wrong in ({"ledger": None}, {"epoch": 0}, {"charter": "0"}, {"more": 1}, {"participants": [{}]}):
        with pytest.raises(ValidationError):
            validator.validate({**made, **wrong})


def test_columns_are_named_once() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
