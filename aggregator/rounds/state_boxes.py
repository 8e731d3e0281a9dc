"""The states that partners pass to each other through the service, unread (protocol 3).

Rules:
1. A box is taken for the genesis, and for a state that a quorum confirmed and its receiver asked for; for no
   others: so nobody fills the disk, and a box that nobody could use is not kept.
2. What waits for a box is limited in number.
3. So are the boxes of one sender for one receiver, the genesis apart. Where there are as many, the one that the
   receiver has left behind longest makes room: it has confirmed a later training round, and holds its state.
"""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from aggregator.rounds.records import campaign_of, campaign_row, campaign_topic, charter_of, require_roster
from aggregator.storage.blobs import BlobWriter
from aggregator.storage.database import announce
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, ConfirmationRow, StateBoxRow, StateRequestRow
from privacy.errors import Conflict, DigestMismatch, NotAllowed, QuotaReached
from privacy.protocol.messages import Campaign, Charter, Plan, Signed, StateBox, StateRequest
from privacy.protocol.round_state import RoundState

# Parameters, and at most two optimiser vectors, in float64; then salt, names and shapes, and the box around it.
STATE_VECTORS = 3
STATE_SLACK_BYTES = 4 << 20

StateMessage = TypeVar("StateMessage", StateBox, StateRequest)


def check_state_box(service: Service, campaign: str, partner: str, signed: Signed[StateBox]) -> int:
    """Whether this box may be stored; gives the most bytes it may have."""
    with service.database.read() as session:
        charter = _verify_from(service, session, campaign, partner, signed, signed.body.sender)
        body = signed.body
        require_roster(charter, body.receiver)
        under = campaign_of(session, campaign)
        if body.state != under.genesis:
            _require_wanted(session, body)
        if not _existing_box(session, campaign, signed):
            _room(service, session, under, body)
        return 8 * STATE_VECTORS * under.length + STATE_SLACK_BYTES


def _require_wanted(session: Session, body: StateBox) -> None:
    """Rule 1."""
    confirmed = session.scalars(
        select(AttemptRow.round)
        .where(AttemptRow.campaign == body.campaign, AttemptRow.confirmed_state == body.state)
        .limit(1)
    ).first()
    if confirmed is None:
        raise NotAllowed(
            "the genesis, or a state that a quorum confirmed", body.state[:16], "send it once it is confirmed"
        )
    if session.get(StateRequestRow, (body.campaign, body.state, body.receiver)) is None:
        raise NotAllowed(
            f"the genesis, or a state that {body.receiver} asked for",
            body.state[:16],
            "send it once it is asked for",
        )


def _room(service: Service, session: Session, campaign: Campaign, body: StateBox) -> StateBoxRow | None:
    """Rule 3: the box that has to make room, if one has to. Raises QuotaReached where none may."""
    lying = session.scalars(
        select(StateBoxRow).where(
            StateBoxRow.campaign == body.campaign,
            StateBoxRow.sender == body.sender,
            StateBoxRow.receiver == body.receiver,
            StateBoxRow.state != campaign.genesis,
        )
    ).all()
    if body.state == campaign.genesis or len(lying) < service.settings.state_boxes_kept:
        return None
    made = {
        row.confirmed_state: row.sequence
        for row in session.scalars(
            select(AttemptRow).where(
                AttemptRow.campaign == body.campaign, AttemptRow.confirmed_state.in_([row.state for row in lying])
            )
        )
    }
    oldest = min(lying, key=lambda row: made.get(row.state, 0))
    if made.get(oldest.state, 0) < _stands_on(session, body.campaign, body.receiver):
        return oldest
    raise QuotaReached(
        f"fewer than {service.settings.state_boxes_kept} states from {body.sender} that {body.receiver} has not"
        " left behind",
        str(len(lying)),
        f"wait until {body.receiver} has confirmed a later round; or have the operator raise state_boxes_kept",
    )


def _stands_on(session: Session, campaign: str, partner: str) -> int:
    """The sequence of the newest training attempt that this partner confirmed with a quorum; 0 before any."""
    rows = session.scalars(
        select(AttemptRow)
        .join(ConfirmationRow, ConfirmationRow.round == AttemptRow.round)
        .where(
            AttemptRow.campaign == campaign,
            AttemptRow.state == RoundState.CONFIRMED.value,
            ConfirmationRow.partner == partner,
            ConfirmationRow.state == AttemptRow.confirmed_state,
        )
        .order_by(AttemptRow.sequence.desc())
    )
    return next((row.sequence for row in rows if stored(Plan, row.plan).body.kind == "training"), 0)


def store_state_box(
    service: Service, campaign: str, signed: Signed[StateBox], writer: BlobWriter, box_digest: str
) -> None:
    """Keep a box that has arrived whole."""
    body = signed.body
    if box_digest != body.box:
        raise DigestMismatch(f"a box of digest {body.box}", box_digest, "send the box that was signed for")
    with service.database.write() as session:
        if _existing_box(session, campaign, signed):
            return
        under = campaign_of(session, campaign)
        if body.state != under.genesis:
            _require_wanted(session, body)  # still: while it came, it may have been left behind
        left = _room(service, session, under, body)
        if left is not None:
            _forget(session, left)
        writer.publish()
        session.add(
            StateBoxRow(
                campaign=campaign,
                state=body.state,
                sender=body.sender,
                receiver=body.receiver,
                digest=signed.digest,
                message=signed.canonical_bytes,
            )
        )
        announce(session, campaign_topic(campaign))
    if left is not None:
        _delete_file(service, left)


def _delete_file(service: Service, left: StateBoxRow) -> None:
    """A crash before this leaves a file that no row names: no reader, and no backup, asks for it.

    No box is stored meanwhile, and one that was since, once more asked for, keeps its file.
    """
    with service.database.write() as session:
        if session.get(StateBoxRow, (left.campaign, left.state, left.sender, left.receiver)) is None:
            service.blobs.delete(state_box_name(left.campaign, left.state, left.sender, left.receiver))


def _forget(session: Session, row: StateBoxRow) -> None:
    """With what asked for it, so that nobody is asked to send it again."""
    session.delete(row)
    session.execute(
        delete(StateRequestRow).where(
            StateRequestRow.campaign == row.campaign,
            StateRequestRow.state == row.state,
            StateRequestRow.partner == row.receiver,
        )
    )


def state_box_name(campaign: str, state: str, sender: str, receiver: str) -> str:
    return f"states/{campaign}/{state}/{sender}/{receiver}"


def boxes_for(session: Session, campaign: str, state: str, receiver: str) -> list[StateBoxRow]:
    return list(
        session.scalars(
            select(StateBoxRow)
            .where(StateBoxRow.campaign == campaign, StateBoxRow.state == state, StateBoxRow.receiver == receiver)
            .order_by(StateBoxRow.sender)
        )
    )


def request_state(service: Service, campaign: str, partner: str, signed: Signed[StateRequest]) -> None:
    with service.database.write() as session:
        _verify_from(service, session, campaign, partner, signed, signed.body.partner)
        key = (campaign, signed.body.state, partner)
        if session.get(StateRequestRow, key) is None:
            mine = sum(row.partner == partner for row in open_requests(session, campaign))
            if mine >= service.settings.open_state_requests:
                raise QuotaReached(
                    f"fewer than {service.settings.open_state_requests} states that {partner} waits for",
                    str(mine),
                    "wait until one of them has come",
                )
            session.add(
                StateRequestRow(
                    campaign=campaign, state=signed.body.state, partner=partner, message=signed.canonical_bytes
                )
            )
            announce(session, campaign_topic(campaign))


def open_requests(session: Session, campaign: str) -> list[StateRequestRow]:
    """Requests for which no box lies here yet."""
    answered = (
        select(StateBoxRow.state)
        .where(
            StateBoxRow.campaign == StateRequestRow.campaign,
            StateBoxRow.state == StateRequestRow.state,
            StateBoxRow.receiver == StateRequestRow.partner,
        )
        .exists()
    )
    return list(
        session.scalars(
            select(StateRequestRow)
            .where(StateRequestRow.campaign == campaign, ~answered)
            .order_by(StateRequestRow.state, StateRequestRow.partner)
        )
    )


def _existing_box(session: Session, campaign: str, signed: Signed[StateBox]) -> bool:
    body = signed.body
    row = session.get(StateBoxRow, (campaign, body.state, body.sender, body.receiver))
    if row is not None and row.digest != signed.digest:
        raise Conflict("the box that was sent first", "another for the same state", "leave it: the first is kept")
    return row is not None


def _verify_from(
    service: Service,
    session: Session,
    campaign: str,
    partner: str,
    signed: Signed[StateMessage],
    named: str,
) -> Charter:
    row = campaign_row(session, campaign)
    charter = charter_of(session, row.charter)
    require_roster(charter, partner)
    body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
    if named != partner or body.campaign != campaign or body.charter != row.charter:
        raise Conflict(
            f"a message by {partner} for campaign {campaign[:16]}",
            f"one by {named} for {body.campaign[:16]}",
            "sign it for this campaign",
        )
    return charter
