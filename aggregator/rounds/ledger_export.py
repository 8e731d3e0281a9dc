"""What stands before the entries in an export of the ledger (privacy/ledger/export.py, docs/ledger.md).

Rules:
1. Charters are those that came into force, each with every acceptance; a draft that was replaced bound nobody.
2. Of each partner, under each charter, the confirmation that countersigns the longest chain.
3. All of it is of one snapshot; the entries that its checkpoint counts can be read later, for they never change.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds.records import charter_in_force
from aggregator.storage import ledger
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AcceptanceRow, AttemptRow, CharterRow, ConfirmationRow
from privacy.ledger.checkpoint import sign_checkpoint
from privacy.ledger.export import service_export
from privacy.protocol.messages import Charter, CharterAcceptance, Checkpoint, Confirmation, Signed


def preamble(service: Service) -> bytes:
    """Lines up to the first entry. Raises WrongState before a charter is in force."""
    with service.database.read() as session:
        charter, _ = charter_in_force(session)
        return b"".join(lines(session, sign_checkpoint(charter, ledger.head(session), service.keys.server)))


def lines(session: Session, checkpoint: Signed[Checkpoint]) -> Iterator[bytes]:
    """The same of the snapshot that `session` reads, line by line."""
    rows = session.scalars(select(CharterRow).where(CharterRow.in_force).order_by(CharterRow.sequence)).all()
    charters = [(stored(Charter, row.message), acceptances(session, row.digest)) for row in rows]
    yield from service_export(charters, checkpoint, _countersignatures(session, charters), ())


def acceptances(session: Session, charter: str) -> list[Signed[CharterAcceptance]]:
    """Every acceptance of this charter, by partner."""
    rows = session.scalars(
        select(AcceptanceRow).where(AcceptanceRow.charter == charter).order_by(AcceptanceRow.partner)
    )
    return [stored(CharterAcceptance, row.message) for row in rows]


def _countersignatures(
    session: Session, charters: list[tuple[Signed[Charter], list[Signed[CharterAcceptance]]]]
) -> Iterator[Signed[Confirmation]]:
    for charter, _ in charters:
        for partner in charter.body.partners:
            newest = session.scalars(
                select(ConfirmationRow)
                .join(AttemptRow, AttemptRow.round == ConfirmationRow.round)
                .where(ConfirmationRow.partner == partner, AttemptRow.charter == charter.digest)
                .order_by(ConfirmationRow.countersigned.desc(), ConfirmationRow.round)
                .limit(1)
            ).first()
            if newest is not None:
                yield stored(Confirmation, newest.message)
