"""A JSON report against the ledger it rests on: all its figures anew, by the code that made them.

Rules:
1. The ledger is verified first, as a file that proves itself (privacy.ledger.verification), and is of the report's
   kind: the service's chain for the service's report, the partner's own for its own.
2. The entry that the report's head names lies on it, and nothing after that entry counts.
3. What came of attempts, and which alarms were raised, is not on a ledger: that is taken from the report, and is
   the reporter's word. Who acknowledged an alarm is on the ledger.
4. Figures may differ by TOLERANCE of themselves (an accountant of another version, sums in another order); all else
   is equal.
Beside the figures stands who countersigned the ledger as far as the report goes: the others' word on this history.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from privacy.errors import ConfigurationError, DigestMismatch
from privacy.ledger.entry import LedgerEntry
from privacy.ledger.export import HEADERS
from privacy.ledger.verification import verify_export
from privacy.ledger.verified_export import VerifiedExport
from privacy.protocol.messages import Charter
from privacy.protocol.printable import visible
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport
from privacy.report.build import build_report
from privacy.report.signature import Known, about, verify_report

TOLERANCE: Final = 1e-6
_STATES: Final = {
    "confirmed": RoundState.CONFIRMED,
    "void": RoundState.VOID,
    "closed": RoundState.CLOSED,
    "running": RoundState.OPENING,
}


def described(raw: bytes, signature: bytes, known: Known | None, lines: Iterable[bytes] | None) -> dict[str, Any]:
    """What `report verify` says: whose word a report is, and whether its figures are the ledger's, if one is given.

    Raises what verify_report and check_against_ledger do, ConfigurationError for a ledger beside another format.
    """
    found = verify_report(raw, signature, known)
    said = found.described()
    if lines is not None:
        if found.report is None:
            raise ConfigurationError(
                "the JSON form of a report beside a ledger", found.statement.format, "ask for the report's JSON"
            )
        ledger = check_against_ledger(found.report, found.charter, lines)
        count = found.report.ledger.count
        said["recomputed"] = f"from {count} entries: every figure is the ledger's"
        if ledger.partner is None:
            names, vouched = ledger.names, sorted(ledger.countersigned.items())
            by = [visible(names[partner]) for partner, head in vouched if head.count >= count]
            said["countersigned by"] = "; ".join(by) or "nobody, as far as the report's entries go"
    return said


def check_against_ledger(report: BudgetReport, charter: Charter, lines: Iterable[bytes]) -> VerifiedExport:
    """Compute `report` anew from an exported ledger's lines; gives that ledger.

    Raises LedgerBroken, DigestMismatch with the first figure that differs.
    """
    noted: list[bytes] = []
    found = verify_export(_noted(lines, noted))
    entries = [LedgerEntry.model_validate_json(line) for line in noted]
    if found.chain != ("service" if report.source == "service" else "own") or (
        found.partner is not None and found.partner != about(report)
    ):
        raise DigestMismatch(
            f"the ledger of the {report.source} that the report is of", "another's", "export the right one"
        )
    if charter.digest not in {one.digest for one in found.charters}:
        raise DigestMismatch(f"a ledger with charter {charter.digest}", "one without", "export the right one")
    count = report.ledger.count
    head = entries[count - 1].digest if 0 < count <= len(entries) else "0" * 64
    if count > len(entries) or head != report.ledger.head:
        raise DigestMismatch(
            f"a ledger with {report.ledger.head} at entry {count}",
            f"{len(entries)} entries, {head} there",
            "export the ledger again, after the report; if it stays so, raise the alarm",
        )
    _compare(report, _again(report, charter, found.charters, entries[:count]))
    return found


def _noted(lines: Iterable[bytes], noted: list[bytes]) -> Iterator[bytes]:
    """The same lines, with those that hold entries noted."""
    for line in lines:
        bare = line.removesuffix(b"\n")
        if not bare.startswith(b'{"body":') and bare not in HEADERS:
            noted.append(bare)
        yield line


def _again(
    report: BudgetReport, charter: Charter, charters: tuple[Charter, ...], entries: list[LedgerEntry]
) -> BudgetReport:
    outcomes: dict[str, RoundState] = {}
    for participant in report.participants:
        for index in participant.without_result:
            _note(outcomes, entries, index, RoundState.VOID)
    for one in report.everyone:
        for entry in one.entries:
            if entry.outcome is not None and entry.outcome != "unknown":
                _note(outcomes, entries, entry.index, _STATES[entry.outcome])
    events = {participant.present_event for participant in report.participants}
    return build_report(
        charter,
        entries,
        report.as_of,
        source=report.source,
        outcomes=outcomes,
        present_event=events.pop() if len(events) == 1 else None,
        participants=None
        if about(report) is None
        else [participant.partner for participant in report.participants],
        period=report.period,
        earlier=charters,
        alarms=report.alarms,
    )


def _note(outcomes: dict[str, RoundState], entries: list[LedgerEntry], index: int, state: RoundState) -> None:
    change = entries[index - 1].budget if 0 < index <= len(entries) else None
    if change is not None:
        outcomes[change.plan] = state


def _compare(report: BudgetReport, again: BudgetReport) -> None:
    difference = next(_differences(report.model_dump(mode="json"), again.model_dump(mode="json"), ""), None)
    if difference is not None:
        where, said, computed = difference
        raise DigestMismatch(
            f"{where.lstrip('.')} as the ledger has it: {computed}", f"{said}", "do not rely on this report"
        )


def _differences(said: Any, computed: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(said, dict) and isinstance(computed, dict) and said.keys() == computed.keys():
        for key in said:
            yield from _differences(said[key], computed[key], f"{where}.{key}")
    elif isinstance(said, list) and isinstance(computed, list) and len(said) == len(computed):
        for place, (one, other) in enumerate(zip(said, computed, strict=True)):
            yield from _differences(one, other, f"{where}[{place}]")
    elif isinstance(said, float) and isinstance(computed, float):
        if not math.isclose(said, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield where, said, computed
    elif said != computed:
        yield where, _short(said), _short(computed)


def _short(value: Any) -> str:
    return str(value)[:80]
