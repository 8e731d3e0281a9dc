"""A report as CSV (RFC 4180, UTF-8 with a mark so that spreadsheets read Hangul): docs/reports.md has the columns.

Rules:
1. One header, the same for every report and version 1; each line begins with its kind, the ledger head and count,
   the charter and the period, so a line that was cut out still says what it rests on.
2. Kinds: `budget` (one participant and guarantee), `row` (one participant and row of the charter's table), `shared`
   (a record that so many holders have), `epoch` (what one charter cost), `lifetime` (all of them, by `composition`:
   capped, summed or composed), `entry` (one ledger entry of the period; `epoch` is its charter's), `alarm`.
3. A text that a spreadsheet would take for a formula gets an apostrophe in front; figures never do. An infinite
   epsilon is the word infinite, what does not apply is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from privacy.dp.events import PrivacyEvent
from privacy.ledger.entry import OfficersAction
from privacy.protocol.canonical import canonical
from privacy.report import shown
from privacy.report.budget_report import (
    BudgetReport,
    EntryCost,
    Lifetime,
    ParticipantBudget,
    ReportedAlarm,
    ReportedEntry,
    Spent,
)

COLUMNS: Final = (
    "line ledger_head ledger_count charter period_start period_end source as_of participant name guarantee epsilon"
    " epsilon_at_start epsilon_without_result epsilon_with_reserved cap delta even_odds charged_before charged"
    " charged_without_result reserved rounds_left row count event noise_multiplier sampling_rate steps entry at"
    " kind round attempt outcome reason epoch composition holders action officer role second alarm detail"
    " acknowledged_entry acknowledged_at cost_in_sum cost_alone cumulated_in_sum cumulated_alone"
).split()
_FORMULA: Final = tuple("=+-@\t\r\n|%＝＋－＠")
_BYTE_ORDER_MARK: Final = "\ufeff"


def render_csv(report: BudgetReport) -> bytes:
    """The report's figures and entries, a line each."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    same = {
        "ledger_head": report.ledger.head,
        "ledger_count": report.ledger.count,
        "charter": report.charter,
        "period_start": "" if report.period.start is None else shown.timestamp(report.period.start),
        "period_end": shown.timestamp(report.period.end),
        "source": report.source,
        "as_of": shown.timestamp(report.as_of),
    }
    for line in _lines(report):
        writer.writerow({**same, **line})
    return (_BYTE_ORDER_MARK + text.getvalue()).encode("utf-8")


def safe(text: str) -> str:
    """Rule 3."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _lines(report: BudgetReport) -> Iterator[Mapping[str, object]]:
    for participant in report.participants:
        who = {"participant": participant.partner, "name": safe(participant.name)}
        for line in (*_budgets(participant), *_rows(participant), *_over_time(participant)):
            yield {**who, **line}
        for entry in participant.entries:
            yield {**who, **_entry(entry)}
    for former in report.former:
        who = {"participant": former.partner, "name": safe(former.name)}
        for line in (*_lifetime(former.lifetime), *map(_entry, former.entries)):
            yield {**who, **line}
    for entry in report.actions:
        yield _entry(entry)
    for alarm in report.alarms or ():
        yield _alarm(alarm)


def _budgets(participant: ParticipantBudget) -> Iterator[Mapping[str, object]]:
    for budget in participant.guarantees:
        yield {
            "line": "budget",
            "guarantee": budget.guarantee,
            "epsilon": budget.epsilon,
            "epsilon_at_start": budget.at_start,
            "epsilon_without_result": budget.without_result,
            "epsilon_with_reserved": budget.with_reserved,
            "cap": budget.cap,
            "delta": participant.delta,
            "even_odds": budget.even_odds,
            "charged_before": participant.charged_before,
            "charged": participant.charged,
            "charged_without_result": participant.charged_without_result,
            "reserved": participant.reserved,
            "rounds_left": "" if participant.rounds_left is None else participant.rounds_left,
        }


def _rows(participant: ParticipantBudget) -> Iterator[Mapping[str, object]]:
    for row in participant.rows:
        yield {
            "line": "row",
            "row": safe(row.name),
            "charged": row.charged,
            "reserved": row.reserved,
            "count": row.count,
            **_event(row.event),
        }


def _over_time(participant: ParticipantBudget) -> Iterator[Mapping[str, object]]:
    for one in participant.shared:
        yield {
            "line": "shared",
            "guarantee": "in_sum",
            "holders": one.holders,
            "epsilon": one.in_sum,
            "delta": participant.delta,
        }
    if participant.lifetime is not None:
        yield from _lifetime(participant.lifetime)


def _lifetime(life: Lifetime) -> Iterator[Mapping[str, object]]:
    for epoch in life.epochs:
        for line, cap in zip(_spent(epoch.spent), _spent(epoch.capped), strict=True):
            yield {"line": "epoch", "epoch": epoch.epoch, "charged": epoch.charged, "cap": cap["epsilon"], **line}
    for name, spent in (("capped", life.capped), ("summed", life.summed), ("composed", life.composed)):
        for line in _spent(spent) if spent is not None else ():
            yield {"line": "lifetime", "composition": name, **line}


def _spent(spent: Spent) -> Iterator[Mapping[str, object]]:
    yield {"guarantee": "in_sum", "epsilon": spent.in_sum, "delta": spent.delta}
    yield {"guarantee": "alone", "epsilon": spent.alone, "delta": spent.delta}


def _entry(entry: ReportedEntry) -> Mapping[str, object]:
    return {
        "line": "entry",
        "entry": entry.index,
        "at": shown.timestamp(entry.at),
        "kind": entry.kind,
        "round": "" if entry.round is None else entry.round,
        "attempt": "" if entry.attempt is None else entry.attempt,
        "row": safe(entry.row or ""),
        "outcome": entry.outcome or "",
        "reason": safe(entry.reason),
        "epoch": entry.epoch,
        **(_cost(entry.cost) if entry.cost else {}),
        **(_action(entry.action) if entry.action else {}),
        **(_event(entry.event) if entry.event else {}),
    }


def _cost(cost: EntryCost) -> Mapping[str, object]:
    line = {"delta": cost.itself.delta, "cost_in_sum": cost.itself.in_sum, "cost_alone": cost.itself.alone}
    if cost.cumulated is None:
        return line
    return {**line, "cumulated_in_sum": cost.cumulated.in_sum, "cumulated_alone": cost.cumulated.alone}


def _event(event: PrivacyEvent) -> Mapping[str, object]:
    return {
        "event": event.kind,
        "noise_multiplier": event.noise_multiplier,
        "sampling_rate": event.sampling_rate,
        "steps": event.steps,
    }


def _action(action: OfficersAction) -> Mapping[str, object]:
    """New caps and counts as JSON."""
    return {
        "action": action.what,
        "officer": safe(action.officer),
        "role": action.role,
        "second": safe(action.second or ""),
        "alarm": action.alarm or "",
        "detail": _json(action.model_dump(mode="json", include={"caps", "limits"})) if action.caps else "",
    }


def _alarm(alarm: ReportedAlarm) -> Mapping[str, object]:
    """reason: of the acknowledgement."""
    line = {
        "line": "alarm",
        "participant": alarm.participant or "",
        "at": shown.timestamp(alarm.at),
        "kind": alarm.kind,
        "alarm": alarm.id,
        "detail": _json(dict(alarm.detail)),
    }
    found = alarm.acknowledged
    if found is None:
        return line
    return {
        **line,
        "officer": safe(found.officer),
        "role": found.role,
        "reason": safe(found.reason),
        "acknowledged_entry": found.entry,
        "acknowledged_at": shown.timestamp(found.at),
    }


def _json(value: object) -> str:
    return canonical(value).decode("utf-8")
