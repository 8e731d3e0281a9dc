"""What is kept, and until when (protocol 4, "What is kept").

Rules:
1. Uploads and share boxes go once a later round of the campaign is confirmed and, where this one was confirmed,
   c + 1 confirmations carry the fingerprint of every contributor.
2. Sums and result boxes go once every roster partner has confirmed; those of an attempt that ended otherwise go
   with its uploads.
3. Files go first, then the mark is set: a crash in between deletes again, and deleting what is gone is no error.
Messages, seals and the ledger are never deleted.
"""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from aggregator.rounds.confirmation import confirmations_of
from aggregator.rounds.records import charter_of, find, state_of
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow
from privacy.protocol.round_state import RoundState


def sweep(service: Service) -> None:
    """Delete what no one needs any more; cheap when there is nothing."""
    with service.database.read() as session:
        kept = session.scalars(select(AttemptRow).where(or_(AttemptRow.uploads_kept, AttemptRow.sums_kept))).all()
        uploads = [row.round for row in kept if row.uploads_kept and uploads_may_go(session, row)]
        sums = [row.round for row in kept if row.sums_kept and sums_may_go(session, row)]
    for round_digest in uploads:
        service.blobs.delete(f"rounds/{round_digest}/uploads")
        service.blobs.delete(f"rounds/{round_digest}/boxes")
        with service.database.write() as session:
            find(session, round_digest, lock=True).uploads_kept = False
    for round_digest in sums:
        service.blobs.delete(f"rounds/{round_digest}/sum")
        service.blobs.delete(f"rounds/{round_digest}/results")
        with service.database.write() as session:
            find(session, round_digest, lock=True).sums_kept = False


def uploads_may_go(session: Session, attempt: AttemptRow) -> bool:
    """Rule 1."""
    state = state_of(attempt)
    if not state.ended or not _later_confirmed(session, attempt):
        return False
    if state is not RoundState.CONFIRMED:
        return True
    complete = sum(row.complete for row in confirmations_of(session, attempt.round))
    return complete >= charter_of(session, attempt.charter).colluders + 1


def _later_confirmed(session: Session, attempt: AttemptRow) -> bool:
    later = session.scalars(
        select(AttemptRow.round)
        .where(
            AttemptRow.campaign == attempt.campaign,
            AttemptRow.sequence > attempt.sequence,
            AttemptRow.state == RoundState.CONFIRMED.value,
        )
        .limit(1)
    ).first()
    return later is not None


def sums_may_go(session: Session, attempt: AttemptRow) -> bool:
    """Rule 2."""
    state = state_of(attempt)
    if state is not RoundState.CONFIRMED:
        return state.ended and _later_confirmed(session, attempt)
    confirmed = {row.partner for row in confirmations_of(session, attempt.round)}
    return confirmed >= set(charter_of(session, attempt.charter).partners)
