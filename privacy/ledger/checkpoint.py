"""Checkpoints: the server signs count and head of its chain, partners countersign it, nobody goes back.

Rules (protocol 6.4):
1. A checkpoint is a statement about one chain: two of equal count and different heads prove that history was
   rewritten, whoever holds both.
2. `Landmarks` holds every head that must lie on a chain, and is asked as the chain is replayed: a chain that ends
   before one of them was cut.
Signatures of confirmations, which carry countersignatures, are verified where confirmations are.
"""

from __future__ import annotations

from collections.abc import Iterable

from privacy.errors import LedgerBroken
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import ChainHead, Checkpoint, Signed, SigningKeys
from privacy.protocol.signing import SigningKey, Verifier, sign


def sign_checkpoint(charter: str, chain: ChainHead, key: SigningKey) -> Signed[Checkpoint]:
    """The server's word that its chain, under the charter of this digest, stands at `chain`."""
    return sign(Checkpoint(charter=charter, chain=chain), SERVER, key)


def check_checkpoint(
    signed: Signed[Checkpoint], server_keys: SigningKeys, charter: str, verifier: Verifier
) -> ChainHead:
    """The chain head that the server signed under the charter of this digest. Raises BadSignature, LedgerBroken."""
    body = verifier.verify(signed, {SERVER: server_keys})
    if body.charter != charter:
        raise LedgerBroken(
            body.chain.count,
            f"a checkpoint under charter {charter[:16]}",
            f"one under {body.charter[:16]}",
            "fetch it again",
        )
    return body.chain


class Landmarks:
    """Heads that were signed, countersigned or seen, and must lie on the chain (rule 2)."""

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
