"""Participants' figures in the printed report: gauges, curves and tables, each drawing with its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from markupsafe import Markup

from privacy.dp.events import PrivacyEvent
from privacy.report import charts, shown
from privacy.report.budget_report import INFINITE, FormerParticipant, GuaranteeBudget, ParticipantBudget, Spent
from privacy.report.catalogue import Catalogue
from privacy.report.happened import charges
from privacy.report.pdf_cover import size

MOST_CHARTS: Final = 12
FEW_CHARTS: Final = 3
"""Where there are more participants than MOST_CHARTS: their tables take the pages."""


@dataclass(frozen=True)
class Chart:
    """A drawing, and what it shows in words; small where three stand in a row."""

    svg: Markup
    label: str
    small: bool = False


def key(t: Catalogue) -> list[Chart]:
    box = '<svg class="key" viewBox="0 0 36 12">{}</svg>'
    hatch = str(charts.gauge_pattern("key"))
    drawn = (
        ("spent", '<rect class="spent" width="36" height="12"/>'),
        (
            "without_result",
            f'{hatch}<rect class="fruitless" x=".5" y=".5" width="35" height="11" fill="url(#hatch-key)"/>',
        ),
        ("reserved", '<rect class="held" x=".6" y=".6" width="34.8" height="10.8"/>'),
        ("cap", '<line class="cap" x1="18" x2="18" y1="0" y2="12"/>'),
    )
    return [Chart(Markup(box.format(body)), t(f"key.{name}")) for name, body in drawn]  # noqa: S704 - all literal


def _gauge(participant: ParticipantBudget, budget: GuaranteeBudget, t: Catalogue) -> Chart:
    label = t(
        "figure.gauge_label",
        name=participant.name,
        guarantee=t(f"guarantee.{budget.guarantee}"),
        epsilon=charts.number(budget.epsilon),
        cap=shown.plain(budget.cap),
        without=charts.number(budget.without_result),
        held=charts.number(budget.with_reserved),
    )
    return Chart(charts.gauge(budget, label, "one"), label)


def _curve(participant: ParticipantBudget, budget: GuaranteeBudget, t: Catalogue) -> Chart | None:
    label = t(
        "figure.curve_label",
        name=participant.name,
        guarantee=t(f"guarantee.{budget.guarantee}"),
        charges=participant.charged,
        epsilon=charts.number(budget.epsilon),
        cap=shown.plain(budget.cap),
    )
    drawn = charts.curve(budget, label, t("figure.cap", cap=shown.plain(budget.cap)))
    return Chart(drawn, label) if drawn else None


def _guarantee(participant: ParticipantBudget, budget: GuaranteeBudget, t: Catalogue) -> dict[str, Any]:
    notes = []
    if participant.charged_without_result and budget.epsilon != INFINITE:
        notes.append(
            t(
                "figure.without_result",
                epsilon=charts.number(budget.without_result),
                count=participant.charged_without_result,
            )
        )
    if participant.reserved and budget.epsilon != INFINITE:
        notes.append(t("figure.reserved", epsilon=charts.number(budget.with_reserved), count=participant.reserved))
    since = t("print.at_start", epsilon=charts.number(budget.at_start))
    return {
        "name": t(f"guarantee.{budget.guarantee}"),
        "against": t(f"guarantee.{budget.guarantee}_against"),
        "epsilon": charts.number(budget.epsilon),
        "of_cap": t("figure.of_cap", cap=shown.plain(budget.cap)),
        "infinite": budget.epsilon == INFINITE,
        "since": since,
        "notes": [since, *notes],
        "gauge": _gauge(participant, budget, t),
        "curve": _curve(participant, budget, t),
    }


def _left(participant: ParticipantBudget, t: Catalogue) -> str:
    return t("report.no_plan") if participant.rounds_left is None else str(participant.rounds_left)


def glance(participant: ParticipantBudget, t: Catalogue) -> dict[str, Any]:
    return {
        "name": participant.name,
        "id": participant.partner,
        "guarantees": [_guarantee(participant, budget, t) for budget in participant.guarantees],
        "rounds_left": _left(participant, t),
    }


def participant_figures(participant: ParticipantBudget, t: Catalogue) -> dict[str, Any]:
    guarantees = [_guarantee(participant, budget, t) for budget in participant.guarantees]
    return {
        "guarantees": guarantees,
        "curves": any(one["curve"] is not None for one in guarantees),
        "facts": [
            (t("report.charged"), str(participant.charged)),
            (t("report.charged_without_result"), str(participant.charged_without_result)),
            (t("report.reserved"), str(participant.reserved)),
            (t("report.rounds_left_long"), _left(participant, t)),
        ],
        "rows": [
            {
                "name": row.name,
                "event": event(row.event, t),
                "charged": str(row.charged),
                "reserved": str(row.reserved),
                "count": str(row.count),
            }
            for row in participant.rows
        ],
        "epochs": _epochs(participant, t),
        "epochs_note": _epochs_note(participant, t),
        "shared": [[str(one.holders), charts.number(one.in_sum)] for one in participant.shared],
    }


def _epochs(participant: ParticipantBudget, t: Catalogue) -> list[list[str]]:
    """A line for each charter that something was charged under, then the ways to take all of them together."""
    life = participant.lifetime
    if life is None or not life.epochs:
        return []
    charged = str(sum(one.charged for one in life.epochs))
    lines = [
        [f"{t('report.epoch', epoch=one.epoch)} · {one.charter[:16]}", str(one.charged), *_spent(one.spent)]
        for one in life.epochs
    ]
    if len(lines) == 1:
        return lines
    lines.append([t("lifetime.capped"), "", *_spent(life.capped)])
    lines.append([t("lifetime.summed"), charged, *_spent(life.summed)])
    if life.composed is not None:
        lines.append([t("lifetime.composed"), charged, *_spent(life.composed)])
    return lines


def _epochs_note(participant: ParticipantBudget, t: Catalogue) -> str:
    life = participant.lifetime
    if life is None or not life.epochs:
        return t("lifetime.none")
    if len(life.epochs) == 1:
        return t("lifetime.only")
    return t("lifetime.note") if life.composed is not None else f"{t('lifetime.note')} {t('lifetime.apart')}"


def _spent(spent: Spent) -> list[str]:
    return [charts.number(spent.in_sum), charts.number(spent.alone), shown.delta(spent.delta)]


def beyond(one: ParticipantBudget | FormerParticipant, t: Catalogue) -> dict[str, Any]:
    """Over every charter, and for units that several hold: a participant's line among everyone's."""
    life = one.lifetime
    over = ["0", "0", "–", "–", "–"]
    if life is not None and life.epochs:
        over = [str(len(life.epochs)), str(sum(epoch.charged for epoch in life.epochs)), *_spent(life.summed)]
    if isinstance(one, FormerParticipant):
        return {"name": t("former.name", name=one.name), "values": [*over, "–", "–"]}
    held = [charts.number(record.in_sum) for record in one.shared if record.holders > 1]
    return {"name": one.name, "values": [*over, *held]}


def event(happened: PrivacyEvent, t: Catalogue) -> str:
    """A privacy event in words."""
    if happened.kind == "none":
        return t("event.none")
    numbers = t("event.numbers", z=shown.plain(happened.noise_multiplier), rate=shown.plain(happened.sampling_rate))
    steps = [t("event.steps", steps=happened.steps)] if happened.steps > 1 else []
    return ", ".join([t(f"event.{happened.kind}"), numbers, *steps])


def small_charts(participants: Sequence[ParticipantBudget], t: Catalogue) -> list[dict[str, Any]]:
    """Epsilon in the sum over attempts, of those who spent most; in the roster's order."""
    many = len(participants) > MOST_CHARTS
    most = sorted(participants, key=lambda p: -size(p.guarantees[0].epsilon))[: FEW_CHARTS if many else None]
    drawn = []
    for participant in participants:
        curve = _curve(participant, participant.guarantees[0], t) if participant in most else None
        if curve is not None:
            drawn.append(
                {
                    "name": participant.name,
                    "guarantee": t("guarantee.in_sum"),
                    "curve": replace(curve, small=True),
                }
            )
    return drawn


def details(participant: ParticipantBudget) -> dict[str, Any]:
    in_sum, alone = participant.guarantees
    return {
        "name": participant.name,
        "values": [
            str(charges(participant.entries)),
            str(participant.charged),
            str(participant.charged_without_result),
            str(participant.reserved),
            shown.delta(participant.delta),
            f"{shown.percent(in_sum.even_odds)} %",
            f"{shown.percent(alone.even_odds)} %",
        ],
    }
