"""The charter as it binds one participant: with the caps and counts that officers tightened, as the ledger says.

A later tightening comes on top of an earlier one, which it can only be within. An own chain holds no officers'
actions, so a partner's own report states the charter's caps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from privacy.dp.caps import Caps
from privacy.dp.tightening import limited
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
        limits = {limit.row: limit.count for limit in action.limits}
        found[entry.participant] = tightened(before, entry.participant, action.caps, limits)
    return found


def tightened(charter: Charter, partner: str, caps: Caps, limits: Mapping[str, int]) -> Charter:
    """The charter with these caps for one participant, and a table that has no more room than `limits` leave."""
    roster = tuple(
        one.model_copy(update={"caps": caps}) if one.partner == partner else one for one in charter.roster
    )
    return charter.model_copy(update={"roster": roster, "table": limited(charter.table, limits)})
