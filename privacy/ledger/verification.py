"""Offline verification of an exported ledger: what `ledger verify` does on either side.

The steps, in this order for each line; the first that fails raises `LedgerBroken` with that line's number:
1. the line is an entry in its own canonical form;
2. it names its place and the hash of the line before it;
3. it is a legal move, and its running totals are the replayed ones (chain.py);
4. where its charter is given: the participant is on the roster, the row in the table, the event covered by
   that row, and no more is taken than the row's count. A recovered charge may pass the count or have no row: it
   records what happened.
Then, over the whole: 5. every countersigned head lies on the chain; 6. the checkpoint is the server's and names
the last line. Without step 6 an export proves nothing about its own last line, so no form of it is optional for
the server's chain; a partner's own chain has no server's word, and is compared with the head the caller holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from privacy.errors import LedgerBroken, MalformedMessage
from privacy.ledger.chain import ChainVerifier
from privacy.ledger.checkpoint import Landmarks, check_checkpoint
from privacy.ledger.entry import NO_ROW, BudgetChange, LedgerEntry
from privacy.protocol.messages import ChainHead, Charter, Checkpoint, Signed, SigningKeys


def verify_export(
    lines: Iterable[bytes],
    checkpoint: Signed[Checkpoint],
    server_keys: SigningKeys,
    *,
    charters: Mapping[str, Charter] | None = None,
    countersigned: Iterable[ChainHead] = (),
) -> ChainVerifier:
    """Verify an export of the server's chain up to its checkpoint; head and totals are in what comes back.

    lines: JSON Lines as bytes, split at line feeds. charters: by digest; if given, every entry's must be among
    them. countersigned: heads from partners' verified confirmations. Raises BadSignature or LedgerBroken.
    """
    head = check_checkpoint(checkpoint, server_keys)
    return _replay(lines, head, ChainVerifier(), charters, countersigned)


def verify_own_export(
    lines: Iterable[bytes], head: ChainHead, *, charters: Mapping[str, Charter] | None = None
) -> ChainVerifier:
    """Verify a partner's own chain up to a head held elsewhere, such as in its last signed join."""
    return _replay(lines, head, ChainVerifier(own=True), charters, ())


def _replay(
    lines: Iterable[bytes],
    head: ChainHead,
    verifier: ChainVerifier,
    charters: Mapping[str, Charter] | None,
    countersigned: Iterable[ChainHead],
) -> ChainVerifier:
    landmarks = Landmarks((head, *countersigned))
    for line in lines:
        entry = verifier.add_line(line)
        landmarks.passed(verifier.head)
        if charters is not None:
            check_under_charter(entry, charters)
        if verifier.head.count > head.count:
            raise LedgerBroken(
                verifier.head.count,
                f"the end, after the {head.count} entries that the checkpoint counts",
                "one more entry, for which nobody has signed",
                "fetch the checkpoint again, after the export",
            )
    landmarks.finished(verifier.head)
    return verifier


def check_under_charter(entry: LedgerEntry, charters: Mapping[str, Charter]) -> None:
    """Step 4, for an entry whose place in the chain has verified. Raises LedgerBroken."""
    charter = charters.get(entry.charter)
    if charter is None:
        raise LedgerBroken(
            entry.index,
            "an entry under a charter that was given",
            f"one under {entry.charter[:16]}",
            "give every charter of the consortium",
        )
    if entry.participant is not None:
        try:
            charter.entry(entry.participant)
        except MalformedMessage as error:
            raise LedgerBroken(entry.index, error.expected, error.came, "raise the alarm") from error
    if entry.budget is not None:
        _check_row(entry, entry.budget, charter)


def _check_row(entry: LedgerEntry, change: BudgetChange, charter: Charter) -> None:
    recovered = entry.kind == "recovered"
    if recovered and change.row == NO_ROW:
        return
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
    # A charge moves a reservation within what was taken already, so only taking more can pass the count.
    if entry.kind == "reserve" and change.charged + change.reserved > row.count:
        raise LedgerBroken(
            entry.index,
            f"at most {row.count} reserved and charged in row {row.name}",
            str(change.charged + change.reserved),
            "the budget was overspent: raise the alarm",
        )
