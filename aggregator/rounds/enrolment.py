"""Invitations and enrolments (protocol 4.0).

Rules:
1. An invitation is for one partner id, is used once, and expires. Its token is never stored.
2. An enrolment proves possession of both signing keys, and its result key can be encapsulated to.
3. The operator approves by hand, after comparing fingerprints outside the service; what is approved stays.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds.records import ENROLMENTS
from aggregator.storage.database import announce
from aggregator.storage.service import Service
from aggregator.storage.tables import EnrolmentRow, InvitationRow
from aggregator.storage.tokens import new_token, token_digest
from privacy.errors import Conflict, NotAuthenticated, NotFound, UnsafeParameters
from privacy.he.boxes import check_public_key
from privacy.protocol.canonical import canonical, digest
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Enrolment, Signed, SigningKeys

PENDING = "pending"
APPROVED = "approved"
RESERVED_NAMES = (OPERATOR, SERVER, "consortium")


def invite(service: Service, partner: str, expires_in: int) -> tuple[str, int]:
    """(token, expiry) of a new invitation."""
    if partner in RESERVED_NAMES:
        raise UnsafeParameters("a partner id", f"{partner}, which the protocol uses", "choose another id")
    token = new_token(service.source)
    expires = service.now() + expires_in
    with service.database.write() as session:
        session.add(
            InvitationRow(token_digest=token_digest(token), partner=partner, expires=float(expires), used_at=None)
        )
    return token, expires


def enrol(service: Service, token: str, signed: Signed[Enrolment]) -> EnrolmentRow:
    """Take an enrolment for an invitation. The same one again is answered alike."""
    partner = signed.body.partner
    body = service.verifier.verify(signed, {partner: signed.body.signing_keys})
    check_public_key(bytes.fromhex(body.result_key))
    named = digest(token.encode())
    with service.database.write() as session:
        now = service.clock.now()
        invitation = session.get(InvitationRow, token_digest(token), with_for_update=True)
        if invitation is None or invitation.partner != partner or body.invitation != named:
            raise NotAuthenticated(
                f"an invitation for {partner}", "none that this token names", "ask the operator for an invitation"
            )
        row = session.get(EnrolmentRow, partner)
        if row is not None:
            if row.digest != signed.digest:
                raise Conflict(
                    f"the enrolment of {partner} that was sent first",
                    "another",
                    "go on with the folder that enrolled, or ask the operator for another partner id",
                )
            return row
        if invitation.used_at is not None or invitation.expires <= now:
            raise NotAuthenticated(
                "an invitation that is new", "one that was used or has expired", "ask the operator for another"
            )
        invitation.used_at = now
        row = EnrolmentRow(
            partner=partner,
            digest=signed.digest,
            message=signed.canonical_bytes,
            signing_keys=canonical(body.signing_keys.model_dump(mode="json")),
            state=PENDING,
        )
        session.add(row)
        announce(session, ENROLMENTS)
    return row


def approve(service: Service, partner: str) -> EnrolmentRow:
    with service.database.write() as session:
        row = find(session, partner)
        row.state = APPROVED
        announce(session, ENROLMENTS)
    return row


def find(session: Session, partner: str) -> EnrolmentRow:
    row = session.get(EnrolmentRow, partner)
    if row is None:
        raise NotFound(f"an enrolment of {partner}", "none", "invite the partner, and have it enrol")
    return row


def everyone(session: Session) -> list[EnrolmentRow]:
    return list(session.scalars(select(EnrolmentRow).order_by(EnrolmentRow.partner)))


def keys_of(service: Service, identity: str) -> SigningKeys | None:
    """The keys with which this identity signs requests; None for a stranger."""
    if identity == OPERATOR:
        return service.keys.operator
    known = service.enrolled.get(identity)
    if known is not None:
        return known
    with service.database.read() as session:
        row = session.get(EnrolmentRow, identity)
    if row is None:
        return None
    # Kept: an enrolment is never replaced, and there are no more of them than the operator invited.
    return service.enrolled.setdefault(identity, SigningKeys.model_validate_json(row.signing_keys))
