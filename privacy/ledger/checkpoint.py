"""Checkpoints: the server signs count and head of its chain, partners countersign it, nobody goes back.

Rules (protocol 6.4):
1. A checkpoint is a statement about one chain: two of equal count and different heads prove that history was
   rewritten, whoever holds both.
2. A chain shorter than one that was seen before was rolled back.
3. `Landmarks` holds every head that must lie on a chain, and is asked as the chain is replayed.
Signatures of confirmations, which carry countersignatures, are verified where confirmations are.
"""

from __future__ import annotations

from collections.abc import Iterable

from privacy.errors import BadSignature, LedgerBroken, RolledBack
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import ChainHead, Checkpoint, Signed, SigningKeys
from privacy.protocol.signing import SigningKey, Verifier, sign, verify


def sign_checkpoint(charter: str, chain: ChainHead, key: SigningKey) -> Signed[Checkpoint]:
    """The server's word that its chain, under the charter of this digest, stands at `chain`."""
    return sign(Checkpoint(charter=charter, chain=chain), SERVER, key)


def check_checkpoint(
    signed: Signed[Checkpoint],
    server_keys: SigningKeys,
    charter: str | None = None,
    verifier: Verifier | None = None,
) -> ChainHead:
    """The chain head that the server signed. Raises BadSignature; also where `charter` is given and another's."""
    body = (verifier.verify if verifier else verify)(signed, {SERVER: server_keys})
    if charter is not None and body.charter != charter:
        raise BadSignature(
            f"a checkpoint under charter {charter[:16]}", f"one under {body.charter[:16]}", "ask for this charter's"
        )
    return body.chain


def check_not_rolled_back(seen: ChainHead, now: ChainHead, whose: str) -> None:
    """Rules 1 and 2, where only two heads are at hand. A longer chain still has to be replayed past `seen`."""
    if now.count < seen.count:
        raise RolledBack(
            f"{whose} of at least {seen.count} entries, as seen before",
            f"one of {now.count}",
            "do not go on from it: find out which machine or backup it came from",
        )
    if now.count == seen.count and now.head != seen.head:
        raise _rewritten(seen, now.head)


class Landmarks:
    """Heads that were signed, countersigned or seen, and must lie on the chain (rule 3)."""

    def __init__(self, heads: Iterable[ChainHead] = ()) -> None:
        self._heads: dict[int, str] = {}
        for head in heads:
            self.add(head)

    def add(self, head: ChainHead) -> None:
        """Raises LedgerBroken if another head of the same count is known (rule 1)."""
        if head.count == 0:
            return
        if self._heads.setdefault(head.count, head.head) != head.head:
            raise _rewritten(ChainHead(count=head.count, head=self._heads[head.count]), head.head)

    def passed(self, now: ChainHead) -> None:
        """Called for each head of a replay; raises LedgerBroken where a landmark stands and differs."""
        known = self._heads.get(now.count)
        if known is not None and known != now.head:
            raise _rewritten(ChainHead(count=now.count, head=known), now.head)

    def finished(self, now: ChainHead) -> None:
        """Called after the last entry; raises LedgerBroken if a landmark lies beyond it."""
        last = max(self._heads, default=0)
        if now.count < last:
            raise LedgerBroken(
                now.count + 1,
                f"an entry {now.count + 1}: a checkpoint counts {last}",
                f"the end, after {now.count} entries",
                "export the ledger again; if it stays so, entries were dropped: raise the alarm",
            )


def _rewritten(known: ChainHead, came: str) -> LedgerBroken:
    return LedgerBroken(
        known.count,
        f"entry {known.count} of hash {known.head[:16]}, as a checkpoint says",
        f"one of hash {came[:16]}",
        "history was rewritten: raise the alarm, and keep both",
    )
