"""The charter as it binds one participant: with the caps and counts that officers tightened, as the ledger says.

A later tightening comes on top of an earlier one, which it can only be within. An own chain holds no officers'
actions, so a partner's own report states the charter's caps.
"""

from __future__ import annotations

from collections.abc import Iterable

from privacy.dp.budget import limited
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter


def in_effect(charter: Charter, entries: Iterable[LedgerEntry]) -> dict[str, Charter]:
    """Those participants' charters that differ from the one they signed, after these entries."""
    found: dict[str, Charter] = {}
    for entry in entries:
        action = entry.action
        if action is None or action.caps is None or entry.charter != charter.digest or entry.participant is None:
            continue
        before = found.get(entry.participant, charter)
        roster = tuple(
            one.model_copy(update={"caps": action.caps}) if one.partner == entry.participant else one
            for one in before.roster
        )
        table = limited(before.table, {limit.row: limit.count for limit in action.limits})
        found[entry.participant] = before.model_copy(update={"roster": roster, "table": table})
    return found
