"""Offline verification of an exported ledger: `ledger verify`, on either side, with nothing but the file.

The steps, in the order of the lines (export.py); the first that fails raises `LedgerBroken` with its line's number:
1. the header is one of the two there are;
2. each charter is signed by the operator that it names, follows the one before, and is accepted by its whole roster
   (for an own chain: by the partner whose chain it is);
3. the checkpoint is under the newest charter, by the server's key, or the partner's, that this charter names;
4. each countersignature is a confirmation by a partner, under a charter that the file holds, in its order;
5. each entry is in its canonical form, names its place and the hash of the one before, is a legal move with the
   replayed totals (chain.py), and keeps to its charter: roster, rows, events, counts and filter
   (charter_checks.py);
6. every countersigned head, and the checkpoint's, lies on the chain, which ends there.
What remains for a person: that the newest charter is the one whose words were compared. Without that, a file
verifies and may be of a consortium that was made up.
Memory grows with the number of attempts, not with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from privacy.errors import ChoraleError, LedgerBroken
from privacy.ledger.chain import ChainVerifier
from privacy.ledger.charter_checks import CharterChecks
from privacy.ledger.checkpoint import Landmarks
from privacy.ledger.export import HEADERS, Chain
from privacy.ledger.verified_export import VerifiedExport
from privacy.protocol.canonical import parse
from privacy.protocol.identifiers import OPERATOR, SERVER, ZERO_DIGEST
from privacy.protocol.messages import (
    Body,
    ChainHead,
    Charter,
    CharterAcceptance,
    Checkpoint,
    Confirmation,
    OwnCheckpoint,
    Signed,
    parse_signed,
)
from privacy.protocol.signing import Verifier

_SIGNED = b'{"body":'
_AGAIN = "export the ledger again; if it stays so, raise the alarm"
_TYPES: dict[str, type[Body]] = {
    body.model_fields["type"].default: body
    for body in (Charter, CharterAcceptance, Checkpoint, OwnCheckpoint, Confirmation)
}


def verify_export(
    lines: Iterable[bytes],
    charter: str | None = None,
    verifier: Verifier | None = None,
    seen: Iterable[ChainHead] = (),
) -> VerifiedExport:
    """Verify a file's lines, split at line feeds.

    charter: the digest that the newest charter must have. seen: heads of this chain that the caller knows from
    elsewhere, which must lie on it too. Raises LedgerBroken, whose `line` is the file's (from 1).
    """
    return _Reader(lines, verifier or Verifier(), seen).read(charter)


class _Reader:
    """One pass over the lines, one section after another; `number` is the line that was read last."""

    def __init__(self, lines: Iterable[bytes], verifier: Verifier, seen: Iterable[ChainHead]) -> None:
        self._seen = seen
        self._lines = iter(lines)
        self._verify = verifier.verify
        self.number = 0
        self._charters: dict[str, Charter] = {}
        self._partner: str | None = None
        self._next: bytes | None = None
        self._countersigned: dict[str, ChainHead] = {}

    def read(self, wanted: str | None) -> VerifiedExport:
        self._advance()
        chain = HEADERS.get(self._next or b"")
        if chain is None:
            raise self._broken(
                "the header of a ledger export", "another line", "name a file that `ledger export` wrote"
            )
        self._advance()
        try:
            self._read_charters(chain)
            newest = list(self._charters.values())[-1]
            if wanted is not None and newest.digest != wanted:
                raise self._broken(
                    f"a ledger under charter {wanted}", f"one under {newest.digest}", "name the right one"
                )
            end = self._read_checkpoint(chain, newest)
            landmarks = self._read_countersignatures(end)
        except LedgerBroken:
            raise
        except ChoraleError as error:
            raise self._broken(error.expected, error.came, _AGAIN) from error
        verifier = self._read_entries(chain, end, landmarks)
        return VerifiedExport(
            chain, tuple(self._charters.values()), self._partner, end, self._countersigned, verifier.totals
        )

    # --- lines ----------------------------------------------------------------------------------------

    def _advance(self) -> None:
        line = next(self._lines, None)
        self.number += 1
        self._next = None if line is None else line.removesuffix(b"\n")

    def _broken(self, expected: str, came: str, remedy: str = _AGAIN) -> LedgerBroken:
        return LedgerBroken(self.number, expected, came, remedy)

    def _ahead(self) -> Signed[Any] | None:
        """The signed message in the line ahead, not verified; None where it is no signed message."""
        raw = self._next
        if raw is None or not raw.startswith(_SIGNED):
            return None
        value = parse(raw)
        body = value.get("body")
        kind = _TYPES.get(str(body.get("type"))) if isinstance(body, dict) else None
        if kind is None:
            raise self._broken("a message that belongs into a ledger export", "one of another type")
        return parse_signed(kind, raw)

    # --- what signs -----------------------------------------------------------------------------------

    def _read_charters(self, chain: Chain) -> None:
        before: Charter | None = None
        while (signed := self._ahead()) is not None and isinstance(signed.body, Charter):
            charter = self._verify(signed, {OPERATOR: signed.body.operator_keys})
            if before is None:
                follows = chain == "own" or (charter.epoch, charter.previous) == (1, ZERO_DIGEST)
            else:
                follows = (charter.epoch, charter.previous) == (before.epoch + 1, before.digest)
            if not follows:
                raise self._broken("the charter of the next epoch", f"one of epoch {charter.epoch}")
            self._charters[charter.digest] = before = charter
            self._advance()
            self._read_acceptances(chain, charter)
        if before is None:
            raise self._broken("a charter that an operator signed", "another line")

    def _read_acceptances(self, chain: Chain, charter: Charter) -> None:
        for entry in charter.roster:
            signed = self._ahead()
            if signed is None or not isinstance(signed.body, CharterAcceptance):
                raise self._broken(f"the acceptance of the charter by {entry.partner}", "another line")
            body = signed.body
            if chain == "own":
                self._partner = self._partner or body.partner
                entry = charter.entry(self._partner)
            if body.partner != entry.partner or body.charter != charter.digest:
                raise self._broken(
                    f"the acceptance of the charter by {entry.partner}", f"another, by {body.partner}"
                )
            self._verify(signed, {entry.partner: entry.signing_keys})
            self._advance()
            if chain == "own":
                return

    def _read_checkpoint(self, chain: Chain, newest: Charter) -> ChainHead:
        signed = self._ahead()
        kind = Checkpoint if chain == "service" else OwnCheckpoint
        if signed is None or not isinstance(signed.body, kind):
            raise self._broken("the checkpoint", "another line")
        if isinstance(signed.body, OwnCheckpoint):
            if signed.body.partner != self._partner:
                raise self._broken(f"a checkpoint by {self._partner}", f"one by {signed.body.partner}")
            signer, keys = signed.body.partner, newest.entry(signed.body.partner).signing_keys
        else:
            signer, keys = SERVER, newest.server_keys
        self._verify(signed, {signer: keys})
        if signed.body.charter != newest.digest:
            raise self._broken("a checkpoint under the newest charter", f"one under {signed.body.charter[:16]}")
        head: ChainHead = signed.body.chain
        self._advance()
        return head

    def _read_countersignatures(self, end: ChainHead) -> Landmarks:
        landmarks = Landmarks([end, *self._seen])
        order = list(self._charters)
        last = (-1, "")
        while (signed := self._ahead()) is not None:
            body = signed.body
            if not isinstance(body, Confirmation) or body.charter not in self._charters:
                raise self._broken(
                    "a countersignature under a charter of this file, or an entry", "another message"
                )
            self._verify(signed, {body.partner: self._charters[body.charter].entry(body.partner).signing_keys})
            place = (order.index(body.charter), body.partner)
            if place <= last:
                raise self._broken(
                    "countersignatures by charter and partner, one each", f"another by {body.partner}"
                )
            if body.checkpoint.count > end.count:
                raise self._broken(
                    f"a countersignature of at most the {end.count} entries of the checkpoint",
                    f"one of {body.checkpoint.count}",
                )
            landmarks.add(body.checkpoint)
            seen = self._countersigned.get(body.partner)
            if seen is None or body.checkpoint.count > seen.count:
                self._countersigned[body.partner] = body.checkpoint
            last = place
            self._advance()
        return landmarks

    # --- what is signed -------------------------------------------------------------------------------

    def _read_entries(self, chain: Chain, end: ChainHead, landmarks: Landmarks) -> ChainVerifier:
        verifier = ChainVerifier(own=chain == "own")
        under = CharterChecks(self._charters, own=chain == "own")
        before = self.number - 1
        try:
            for line in self._entry_lines():
                entry = verifier.add_line(line)
                landmarks.passed(verifier.head)
                under.check(entry)
                if chain == "own" and entry.participant != self._partner:
                    raise LedgerBroken(
                        entry.index, f"entries of {self._partner}", f"one of {entry.participant}", _AGAIN
                    )
                if entry.index > end.count:
                    raise LedgerBroken(
                        entry.index,
                        f"the end, after the {end.count} entries that the checkpoint counts",
                        "one more entry, for which nobody has signed",
                        "export the ledger again",
                    )
            landmarks.finished(verifier.head)
        except LedgerBroken as error:
            raise LedgerBroken(before + error.line, error.expected, error.came, error.remedy) from error
        return verifier

    def _entry_lines(self) -> Iterator[bytes]:
        if self._next is not None:
            yield self._next
            yield from self._lines
