"""Openings, refusals and the operator's abort (protocol 4.4).

Rules:
1. An opening is a member's, for the stored seal, with a box for each roster partner. One for each partner: another
   one is refused. It is taken as long as partners may still decode, so that late ones can.
2. A result box is given to its receiver alone.
3. At the open deadline an attempt with fewer than t openings is closed; from then on none is taken.
4. The operator may abort an attempt that nobody has opened, and past the open deadline any that has not ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds import alarming
from aggregator.rounds.join import close
from aggregator.rounds.records import changed, charter_of, cohort_of, find, require_member, require_roster, state_of
from aggregator.rounds.upload import check_boxes
from aggregator.storage.blobs import write_blob
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, OpeningRow, RefusalRow, UploadRow
from privacy.errors import Conflict, MalformedMessage, NotFound
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort, Charter, Opening, Refusal, Signed
from privacy.protocol.round_state import RoundState, check_abort, quorum, require

_DECODABLE = (RoundState.OPENING, RoundState.CONFIRMED, RoundState.VOID)


def result_boxes_name(round_digest: str, opener: str) -> str:
    return f"rounds/{round_digest}/results/{opener}"


def open_seal(
    service: Service, round_digest: str, partner: str, signed: Signed[Opening], attachment: bytes
) -> None:
    """Take a member's opening with its result boxes."""
    with service.database.read() as session:
        attempt = find(session, round_digest)
        charter = charter_of(session, attempt.charter)
        require_member(cohort_of(attempt), partner)
        uploaded = session.get(UploadRow, (round_digest, partner))
        contributed = uploaded is not None and uploaded.in_seal
    require(state_of(attempt), *_DECODABLE)
    _check_opening(service, attempt, charter, partner, signed, contributed)
    if len(attachment) != charter.n_max * SHARE_BOX_BYTES:
        raise MalformedMessage(
            f"{charter.n_max} result boxes of {SHARE_BOX_BYTES} bytes",
            f"{len(attachment)} bytes",
            "send all of them",
        )
    check_boxes(attachment, [box.digest for box in signed.body.boxes])
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        before = session.get(OpeningRow, (round_digest, partner))
        if before is not None:
            if before.digest != signed.digest:
                raise Conflict(
                    f"the opening that {partner} sent first",
                    "another",
                    "resend the opening in the journal, unchanged",
                )
            return
        require(state_of(attempt), *_DECODABLE)
        write_blob(service.blobs, result_boxes_name(round_digest, partner), attachment)
        session.add(
            OpeningRow(
                round=round_digest,
                partner=partner,
                digest=signed.digest,
                message=signed.canonical_bytes,
                received=service.now(),
            )
        )
        changed(session, attempt)


def openings_of(session: Session, round_digest: str) -> list[OpeningRow]:
    return list(
        session.scalars(select(OpeningRow).where(OpeningRow.round == round_digest).order_by(OpeningRow.partner))
    )


def result_boxes(
    service: Service, session: Session, round_digest: str, openers: Sequence[str], receiver: str
) -> list[bytes]:
    """The boxes that these openers addressed to `receiver`, in their order."""
    rows = {row.partner: row for row in openings_of(session, round_digest)}
    return [_result_box(service, rows.get(opener), opener, receiver) for opener in openers]


def _result_box(service: Service, row: OpeningRow | None, opener: str, receiver: str) -> bytes:
    if row is None:
        raise NotFound(f"an opening by {opener}", "none", "wait for its opening")
    receivers = [box.receiver for box in stored(Opening, row.message).body.boxes]
    if receiver not in receivers:
        raise NotFound(f"a box to {receiver}", "none", "only partners of this attempt's charter have boxes")
    offset = receivers.index(receiver) * SHARE_BOX_BYTES
    return service.blobs.read(result_boxes_name(row.round, opener), offset, SHARE_BOX_BYTES)


def refuse(service: Service, round_digest: str, partner: str, signed: Signed[Refusal]) -> None:
    """Write down that a member does not open, and which check failed."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        charter = charter_of(session, attempt.charter)
        require_roster(charter, partner)
        require_member(cohort_of(attempt), partner)
        body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
        if (body.partner, body.plan, body.charter) != (partner, round_digest, attempt.charter):
            raise Conflict(f"a refusal by {partner} of this attempt", "another", "sign it for this attempt")
        before = session.get(RefusalRow, (round_digest, partner))
        if before is not None:
            if before.digest != signed.digest:
                raise Conflict(f"the refusal that {partner} sent first", "another", "leave it: the first is kept")
            return
        session.add(
            RefusalRow(
                round=round_digest,
                partner=partner,
                digest=signed.digest,
                message=signed.canonical_bytes,
                received=service.now(),
            )
        )
        alarming.opening_refused(session, attempt, body, service.now())
        changed(session, attempt)


def abort(service: Service, round_digest: str, signed: Signed[Abort]) -> None:
    """End an attempt by the operator's word. Raises WrongState by rule 4."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        charter = charter_of(session, attempt.charter)
        body = service.verifier.verify(signed, {OPERATOR: charter.operator_keys})
        if (body.plan, body.charter) != (round_digest, attempt.charter):
            raise Conflict("an abort of this attempt", f"one of plan {body.plan[:16]}", "sign it for this attempt")
        if attempt.abort is not None:
            return
        check_abort(count_openings(session, round_digest), attempt.open_deadline, service.now())
        attempt.abort = signed.canonical_bytes
        close(service, session, attempt, "aborted", body.reason)


def settle_opening(service: Service, round_digest: str) -> None:
    """Close an attempt that fewer than t have opened by the deadline; otherwise nothing."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        if state_of(attempt) is not RoundState.OPENING or service.now() <= attempt.open_deadline:
            return
        needed = quorum(len(cohort_of(attempt).members), charter_of(session, attempt.charter).colluders)
        came = count_openings(session, round_digest)
        if came < needed:
            reason = f"{came} of the {needed} openings that the sum needs came by the deadline"
            close(service, session, attempt, "not-opened", reason)


def count_openings(session: Session, round_digest: str) -> int:
    query = select(func.count()).select_from(OpeningRow).where(OpeningRow.round == round_digest)
    return session.scalar(query) or 0


def _check_opening(
    service: Service,
    attempt: AttemptRow,
    charter: Charter,
    partner: str,
    signed: Signed[Opening],
    contributed: bool,
) -> None:
    body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
    here = (attempt.charter, attempt.round, attempt.cohort_digest, attempt.seal_digest, partner)
    if (body.charter, body.plan, body.cohort, body.seal, body.partner) != here:
        raise Conflict(
            f"an opening by {partner} of this attempt's seal",
            f"one by {body.partner} of seal {body.seal[:16]}",
            "open the seal that the round document shows",
        )
    if tuple(box.receiver for box in body.boxes) != charter.partners:
        raise MalformedMessage("a result box for each roster partner", "other receivers", "seal one to each")
    if (body.fingerprint is not None) != contributed:
        raise MalformedMessage(
            "a fingerprint of its own upload from each contributor, and from nobody else",
            "none" if contributed else "one",
            "fingerprint the upload if it is in the seal",
        )
