"""Who is in the consortium, what was signed for it, and the states that partners hand each other."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from aggregator.storage.tables.base import DIGEST, NAME, Table


class InvitationRow(Table):
    """`replaces`: the digest of the enrolment that an answer to it replaces."""

    __tablename__ = "invitations"
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME)
    expires: Mapped[float]
    used_at: Mapped[float | None]
    replaces: Mapped[str | None] = mapped_column(DIGEST)


class EnrolmentRow(Table):
    __tablename__ = "enrolments"
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]
    signing_keys: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(16))


class FormerEnrolmentRow(Table):
    """What a partner had enrolled before it enrolled anew."""

    __tablename__ = "former_enrolments"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME)
    message: Mapped[bytes]
    replaced_at: Mapped[float]


class CharterRow(Table):
    __tablename__ = "charters"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    message: Mapped[bytes]
    in_force: Mapped[bool]


class AcceptanceRow(Table):
    __tablename__ = "acceptances"
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    message: Mapped[bytes]
    received: Mapped[int | None]


class CampaignRow(Table):
    __tablename__ = "campaigns"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"))
    message: Mapped[bytes]
    in_force: Mapped[bool]


class StateBoxRow(Table):
    __tablename__ = "state_boxes"
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"), primary_key=True)
    state: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sender: Mapped[str] = mapped_column(NAME, primary_key=True)
    receiver: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]


class StateRequestRow(Table):
    __tablename__ = "state_requests"
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"), primary_key=True)
    state: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    message: Mapped[bytes]


class LeaseRow(Table):
    __tablename__ = "conductor_leases"
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"), primary_key=True)
    holder: Mapped[str] = mapped_column(String(80))
    until: Mapped[float]
