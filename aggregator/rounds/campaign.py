"""Campaigns, and the states that partners pass to each other through the service (protocol 3).

Rules:
1. The lead's campaign counts once the operator has countersigned it, under the charter in force. No two under one
   charter have the same name.
2. State boxes are stored unread, for the genesis and for states that a quorum confirmed, and for no others: so
   nobody fills the disk, and a box that nobody could use is not kept.
3. One conductor at a time: a lease that expires.
4. What waits for somebody else (a campaign for the operator, a request for a box) is limited in number.
"""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds.records import (
    campaign_of,
    campaign_row,
    campaign_topic,
    charter_in_force,
    charter_of,
    require_roster,
)
from aggregator.storage.blobs import BlobWriter
from aggregator.storage.database import announce
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, CampaignRow, LeaseRow, StateBoxRow, StateRequestRow
from privacy.errors import Conflict, DigestMismatch, NotAllowed, QuotaReached, WeakerThanCharter
from privacy.protocol.messages import Campaign, Charter, Signed, StateBox, StateRequest
from privacy.protocol.plan_checks import check_campaign

# Parameters, and at most two optimiser vectors, in float64; then salt, names and shapes, and the box around it.
STATE_VECTORS = 3
STATE_SLACK_BYTES = 4 << 20

StateMessage = TypeVar("StateMessage", StateBox, StateRequest)


def propose(service: Service, partner: str, signed: Signed[Campaign]) -> str:
    """Take the lead's campaign; gives its hash."""
    with service.database.write() as session:
        charter_digest, charter = charter_in_force(session)
        if partner != charter.lead:
            raise NotAllowed(f"the lead partner, {charter.lead}", partner, "have the lead propose the campaign")
        body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
        if body.charter != charter_digest:
            raise WeakerThanCharter(
                f"a campaign under charter {charter_digest[:16]}", f"one under {body.charter[:16]}", "draft it anew"
            )
        digest = signed.digest
        if session.get(CampaignRow, digest) is None:
            _require_new_name(session, body)
            _require_few_waiting(service, session, charter_digest)
            sequence = session.scalar(select(func.count()).select_from(CampaignRow)) or 0
            session.add(
                CampaignRow(
                    digest=digest,
                    sequence=sequence + 1,
                    charter=charter_digest,
                    message=signed.canonical_bytes,
                    in_force=False,
                )
            )
            announce(session, campaign_topic(digest))
    return digest


def _require_new_name(session: Session, body: Campaign) -> None:
    under = session.scalars(select(CampaignRow).where(CampaignRow.charter == body.charter))
    for row in under:
        if stored(Campaign, row.message).body.name == body.name:
            raise Conflict(
                f"one campaign called {body.name!r} under this charter",
                f"another than {row.digest[:16]}, which has the name",
                "give it a name of its own, or go on with the one that is there",
            )


def _require_few_waiting(service: Service, session: Session, charter: str) -> None:
    waiting = session.scalar(
        select(func.count())
        .select_from(CampaignRow)
        .where(CampaignRow.charter == charter, CampaignRow.in_force.is_(False))
    )
    if (waiting or 0) >= service.settings.waiting_campaigns:
        raise QuotaReached(
            f"fewer than {service.settings.waiting_campaigns} campaigns that wait for the operator",
            str(waiting),
            "have the operator countersign one of them",
        )


def countersign(service: Service, digest: str, signed: Signed[Campaign]) -> None:
    """Take the campaign signed by lead and operator; from now on plans may name it."""
    with service.database.write() as session:
        row = campaign_row(session, digest)
        if signed.digest != digest:
            raise Conflict(
                f"campaign {digest[:16]}", signed.digest[:16], "countersign the campaign as the lead sent it"
            )
        if row.in_force:
            return
        check_campaign(signed, charter_of(session, row.charter), service.verifier)
        row.message = signed.canonical_bytes
        row.in_force = True
        announce(session, campaign_topic(digest))


def everything(session: Session) -> list[CampaignRow]:
    return list(session.scalars(select(CampaignRow).order_by(CampaignRow.sequence)))


def check_state_box(service: Service, campaign: str, partner: str, signed: Signed[StateBox]) -> int:
    """Whether this box may be stored; gives the most bytes it may have."""
    with service.database.read() as session:
        charter = _verify_from(service, session, campaign, partner, signed, signed.body.sender)
        body = signed.body
        require_roster(charter, body.receiver)
        genesis = campaign_of(session, campaign)
        confirmed = session.scalars(
            select(AttemptRow.round)
            .where(AttemptRow.campaign == campaign, AttemptRow.confirmed_state == body.state)
            .limit(1)
        ).first()
        if body.state != genesis.genesis and confirmed is None:
            raise NotAllowed(
                "the genesis, or a state that a quorum confirmed", body.state[:16], "send it once it is confirmed"
            )
        _existing_box(session, campaign, signed)
        return 8 * STATE_VECTORS * genesis.length + STATE_SLACK_BYTES


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


def lease(service: Service, campaign: str, holder: str, seconds: int) -> float:
    """Hold, renew or (0 seconds) give up the conductor's lease. Raises Conflict while another holds it."""
    now = service.clock.now()
    with service.database.write() as session:
        campaign_row(session, campaign)
        row = session.get(LeaseRow, campaign, with_for_update=True)
        if row is None:
            row = LeaseRow(campaign=campaign, holder=holder, until=now + seconds)
            session.add(row)
        elif row.holder != holder and row.until > now:
            raise Conflict(
                "a campaign that no other conductor leads", f"one led by {row.holder}", "wait until its lease ends"
            )
        else:
            row.holder, row.until = holder, now + seconds
        return row.until


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
