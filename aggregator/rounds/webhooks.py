"""Alarms go out: each to every address of `alarm_webhooks`, as a signed message, until the address takes it.

Rules:
1. The table of alarms is the outbox, so an alarm that is committed is sent, whatever dies in between. What was sent
   may be sent again: `idempotency-key` is the alarm's id.
2. It runs beside requests and never in one; at most BATCH notices a turn, TIMEOUT seconds each. A failing address
   is tried again after 5 s, then twice as long each time up to an hour, for GIVE_UP_SECONDS from the alarm on.
3. Addresses come from the operator's file alone, HTTPS or loopback, and lead inside only where it says so
   (outgoing.py); redirects are not followed, answers not read.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import and_, or_, select

from aggregator.storage.alarms import Alarm, find_alarm
from aggregator.storage.service import Service
from aggregator.storage.tables import AlarmDeliveryRow, AlarmRow
from privacy.errors import NotAllowed
from privacy.protocol.alarm_notice import AlarmNotice
from privacy.protocol.identifiers import SERVER
from privacy.protocol.signing import sign

if TYPE_CHECKING:
    import httpx

TURN_SECONDS = 2.0
TIMEOUT = 10.0
BATCH = 20
LONGEST_WAIT = 3600.0
GIVE_UP_SECONDS = 7 * 86400

_log = structlog.get_logger("chorale.webhooks")


class Webhooks:
    def __init__(self, service: Service, transport: httpx.BaseTransport | None = None) -> None:
        self._service = service
        self._transport = transport

    async def run(self) -> None:
        """Until cancelled; ends at once where no address is set."""
        while self._service.settings.alarm_webhooks:
            try:
                await asyncio.to_thread(self.turn)
            except Exception:  # noqa: BLE001 - what failed stays in the outbox; the log has it
                _log.exception("webhooks-failed")
            await asyncio.sleep(TURN_SECONDS)

    def turn(self) -> int:
        """Send what is due; gives how many were taken."""
        import httpx  # by who sends alone: a service without addresses loads no client

        from aggregator.outgoing import Outgoing

        taken = 0
        transport = self._transport or Outgoing(self._service.settings.names_inside)
        with httpx.Client(timeout=TIMEOUT, follow_redirects=False, transport=transport) as http:
            for url in self._service.settings.alarm_webhooks:
                for alarm in self._due(url):
                    done = self._send(http, url, alarm)
                    self._note(url, alarm, done)
                    taken += done
                    if not done:
                        break  # an address that is away is not asked twenty times a turn
        return taken

    def _due(self, url: str) -> list[Alarm]:
        now = self._service.clock.now()
        known = and_(AlarmDeliveryRow.alarm == AlarmRow.id, AlarmDeliveryRow.address == _address(url))
        query = (
            select(AlarmRow.id)
            .outerjoin(AlarmDeliveryRow, known)
            .where(
                AlarmRow.at >= int(now) - GIVE_UP_SECONDS,
                AlarmDeliveryRow.delivered_at.is_(None),
                or_(AlarmDeliveryRow.due.is_(None), AlarmDeliveryRow.due <= now),
            )
            .order_by(AlarmRow.at, AlarmRow.id)
            .limit(BATCH)
        )
        with self._service.database.read() as session:
            return [find_alarm(session, alarm) for alarm in session.scalars(query).all()]

    def _send(self, http: httpx.Client, url: str, alarm: Alarm) -> bool:
        notice = AlarmNotice(
            alarm=alarm.id,
            kind=alarm.kind,
            grave=alarm.grave,
            participant=alarm.participant,
            at=alarm.at,
            detail=dict(alarm.detail),
        )
        import httpx

        body = sign(notice, SERVER, self._service.keys.server).canonical_bytes
        headers = {"content-type": "application/json", "idempotency-key": alarm.id}
        try:
            with http.stream("POST", url, content=body, headers=headers) as answer:
                return answer.is_success
        except httpx.HTTPError as error:
            _log.warning("webhook-away", host=httpx.URL(url).host, error=type(error).__name__, why=_why(error))
            return False

    def _note(self, url: str, alarm: Alarm, done: bool) -> None:
        now = self._service.clock.now()
        with self._service.database.write() as session:
            row = session.get(AlarmDeliveryRow, (alarm.id, _address(url)))
            if row is None:
                row = AlarmDeliveryRow(alarm=alarm.id, address=_address(url), tries=0, due=now)
                session.add(row)
            row.tries += 1
            row.due = now + min(LONGEST_WAIT, 5.0 * 2.0 ** min(row.tries - 1, 12))
            row.delivered_at = now if done else None


def _why(error: Exception) -> str | None:
    """What the operator can do something about: a name that leads where it may not."""
    return str(error.__cause__) if isinstance(error.__cause__, NotAllowed) else None


def _address(url: str) -> str:
    """An address may carry a secret in its path: only its digest is kept."""
    return hashlib.sha256(url.encode()).hexdigest()
