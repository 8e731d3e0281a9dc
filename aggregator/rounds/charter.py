"""Drafting a charter and bringing it into force (protocol 4.0).

Rules:
1. The operator signs a draft; its numbers are safe (check_charter), its roster repeats approved enrolments word for
   word, its keys of the service are ours, and its epoch follows the charter in force.
2. It is in force once every roster partner has signed it; partners then pin its hash.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds.enrolment import APPROVED, find
from aggregator.rounds.records import CHARTERS, require_roster
from aggregator.storage import ledger
from aggregator.storage.database import announce
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AcceptanceRow, CharterRow
from privacy.errors import Conflict, NotFound, WeakerThanCharter
from privacy.protocol.identifiers import OPERATOR, ZERO_DIGEST
from privacy.protocol.messages import Charter, CharterAcceptance, Enrolment, Signed
from privacy.protocol.plan_checks import check_acceptances, check_charter


@dataclass(frozen=True)
class CharterStanding:
    digest: str
    message: bytes
    acceptances: dict[str, bytes]
    in_force: bool


def draft(service: Service, signed: Signed[Charter]) -> str:
    """Take the operator's draft; gives its hash."""
    charter = service.verifier.verify(signed, {OPERATOR: service.keys.operator})
    if charter.operator_keys != service.keys.operator or charter.server_keys != service.keys.server.public:
        raise WeakerThanCharter(
            "the operator's and server's keys of this service", "others", "draft it with the keys of GET /v1/about"
        )
    check_charter(charter)
    charter_digest = signed.digest
    with service.database.write() as session:
        if session.get(CharterRow, charter_digest) is not None:
            return charter_digest
        _check_roster(session, charter)
        _check_epoch(session, charter)
        sequence = session.scalar(select(func.count()).select_from(CharterRow)) or 0
        session.add(
            CharterRow(digest=charter_digest, sequence=sequence + 1, message=signed.canonical_bytes, in_force=False)
        )
        announce(session, CHARTERS)
    return charter_digest


def accept(service: Service, charter_digest: str, partner: str, signed: Signed[CharterAcceptance]) -> bool:
    """Take a partner's acceptance; says whether the charter is in force now."""
    with service.database.write() as session:
        row = session.get(CharterRow, charter_digest, with_for_update=True)
        if row is None:
            raise NotFound("a charter of this service", charter_digest[:16], "fetch the latest charter")
        charter = stored(Charter, row.message).body
        require_roster(charter, partner)
        body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
        if body.charter != charter_digest or body.partner != partner:
            raise Conflict(
                f"an acceptance by {partner} of {charter_digest[:16]}",
                f"one by {body.partner} of {body.charter[:16]}",
                "sign the charter that you fetched",
            )
        if session.get(AcceptanceRow, (charter_digest, partner)) is not None:
            return row.in_force
        newest = session.scalar(select(func.max(CharterRow.sequence)))
        if row.sequence != newest:
            raise Conflict("the newest draft", "one that was replaced", "fetch the latest charter")
        session.add(
            AcceptanceRow(
                charter=charter_digest, partner=partner, message=signed.canonical_bytes, received=service.now()
            )
        )
        session.flush()
        acceptances = {
            name: stored(CharterAcceptance, message)
            for name, message in _acceptances(session, charter_digest).items()
        }
        if len(acceptances) == charter.n_max:
            check_acceptances(charter, acceptances, service.verifier)
            row.in_force = True
            ledger.record_action(
                session, charter_digest, service.now(), None, f"charter of epoch {charter.epoch} in force"
            )
        announce(session, CHARTERS)
        return row.in_force


def latest(session: Session) -> CharterStanding | None:
    """The newest draft or charter, and who has signed it."""
    row = session.scalars(select(CharterRow).order_by(CharterRow.sequence.desc()).limit(1)).first()
    if row is None:
        return None
    return CharterStanding(row.digest, row.message, _acceptances(session, row.digest), row.in_force)


def _acceptances(session: Session, charter_digest: str) -> dict[str, bytes]:
    rows = session.scalars(
        select(AcceptanceRow).where(AcceptanceRow.charter == charter_digest).order_by(AcceptanceRow.partner)
    )
    return {row.partner: row.message for row in rows}


def _check_roster(session: Session, charter: Charter) -> None:
    for entry in charter.roster:
        row = find(session, entry.partner)
        enrolment = stored(Enrolment, row.message).body
        same = enrolment.model_dump(exclude={"type", "invitation"}) == entry.model_dump()
        if row.state != APPROVED or not same:
            raise WeakerThanCharter(
                f"the approved enrolment of {entry.partner}, word for word",
                f"an enrolment that is {row.state}" if same else "other keys, name or caps",
                "approve it, or draft the charter from the enrolments as they are",
            )


def _check_epoch(session: Session, charter: Charter) -> None:
    before = session.scalars(
        select(CharterRow).where(CharterRow.in_force).order_by(CharterRow.sequence.desc()).limit(1)
    ).first()
    epoch = 1 if before is None else stored(Charter, before.message).body.epoch + 1
    previous = ZERO_DIGEST if before is None else before.digest
    if charter.epoch != epoch or charter.previous != previous:
        raise Conflict(
            f"epoch {epoch} after charter {previous[:16]}",
            f"epoch {charter.epoch} after {charter.previous[:16]}",
            "draft it as the successor of the charter in force",
        )
