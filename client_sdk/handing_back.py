"""`chorale-partner recovery`: what this folder holds of the consortium, for a service that lost it.

Rules:
1. Nothing in it is secret: messages that were sent or received, entries, this partner's own chain of charges. No
   key, no upload, no state.
2. It is read from the journal alone; the service is asked nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from client_sdk.campaigns import pinned_campaigns
from client_sdk.partner import Partner
from privacy.ledger.handed_back import write
from privacy.protocol.messages import OwnCheckpoint


def recovery_lines(partner: Partner) -> Iterator[bytes]:
    entries = (line for (line,) in partner.journal.query("SELECT line FROM server_entry ORDER BY place"))
    yield from write(partner.name, _messages(partner), entries, partner.own_ledger.lines())


def _messages(partner: Partner) -> Iterator[bytes]:
    yield from pinned_campaigns(partner)
    for record in partner.journal.records():
        yield record.signed_plan
        if record.signed_cohort is not None:
            yield from record.join_messages().values()
            yield record.signed_cohort
        elif record.signed_join is not None:
            yield record.signed_join
        for message in (record.seal, record.confirmation):
            if message is not None:
                yield message
    for (checkpoint,) in partner.journal.query("SELECT signed FROM checkpoint ORDER BY count"):
        yield checkpoint
    head = OwnCheckpoint(charter=partner.charter.digest, partner=partner.name, chain=partner.own_ledger.head)
    yield partner.sign(head).canonical_bytes
