"""Invitations and enrolments (protocol 4.0).

Rules:
1. An invitation is for one partner id, is used once, and expires. Its token is never stored.
2. An enrolment proves possession of both signing keys, and its result key can be encapsulated to.
3. The operator approves by hand, after comparing fingerprints outside the service.
4. What is enrolled stays, but for an invitation *again*, which names the one enrolment that its answer replaces:
   for a partner that lost its folder. From then on the former keys sign no request. Messages under the charter in
   force go by the keys which that charter names, so the new ones take part under a new charter alone.
5. Whoever is not approved yet may ask for its own enrolment, and for nothing else.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds.records import ENROLMENTS, charter_in_force
from aggregator.storage import ledger
from aggregator.storage.database import announce
from aggregator.storage.service import Service
from aggregator.storage.tables import EnrolmentRow, FormerEnrolmentRow, InvitationRow
from aggregator.storage.tokens import new_token, token_digest
from privacy.errors import Conflict, NotAuthenticated, NotFound, UnsafeParameters, WrongState
from privacy.he.boxes import check_public_key
from privacy.protocol.canonical import canonical, digest
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Enrolment, Signed, SigningKeys

PENDING = "pending"
APPROVED = "approved"
RESERVED_NAMES = (OPERATOR, SERVER, "consortium")


def invite(service: Service, partner: str, expires_in: int, again: bool = False) -> tuple[str, int]:
    """(token, expiry) of a new invitation. Raises Conflict for an enrolled partner unless `again`, by rule 4."""
    if partner in RESERVED_NAMES:
        raise UnsafeParameters("a partner id", f"{partner}, which the protocol uses", "choose another id")
    token = new_token(service.source)
    expires = service.now() + expires_in
    with service.database.write() as session:
        row = session.get(EnrolmentRow, partner)
        if row is not None and not again:
            raise Conflict(
                f"a partner id that is not enrolled, or an invitation again for {partner}",
                "an enrolled one",
                "invite it again only if it lost its folder: its former keys end with its answer",
            )
        if row is None and again:
            raise NotFound(f"an enrolment of {partner} to replace", "none", "invite it without `again`")
        session.add(
            InvitationRow(
                token_digest=token_digest(token),
                partner=partner,
                expires=float(expires),
                used_at=None,
                replaces=None if row is None else row.digest,
            )
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
            if row.digest == signed.digest:
                return row
            if row.digest != invitation.replaces:
                raise Conflict(
                    f"the enrolment of {partner} that was sent first",
                    "another",
                    "go on with the folder that enrolled; if it is lost, ask the operator for an invitation again",
                )
        if invitation.used_at is not None or invitation.expires <= now:
            raise NotAuthenticated(
                "an invitation that is new", "one that was used or has expired", "ask the operator for another"
            )
        invitation.used_at = now
        if row is None:
            row = EnrolmentRow(partner=partner)
            session.add(row)
        else:
            _keep_former(session, row, now)
        row.digest, row.message = signed.digest, signed.canonical_bytes
        row.signing_keys = canonical(body.signing_keys.model_dump(mode="json"))
        row.state = PENDING
        announce(session, ENROLMENTS)
    service.enrolled.forget(partner)
    return row


def _keep_former(session: Session, row: EnrolmentRow, now: float) -> None:
    session.add(FormerEnrolmentRow(digest=row.digest, partner=row.partner, message=row.message, replaced_at=now))
    try:
        digest, charter = charter_in_force(session)
    except WrongState:
        return  # the ledger begins with the first charter
    if row.partner in charter.partners:
        reason = "enrolled anew, with other keys: those of the charter in force sign no request any more"
        ledger.record_action(session, digest, int(now), row.partner, reason)


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


def is_known(service: Service, identity: str) -> bool:
    """Whether `keys_of` answers without the database."""
    return identity == OPERATOR or service.enrolled.find(identity) is not None


def keys_of(service: Service, identity: str) -> tuple[SigningKeys, bool] | None:
    """The keys that sign this identity's requests, and whether it is approved (rule 5); None for a stranger."""
    if identity == OPERATOR:
        return service.keys.operator, True
    known = service.enrolled.find(identity)
    if known is not None:
        return known, True
    asked = service.enrolled.asked()
    with service.database.read() as session:
        row = session.get(EnrolmentRow, identity)
    if row is None:
        return None
    keys = SigningKeys.model_validate_json(row.signing_keys)
    if row.state != APPROVED:
        return keys, False
    # Kept: there are no more of them than the operator invited.
    service.enrolled.remember(identity, keys, asked)
    return keys, True
