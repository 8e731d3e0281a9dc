"""Whether the entries of a chain keep to their charters: the last part of step 5 of verification.py.

Rules (protocol 6.4):
1. The participant is on the roster, the row in the table, and the event covered by that row.
2. No more is taken than the row's count or, under a charter with one, the filter allows.
3. What officers did holds from their entry on: nothing is reserved for a suspended participant until it is resumed,
   whatever the charter, and a tightened cap only comes down, its counts or its filter's bound with it.
4. A recovered charge may pass both or have no row: it records what happened, and what comes after counts it. A
   table that it passed has no room left in any row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.renyi import RenyiFilter
from privacy.errors import LedgerBroken, MalformedMessage, UnsafeParameters
from privacy.ledger.entry import NO_ROW, BudgetChange, LedgerEntry, OfficersAction
from privacy.protocol.messages import Charter

_ROUNDING = 1 + 1e-9
"""Another machine's logarithms may differ in the last bits: what it let pass is not called overspent for that."""


@dataclass
class _Held:
    """What one participant holds under a charter with a filter: reserved or charged, by attempt and in all."""

    renyi: RenyiFilter
    attempts: dict[str, PrivacyEvent] = field(default_factory=dict)
    events: Counter[PrivacyEvent] = field(default_factory=Counter)


class CharterChecks:
    """For the entries of one chain whose places have verified, each given once and in order.

    own: it is a partner's own chain, where a charge takes what nothing reserved.
    """

    def __init__(self, charters: Mapping[str, Charter], own: bool = False) -> None:
        self._charters = charters
        self._own = own
        self._held: dict[tuple[str, str], _Held] = {}
        self._suspended: set[str] = set()
        self._caps: dict[tuple[str, str], Caps] = {}
        self._limits: dict[tuple[str, str], Mapping[str, int]] = {}
        self._passed: set[tuple[str, str]] = set()

    def check(self, entry: LedgerEntry) -> None:
        """Raises LedgerBroken."""
        charter = self._charters.get(entry.charter)
        if charter is None:
            raise LedgerBroken(
                entry.index,
                "an entry under a charter that was given",
                f"one under {entry.charter[:16]}",
                "give every charter of the consortium",
            )
        if entry.participant is None:
            return
        try:
            charter.entry(entry.participant)
        except MalformedMessage as error:
            raise LedgerBroken(entry.index, error.expected, error.came, "raise the alarm") from error
        if entry.action is not None:
            self._follow(entry.index, entry.action, charter, entry.charter, entry.participant)
        if entry.kind == "reserve" and entry.participant in self._suspended:
            raise LedgerBroken(
                entry.index,
                f"nothing reserved for {entry.participant}, which officers suspended",
                "a reservation",
                "the service let it join against their word: raise the alarm",
            )
        if entry.budget is not None:
            limits = self._limits.get((entry.charter, entry.participant), {})
            count = _check_row(entry, entry.budget, charter, limits, self._own)
            if charter.filter_order is None:
                self._check_passed(entry, entry.budget, count, (entry.charter, entry.participant))
            else:
                self._check_filter(entry, entry.budget, charter, entry.participant)

    def _follow(self, line: int, action: OfficersAction, charter: Charter, digest: str, participant: str) -> None:
        """Rule 3: take in what an action changed, if it may."""
        if action.what == "suspend":
            self._suspended.add(participant)
        elif action.what == "resume":
            if participant not in self._suspended:
                raise LedgerBroken(line, f"a suspension of {participant} to end", "none", "raise the alarm")
            self._suspended.discard(participant)
        elif action.what == "tighten":
            self._tighten(line, action, charter, (digest, participant))

    def _tighten(self, line: int, action: OfficersAction, charter: Charter, key: tuple[str, str]) -> None:
        before = self._caps.get(key, charter.entry(key[1]).caps)
        after = action.caps
        if (
            after is None
            or after.delta != before.delta
            or any(after.epsilon_for(guarantee) > before.epsilon_for(guarantee) for guarantee in Guarantee)
        ):
            raise LedgerBroken(
                line, f"caps no looser than {before}", str(after), "only a charter loosens a cap: raise the alarm"
            )
        allowed = {row.name: row.count for row in charter.table} | dict(self._limits.get(key, {}))
        limits = {limit.row: limit.count for limit in action.limits}
        for name, count in limits.items():
            if count > allowed.get(name, -1):
                raise LedgerBroken(
                    line, f"a count of at most {allowed.get(name)} in row {name}", str(count), "raise the alarm"
                )
        self._caps[key] = after
        self._limits[key] = {**self._limits.get(key, {}), **limits}
        try:
            renyi = charter.filter_for(key[1], after)
        except UnsafeParameters as error:
            raise LedgerBroken(line, error.expected, error.came, "raise the alarm") from error
        if renyi is not None and key in self._held:
            self._held[key].renyi = renyi

    def _check_passed(self, entry: LedgerEntry, change: BudgetChange, count: int, key: tuple[str, str]) -> None:
        if entry.kind == "recovered" and change.charged + change.reserved > count:
            self._passed.add(key)
        elif entry.kind == ("charge" if self._own else "reserve") and key in self._passed:
            raise LedgerBroken(
                entry.index,
                "nothing more taken of a table that recovered charges have passed",
                f"a {entry.kind} in row {change.row}",
                "the budget was overspent: raise the alarm",
            )

    def _check_filter(self, entry: LedgerEntry, change: BudgetChange, charter: Charter, participant: str) -> None:
        key = (entry.charter, participant)
        if key not in self._held:
            renyi = charter.filter_for(participant, self._caps.get(key))
            if renyi is None:
                return
            self._held[key] = _Held(renyi)
        held = self._held[key]
        if entry.kind == "lapse":
            held.events.subtract([held.attempts.pop(change.plan)])
            return
        if change.plan in held.attempts:
            return
        held.attempts[change.plan] = change.event
        held.events[change.event] += 1
        rows = tuple(held.events.items())
        for guarantee, limit in held.renyi.bounds:
            spent = held.renyi.spent(rows, guarantee)
            if entry.kind != "recovered" and spent > limit * _ROUNDING:
                raise LedgerBroken(
                    entry.index,
                    f"a divergence of at most {limit:.6g} of order {held.renyi.order} ({guarantee.value})",
                    f"{spent:.6g}",
                    "the budget was overspent: raise the alarm",
                )


def _check_row(
    entry: LedgerEntry, change: BudgetChange, charter: Charter, limits: Mapping[str, int], own: bool
) -> int:
    """The count that binds; 0 for a recovered charge of no row."""
    recovered = entry.kind == "recovered"
    if recovered and change.row == NO_ROW:
        return 0
    row = next((row for row in charter.table if row.name == change.row), None)
    if row is None:
        raise LedgerBroken(
            entry.index,
            f"a row of the charter's table ({', '.join(row.name for row in charter.table)})",
            repr(change.row),
            "raise the alarm",
        )
    if not change.event.fits_row(row.event):
        raise LedgerBroken(
            entry.index, f"an event that row {row.name} covers: {row.event}", str(change.event), "raise the alarm"
        )
    # The service's charge moves a reservation within what was taken already: only taking more can pass the count.
    count = min(row.count, limits.get(row.name, row.count))
    if entry.kind == ("charge" if own else "reserve") and change.charged + change.reserved > count:
        raise LedgerBroken(
            entry.index,
            f"at most {count} taken in row {row.name}",
            str(change.charged + change.reserved),
            "the budget was overspent: raise the alarm",
        )
    return count
