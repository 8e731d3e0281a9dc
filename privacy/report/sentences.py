"""What a ledger entry and an alarm say, in the reader's words: on pages and in print alike.

Texts are plain: whoever puts one into a page escapes it (catalogue.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from privacy.ledger.entry import OfficersAction
from privacy.report import shown
from privacy.report.budget_report import (
    Acknowledgement,
    BudgetReport,
    ParticipantBudget,
    RaisedAlarm,
    ReportedAlarm,
    ReportedEntry,
)
from privacy.report.catalogue import Catalogue


def entry(one: ReportedEntry, t: Catalogue, epoch: int | None = None) -> str:
    """epoch: the report's; an entry under an earlier charter then says its own."""
    if one.round is not None:
        said = t(f"entry.{one.kind}", round=one.round, attempt=one.attempt)
    elif one.action is None:
        said = t("entry.action")
    else:
        said = f"{t('entry.action')}: {_action(one.action, t)}"
    return said if epoch in (None, one.epoch) else f"{said} ({t('report.epoch', epoch=one.epoch)})"


def _action(action: OfficersAction, t: Catalogue) -> str:
    said = [t(f"action.did_{action.what.replace('-', '_')}", officer=_who(action, t))]
    if action.second is not None:
        said.append(t("action.second", officer=action.second))
    if action.caps is not None:
        caps = action.caps
        in_sum, alone = shown.plain(caps.epsilon_in_sum), shown.plain(caps.epsilon_alone)
        said.append(t("action.new_caps", in_sum=in_sum, alone=alone))
    return "; ".join(said)


def tightened(participants: Iterable[ParticipantBudget], t: Catalogue) -> str:
    """What caps that officers tightened are worth; empty where there are none."""
    caps = [(one.name, one.tightened_from) for one in participants if one.tightened_from is not None]
    who = (f"{name} {shown.plain(old.epsilon_in_sum)} / {shown.plain(old.epsilon_alone)}" for name, old in caps)
    return t("meaning.tightened", who=", ".join(who)) if caps else ""


def alarm_text(kind: str, detail: Mapping[str, str | int | float], t: Catalogue) -> str:
    """What an alarm of this kind with these figures says, without whom it concerns."""
    said = {name: shown.plain(value) if isinstance(value, float) else value for name, value in detail.items()}
    if "guarantee" in detail:
        said["guarantee"] = t(f"guarantee.{detail['guarantee']}")
    if "over" in detail:
        said["over"] = t(f"alarm.over_{detail['over']}")
    if "cause" in detail:
        said["cause"] = t(f"cause.{str(detail['cause']).replace('-', '_')}")
    if "check" in detail:
        said["failed"] = t(f"check.number_{detail['check']}")
    return t(f"alarm.{kind}", **said)


def alarm(one: RaisedAlarm, t: Catalogue, names: Mapping[str, str]) -> str:
    """names: display names by id; what concerns no one participant names none."""
    said = alarm_text(one.kind, one.detail, t)
    return (
        said
        if one.participant is None
        else t("period.of", name=names.get(one.participant, one.participant), text=said)
    )


def acknowledged(one: ReportedAlarm, t: Catalogue) -> str:
    found = one.acknowledged
    if found is None:
        return t("alarms.waiting")
    return t("alarms.by", officer=_who(found, t), at=shown.utc(found.at), entry=found.entry, reason=found.reason)


def under_earlier_charters(report: BudgetReport, t: Catalogue) -> str:
    """What must be said beside the figures if entries of the period are under other charters; else nothing."""
    entries = [one for participant in report.everyone for one in participant.entries]
    count = sum(one.epoch != report.epoch for one in (*entries, *report.actions))
    return t("period.earlier", count=count, epoch=report.epoch) if count else ""


def actions(report: BudgetReport) -> list[tuple[str | None, ReportedEntry]]:
    """What officers and the operator did in the period, each with whom it concerns, in the ledger's order."""
    found: list[tuple[str | None, ReportedEntry]] = [(None, one) for one in report.actions]
    for participant in report.everyone:
        found += [(participant.partner, one) for one in participant.entries if one.kind == "action"]
    return sorted(found, key=lambda action: action[1].index)


def names(report: BudgetReport) -> dict[str, str]:
    """Display names by id."""
    return {one.partner: one.name for one in report.everyone}


def _who(action: OfficersAction | Acknowledgement, t: Catalogue) -> str:
    return t("action.by", officer=action.officer, role=t(f"role.{action.role}"))
