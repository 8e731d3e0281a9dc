"""The first page of the printed report: whose it is, over what time, and the one sentence that matters.

The verdict is the worst that is true: without bound, above a cap, used up, or within both caps.
"""

from __future__ import annotations

from typing import Any

from privacy.report import charts, shown
from privacy.report.budget_report import INFINITE, BudgetReport, Epsilon, GuaranteeBudget, ParticipantBudget
from privacy.report.catalogue import Catalogue
from privacy.report.happened import charges


def source(report: BudgetReport, alone: ParticipantBudget | None, t: Catalogue) -> str:
    if report.source == "partner" and alone is not None:
        return t("print.by_partner", name=alone.name)
    return t(f"report.source_{report.source}")


def span(report: BudgetReport, t: Catalogue) -> str:
    last = shown.day(report.period.end - 1)
    if report.period.start is None:
        return t("print.until", last=last)
    return t("print.span", first=shown.day(report.period.start), last=last)


def verdict(report: BudgetReport, alone: ParticipantBudget | None, t: Catalogue) -> tuple[str, bool]:
    """(sentence, whether it is a warning)."""
    everyone = report.participants
    unbounded = [p for p in everyone if any(budget.epsilon == INFINITE for budget in p.guarantees)]
    above = [p for p in everyone if any(_above(budget) for budget in p.guarantees)]
    used_up = [p for p in everyone if p.rounds_left == 0]
    for found, name, alarming in (
        (unbounded, "unbounded", True),
        (above, "above", True),
        (used_up, "used_up", False),
    ):
        if found and alone:
            return t(f"print.one_{name}"), alarming
        if found:
            return t(f"print.some_{name}", count=len(found), total=len(everyone)), alarming
    return (t("print.one_within") if alone else t("print.all_within", total=len(everyone))), False


def _above(budget: GuaranteeBudget) -> bool:
    return budget.epsilon != INFINITE and budget.epsilon > budget.cap


def size(value: Epsilon) -> float:
    return float("inf") if value == INFINITE else value


def highlights(report: BudgetReport, t: Catalogue) -> list[dict[str, Any]]:
    """Both epsilons of the participant who spent most of its cap, attempts, and the fewest rounds left."""
    if not report.participants:
        return []
    cells = []
    for place, name in ((0, "in_sum"), (1, "alone")):
        most = max((p.guarantees[place] for p in report.participants), key=lambda b: size(b.epsilon) / b.cap)
        cells.append(
            {
                "label": t(f"print.most_{name}" if len(report.participants) > 1 else f"print.epsilon_{name}"),
                "value": f"ε {charts.number(most.epsilon)}",
                "more": t("figure.of_cap", cap=shown.plain(most.cap)),
                "infinite": most.epsilon == INFINITE,
            }
        )
    rounds = max(charges(p.entries) for p in report.participants)
    left = [p.rounds_left for p in report.participants if p.rounds_left is not None]
    cells.append(_plain_cell(t("print.attempts_in_period"), str(rounds)))
    cells.append(_plain_cell(t("print.fewest_left"), str(min(left)) if left else "–"))
    return cells


def _plain_cell(label: str, value: str) -> dict[str, Any]:
    return {"label": label, "value": value, "more": "", "infinite": False}


def cover_facts(report: BudgetReport, t: Catalogue) -> list[tuple[str, str]]:
    return [
        (t("report.as_of"), shown.utc(report.as_of)),
        (t("report.charter"), f"{t('report.epoch', epoch=report.epoch)} · {report.words}"),
        (
            t("report.rule"),
            t("report.rule_value", roster=report.roster_size, n_min=report.n_min, colluders=report.colluders),
        ),
        (t("report.unit"), report.privacy_unit),
    ]
