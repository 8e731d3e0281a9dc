"""What each charge cost: against the accountant asked directly, under each entry's own charter, in every form."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from privacy.dp import accountant
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import LedgerBroken
from privacy.ledger.entry import CHARGES
from privacy.report import charts, entry_costs, pdf_data
from privacy.report.budget_report import INFINITE, ReportedEntry, Spent
from privacy.report.catalogue import LANGUAGES, catalogue
from privacy.report.render import render_csv, render_html
from tests.privacy.report.reports import EVENT, consortium, over_two_charters, report


def directly(counts: Counter[PrivacyEvent], honest: int) -> tuple[float, float]:
    rows = tuple(counts.items())
    in_sum, alone = (accountant.epsilon(rows, 1e-5, g, honest) for g in (Guarantee.IN_SUM, Guarantee.ALONE))
    return in_sum, alone


def figures_of(spent: Spent | None) -> tuple[object, object] | None:
    return None if spent is None else (spent.in_sum, spent.alone)


def test_each_charge_has_its_own_cost_and_that_of_all_up_to_it_under_its_charter() -> None:
    made = over_two_charters(other_rule=True)
    first = made.participants[0]
    rules = {1: 2, 2: 3}  # honest contributors by epoch
    so_far = {1: Counter({EVENT: 2}), 2: Counter()}  # two charges lie before the period
    charged = [one for one in first.entries if one.kind in CHARGES]
    assert [one.epoch for one in charged] == [1, 1, 2, 2, 2]
    for one in charged:
        so_far[one.epoch][EVENT] += 1
        assert one.cost is not None
        assert one.cost.itself.delta == 1e-5
        assert figures_of(one.cost.itself) == pytest.approx(directly(Counter({EVENT: 1}), rules[one.epoch]))
        assert figures_of(one.cost.cumulated) == pytest.approx(directly(so_far[one.epoch], rules[one.epoch]))
    last = charged[-1].cost
    assert last is not None
    assert last.cumulated is not None
    assert figures_of(last.cumulated) == tuple(budget.epsilon for budget in first.guarantees)
    (gone,) = made.former
    own = [one.cost for one in gone.entries if one.kind in CHARGES]
    assert [figures_of(cost.cumulated) for cost in own if cost] == [
        figures_of(one.cost.cumulated) for one in charged[:2] if one.cost
    ]
    others = [one for who in made.everyone for one in who.entries if one.kind not in CHARGES]
    assert others
    assert not any(one.cost for one in (*others, *made.actions))


def test_what_is_cumulated_is_of_the_newest_and_follows_from_the_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entry_costs, "NEWEST", 3)

    def stated(entries: tuple[ReportedEntry, ...]) -> list[bool]:
        return [one.cost.cumulated is not None for one in entries if one.cost is not None]

    for only in (False, True):
        made = report(partners=4, rounds=5, only=only)
        for participant in made.participants:
            assert stated(participant.entries) == [False, False, True, True, True], "four who took part alike share"
    signed, writer = consortium(3, 4)
    charters = {signed.digest: signed}
    costs = entry_costs.entry_costs(writer.entries, 0, charters, None)
    assert [index for index, cost in costs.items() if cost.cumulated] == sorted(costs)[-9:]
    cut = writer.entries[len(writer.entries) // 2].index
    later = entry_costs.entry_costs(writer.entries, cut, charters, None)
    assert later == {index: cost for index, cost in costs.items() if index > cut}
    own = entry_costs.entry_costs(writer.entries, 0, charters, [signed.partners[1]])
    assert own.keys() < costs.keys()
    assert all(costs[index] == cost for index, cost in own.items())
    with pytest.raises(LedgerBroken):
        entry_costs.entry_costs(writer.entries, 0, {}, None)


def test_a_charge_without_noise_is_infinite_and_so_is_all_up_to_it() -> None:
    made = report(unprotected=True)
    last = [one for one in made.participants[0].entries if one.kind in CHARGES][-1]
    assert last.cost is not None
    assert figures_of(last.cost.itself) == figures_of(last.cost.cumulated) == (INFINITE, INFINITE)
    assert last.cost.cumulated is not None


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_print_and_table_show_them(language: str) -> None:
    made = report(rounds=3, only=True)
    t = catalogue(language)
    page, data = render_html(made, language), pdf_data.printed(made, language)
    assert data["costed"]
    assert t("entries.costs_note") in page
    assert t("entries.costs_note") in data["happened_note"]
    printed = {line["index"]: (line["itself"], line["cumulated"]) for line in data["happened"]}
    table = csv.DictReader(io.StringIO(render_csv(made).decode("utf-8-sig"), newline=""))
    lines = {int(line["entry"]): line for line in table if line["line"] == "entry"}
    shown = 0
    for one in made.participants[0].entries:
        line = lines[one.index]
        if one.cost is None or one.cost.cumulated is None:
            assert line["cost_in_sum"] == line["cumulated_alone"] == ""
            continue
        shown += 1
        itself, cumulated = (
            f"{charts.number(spent.in_sum)} / {charts.number(spent.alone)}"
            for spent in (one.cost.itself, one.cost.cumulated)
        )
        assert printed[str(one.index)] == (itself, cumulated)
        assert f">{itself}</td>" in page
        assert f">{cumulated}</td>" in page
        assert float(line["cost_in_sum"]) == one.cost.itself.in_sum
        assert float(line["cumulated_alone"]) == one.cost.cumulated.alone
    assert shown == 3
    whole = report(rounds=1, actions=1)
    assert not pdf_data.printed(whole, language)["costed"], "a consortium's print lists actions"
