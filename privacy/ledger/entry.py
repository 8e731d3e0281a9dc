"""One entry of a ledger: what was reserved, charged, lapsed, recovered or done, to whom, and what came before.

Rules:
1. An entry names the hash of the one before it; the first names 64 zeros. Its own hash is SHA-256 of
   "chorale/1 ledger entry" || 0x00 || canonical JSON.
2. `charged` and `reserved` are the running totals of that participant's row *after* this entry, so a wrong
   number is visible without replaying from the start, and replaying checks it.
3. Rows belong to a charter: the same name under another charter is another row. A recovered charge that no row
   of the table covers names `NO_ROW`.
4. What an officer did stands in `action`: who, in which role, and what, beside the reason in their own words.
   Entries without one leave the field out of their canonical form.
5. Epsilons are not stored: they follow from the counts, and a better accountant may state them tighter.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent
from privacy.protocol.canonical import canonical, digest
from privacy.protocol.identifiers import Digest, Model, PartnerId
from privacy.protocol.messages import Count, Positive, UnixSeconds

EntryKind = Literal["reserve", "charge", "lapse", "recovered", "action"]

CHARGES: Final = ("charge", "recovered")
"""The kinds that charge: what a partner's own chain holds, and what is spent."""

NO_ROW: Final = ""
"""No row of a charter's table can bear this name."""


class BudgetChange(Model):
    """The part of an entry that touches a budget."""

    plan: Digest
    round: Positive
    attempt: Positive
    event: PrivacyEvent
    row: Annotated[str, Field(max_length=64)]
    charged: Count
    reserved: Count


ActionKind = Literal["suspend", "propose-resume", "resume", "tighten", "acknowledge"]


class RowLimit(Model):
    """The count that a tightened cap leaves of one row, what was charged before included."""

    row: Annotated[str, Field(min_length=1, max_length=64)]
    count: Count


class OfficersAction(Model):
    """What was done, by which account in which role.

    second: who proposed what this completes. alarm: what was acknowledged. caps, limits: what `tighten` leaves.
    """

    what: ActionKind
    officer: Annotated[str, Field(min_length=1, max_length=80)]
    role: Literal["officer", "operator"]
    second: Annotated[str, Field(min_length=1, max_length=80)] | None
    alarm: Digest | None
    caps: Caps | None
    limits: tuple[RowLimit, ...]


class LedgerEntry(Model):
    index: Positive
    at: UnixSeconds
    charter: Digest
    kind: EntryKind
    participant: PartnerId | None
    budget: BudgetChange | None
    action: OfficersAction | None = None
    reason: Annotated[str, Field(max_length=500)]
    previous: Digest

    @property
    def canonical_bytes(self) -> bytes:
        written = self.model_dump(mode="json")
        if self.action is None:
            del written["action"]
        return canonical(written)

    @property
    def digest(self) -> str:
        return entry_digest(self.canonical_bytes)


def entry_digest(canonical_bytes: bytes) -> str:
    """An entry's hash, from the line that holds it (rule 1)."""
    return digest(b"chorale/1 ledger entry\x00" + canonical_bytes)
