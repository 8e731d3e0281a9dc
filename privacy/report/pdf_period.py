"""What happened in the period, in the printed report: counts, the newest entries or actions, alarms.

Nothing is left out unsaid: where a list is cut short, the note under it says how many there are and where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from privacy.ledger.entry import CHARGES
from privacy.report import charts, sentences, shown
from privacy.report.budget_report import BudgetReport, ParticipantBudget, ReportedEntry, Spent
from privacy.report.catalogue import Catalogue
from privacy.report.happened import charges
from privacy.report.written import said

MOST_ENTRIES: Final = 9
MOST_ALARMS: Final = 6


def activity(report: BudgetReport, alone: ParticipantBudget | None, t: Catalogue) -> list[tuple[str, str]]:
    entries = [entry for _, entry in _listed(report)]
    kinds = Counter(entry.kind for entry in entries)
    attempts = {one.plan for one in entries if one.kind in CHARGES}
    return [
        (t("print.rounds_charged"), str(len(attempts))),
        (t("print.charges" if alone is None else "report.charged"), str(charges(entries))),
        (t("print.lapses"), str(kinds["lapse"])),
        (t("period.actions"), str(kinds["action"])),
    ]


def happened(report: BudgetReport, alone: ParticipantBudget | None, t: Catalogue) -> dict[str, Any]:
    """One participant's newest entries but reservations, or the consortium's newest actions; the newest alarms."""
    kinds = ("action",) if alone is None else (*CHARGES, "lapse", "action")
    wanted = [(partner, entry) for partner, entry in _listed(report) if entry.kind in kinds]
    newest = wanted[-MOST_ENTRIES:][::-1]
    kind = "actions" if alone is None else "entries"
    if wanted:
        note = _cut(kind, len(newest), len(wanted), t)
    else:
        note = t("period.no_actions" if alone is None else "print.none_of_entries")
    names = sentences.names(report)
    costed = any(entry.cost for _, entry in newest)
    return {
        "happened": [
            {
                "index": str(entry.index),
                "at": shown.utc(entry.at),
                "what": _what(entry, None if alone else partner, report, names, t),
                "reason": said(entry.reason, t),
                "outcome": t(f"outcome.{entry.outcome}") if entry.outcome else "",
                "itself": _cost(entry.cost.itself) if entry.cost else "",
                "cumulated": _cost(entry.cost.cumulated) if entry.cost and entry.cost.cumulated else "",
            }
            for partner, entry in newest
        ],
        "costed": costed,
        "happened_note": " ".join((note, t("print.in_files"), *([t("entries.costs_note")] if costed else ()))),
        "earlier": sentences.under_earlier_charters(report, t),
        **_alarms(report, names, t),
    }


def _cost(spent: Spent) -> str:
    return f"{charts.number(spent.in_sum)} / {charts.number(spent.alone)}"


def _listed(report: BudgetReport) -> list[tuple[str | None, ReportedEntry]]:
    """Every entry of the report with whom it concerns, in the chain's order."""

    def every() -> Iterator[tuple[str | None, ReportedEntry]]:
        for one in report.everyone:
            yield from ((one.partner, entry) for entry in one.entries)
        yield from ((None, entry) for entry in report.actions)

    return sorted(every(), key=lambda found: found[1].index)


def _what(
    entry: ReportedEntry, partner: str | None, report: BudgetReport, names: dict[str, str], t: Catalogue
) -> str:
    said = sentences.entry(entry, t, report.epoch)
    return said if partner is None else t("period.of", name=names[partner], text=said)


def _alarms(report: BudgetReport, names: dict[str, str], t: Catalogue) -> dict[str, Any]:
    alarms = report.alarms or ()
    newest = alarms[-MOST_ALARMS:][::-1]
    if report.alarms is None:
        note = t("alarms.elsewhere")
    elif not alarms:
        note = t("alarms.none")
    else:
        note = f"{_cut('alarms', len(newest), len(alarms), t)} {t('alarms.note')}"
    lines = [[shown.utc(one.at), sentences.alarm(one, t, names), sentences.acknowledged(one, t)] for one in newest]
    return {"alarms": lines, "alarms_note": note}


def _cut(kind: str, listed: int, total: int, t: Catalogue) -> str:
    how = "all_of" if listed == total else "newest_of"
    return t(f"print.{how}_{kind}", shown=listed, total=total)
