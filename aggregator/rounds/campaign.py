"""Campaigns, and who conducts them (protocol 3). The states that partners pass to each other: state_boxes.py.

Rules:
1. The lead's campaign counts once the operator has countersigned it, under the charter in force. No two under one
   charter have the same name.
2. One conductor at a time: a lease that expires.
3. Campaigns that wait for the operator are limited in number.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds.records import (
    campaign_row,
    campaign_topic,
    charter_in_force,
    charter_of,
)
from aggregator.storage.database import announce
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import CampaignRow, LeaseRow
from privacy.errors import Conflict, NotAllowed, QuotaReached, WeakerThanCharter
from privacy.protocol.messages import Campaign, Signed
from privacy.protocol.plan_checks import check_campaign


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
