"""What the printed report says and draws, as data for its template: every text in the reader's language.

pdf_cover.py writes the first page, pdf_figures.py the participants' figures, pdf_period.py what happened;
the rest is here.
It computes no epsilon; build.py did.
"""

from __future__ import annotations

from typing import Any, Final

from privacy.report import sentences, shown
from privacy.report.budget_report import INFINITE, BudgetReport, ParticipantBudget
from privacy.report.catalogue import PRINT, Catalogue, catalogue
from privacy.report.pdf_cover import cover_facts, highlights, size, source, span, verdict
from privacy.report.pdf_figures import beyond, details, glance, key, participant_figures, small_charts
from privacy.report.pdf_period import activity, happened

_WORDS: Final = (
    "title head glance participant rounds_left glance_note figures curve_caption charts charts_note details"
    " charged_in_period charged_all without_result reserved delta odds_in_sum odds_alone odds_note beyond_note"
    " false_alarms attack_note entry time what outcome meaning appendix verify verify_text verify_more"
).split()


def printed(report: BudgetReport, language: str) -> dict[str, Any]:
    """The template's data. Raises ConfigurationError for a language it has no words in."""
    t = catalogue(language, PRINT)
    alone = report.participants[0] if len(report.participants) == 1 else None
    sentence, alarming = verdict(report, alone, t)
    return {
        "language": language,
        "title": f"{t('print.title')} · {alone.name if alone else report.consortium}",
        "author": source(report, alone, t),
        "source": source(report, alone, t),
        "subject": alone.name if alone else report.consortium,
        "of_consortium": report.consortium if alone else "",
        "running": f"{report.consortium} · {alone.name}" if alone else report.consortium,
        "span": span(report, t),
        "head_short": report.ledger.head[:24],
        "verdict": sentence,
        "alarming": alarming,
        "highlights": highlights(report, t),
        "facts": cover_facts(report, t),
        "whose_word": t(f"report.check_{report.source}"),
        "key": key(t),
        "glance": None if alone else [glance(participant, t) for participant in report.participants],
        "participants": [participant_figures(alone, t)] if alone else [],
        "charts": [] if alone else small_charts(report.participants, t),
        "beyond": [] if alone else [beyond(one, t) for one in report.everyone],
        "details": [] if alone else [details(participant) for participant in report.participants],
        "activity": activity(report, alone, t),
        **happened(report, alone, t),
        "meaning": _meaning(report, t),
        "attack": _attack(report, t),
        "proof": _proof(report, t),
        "commands": ["chorale-partner report verify report.pdf", "chorale-server report verify report.pdf"],
        "words": {
            **{word: t(f"print.{word}") for word in _WORDS},
            "in_sum": t("guarantee.in_sum"),
            "alone": t("guarantee.alone"),
            "rows": t("rows.heading"),
            "row": t("rows.name"),
            "event": t("rows.event"),
            "charged": t("rows.charged"),
            "count": t("rows.count"),
            "charter": t("lifetime.charter"),
            "charters": t("lifetime.charters"),
            "lifetime": t("lifetime.heading"),
            "period": t("period.heading"),
            "alarms": t("alarms.heading"),
            "alarm": t("alarms.what"),
            "acknowledged": t("alarms.acknowledged"),
            "itself": t("entries.itself"),
            "cumulated": t("entries.cumulated"),
            "all_charged": t("lifetime.charged"),
            "shared": t("shared.heading"),
            "holders": t("shared.holders"),
            "shared_note": t("shared.note"),
            "held_by": [t("shared.count", holders=holders) for holders in (2, 3)],
        },
    }


def _most_spent(report: BudgetReport) -> ParticipantBudget | None:
    return max(report.participants, key=lambda p: size(p.guarantees[0].epsilon), default=None)


def _attack(report: BudgetReport, t: Catalogue) -> list[list[str]]:
    """Detection at each rate of false alarms, in the sum and alone; nothing where epsilon is infinite."""
    most = _most_spent(report)
    if most is None or not most.charged or most.guarantees[0].epsilon == INFINITE:
        return []
    in_sum, alone = most.guarantees
    rows = [
        [f"{one.false_alarm * 100:g} %", f"{shown.percent(one.detection)} %", f"{shown.percent(other.detection)} %"]
        for one, other in zip(in_sum.detections, alone.detections, strict=True)
    ]
    return [
        *rows,
        [t("print.even_odds"), f"{shown.percent(in_sum.even_odds)} %", f"{shown.percent(alone.even_odds)} %"],
    ]


def _meaning(report: BudgetReport, t: Catalogue) -> list[dict[str, str]]:
    """Put in the figures of the participant of whom most is spent."""
    parts = []
    most = _most_spent(report)
    if most is not None:
        in_sum, alone = most.guarantees
        if in_sum.epsilon == INFINITE:
            text = t("meaning.epsilon_none")
        elif not most.charged:
            text = t("meaning.epsilon_unspent", unit=report.privacy_unit)
        else:
            text = t(
                "meaning.epsilon",
                unit=report.privacy_unit,
                in_sum=shown.percent(in_sum.even_odds),
                alone=shown.percent(alone.even_odds),
            )
        heading = t("meaning.epsilon_heading")
        parts.append(
            {"heading": f"{heading} ({most.name})" if len(report.participants) > 1 else heading, "text": text}
        )
    parts.append({"heading": t("meaning.alone_heading"), "text": t("meaning.alone", honest=report.honest)})
    order = report.filter_order
    fixed = t("meaning.fixed") if order is None else t("meaning.fixed_filter", order=order)
    lowered = sentences.tightened(report.participants, t)
    parts.append({"heading": t("meaning.fixed_heading"), "text": f"{fixed} {lowered}".rstrip()})
    parts.append({"heading": t("print.terms_heading"), "text": t("print.terms")})
    return parts


def _proof(report: BudgetReport, t: Catalogue) -> list[tuple[str, str, bool]]:
    """(what, value, whether it is a hash)."""
    return [
        (t("print.ledger_head"), report.ledger.head, True),
        (t("print.ledger_count"), str(report.ledger.count), False),
        (t("print.opening_head"), report.opening.head, True),
        (t("print.opening_count"), str(report.opening.count), False),
        (t("print.charter_hash"), report.charter, True),
        (t("print.charter_words"), report.words, False),
        (t("report.as_of"), shown.utc(report.as_of), False),
    ]
