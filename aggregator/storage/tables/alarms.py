"""Alarms, and how far the notice of each has come."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from aggregator.storage.tables.base import DIGEST, NAME, Table


class AlarmRow(Table):
    """Something a person must look at; see storage/alarms.py."""

    __tablename__ = "alarms"
    __table_args__ = (Index("ix_alarms_at", "at"),)
    id: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    participant: Mapped[str | None] = mapped_column(NAME)
    at: Mapped[int]
    detail: Mapped[bytes]
    acknowledged_at: Mapped[int | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(80))
    reason: Mapped[str | None] = mapped_column(String(500))


class AlarmDeliveryRow(Table):
    """How far the notice of an alarm has come at one address; see rounds/webhooks.py."""

    __tablename__ = "alarm_deliveries"
    alarm: Mapped[str] = mapped_column(ForeignKey("alarms.id"), primary_key=True)
    address: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    tries: Mapped[int]
    due: Mapped[float]
    delivered_at: Mapped[float | None]
