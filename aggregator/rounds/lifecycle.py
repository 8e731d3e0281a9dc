"""Moving attempts on: when everyone is in, and when a deadline passes.

Rules:
1. `advance` looks at every open attempt and does what is due; it may be called at any time and by any process.
2. The ticker wakes when a transaction announces news, and at least every RECHECK_SECONDS for deadlines.
3. What is no longer needed is swept away once in RECHECK_SECONDS, however much news there is.
4. Sums run beside the ticker, one task an attempt. One that fails (a full disk) is logged and tried again after
   RETRY_SECONDS; one that a crash cut off is found summing at the next start, and made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor

import structlog
from sqlalchemy import select

from aggregator.rounds.join import settle_joining
from aggregator.rounds.opening import settle_opening
from aggregator.rounds.records import LIFECYCLE
from aggregator.rounds.retention import sweep
from aggregator.rounds.seal import make_seal, settle_uploading
from aggregator.storage import accounts, links, sessions, sign_in_limits
from aggregator.storage.notifier import RECHECK_SECONDS
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow
from privacy.protocol.round_state import RoundState

RETRY_SECONDS = 5.0
PURGE_SECONDS = 60.0

_log = structlog.get_logger("chorale.lifecycle")
_SETTLE = {
    RoundState.JOINING: settle_joining,
    RoundState.UPLOADING: settle_uploading,
    RoundState.OPENING: settle_opening,
}


def advance(service: Service) -> list[str]:
    """Do what is due in every open attempt; gives the attempts whose sum is to be made."""
    watched = [state.value for state in (*_SETTLE, RoundState.SUMMING)]
    with service.database.read() as session:
        rows = session.execute(
            select(AttemptRow.round, AttemptRow.state)
            .where(AttemptRow.state.in_(watched))
            .order_by(AttemptRow.campaign, AttemptRow.sequence)
        ).all()
    for round_digest, state in rows:
        settle = _SETTLE.get(RoundState(state))
        if settle is not None:
            try:
                settle(service, round_digest)
            except Exception:  # noqa: BLE001 - one attempt's trouble must not hold up the others; the log has it
                _log.exception("settle-failed", round=round_digest)
    with service.database.read() as session:
        return list(session.scalars(select(AttemptRow.round).where(AttemptRow.state == RoundState.SUMMING.value)))


def purge(service: Service) -> None:
    """Forget nonces that can no longer be replayed, and the console's old links and sessions."""
    now = service.clock.now()
    service.nonces.purge(now)
    with service.database.write() as session:
        for store in (links, sessions, accounts, sign_in_limits):
            store.purge(session, now)


class Lifecycle:
    """The ticker and its sums."""

    def __init__(self, service: Service, make_pool: Callable[[], Executor]) -> None:
        self._service = service
        self._make_pool = make_pool
        self._pool = make_pool()
        self._sums: dict[str, asyncio.Task[None]] = {}
        self._purged = 0.0
        self._swept = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        notifier = self._service.notifier
        while True:
            ticket = notifier.ticket(LIFECYCLE)
            await self._tick()
            await notifier.wait(LIFECYCLE, ticket, RECHECK_SECONDS)

    async def _tick(self) -> None:
        try:
            due = await asyncio.to_thread(advance, self._service)
            elapsed = asyncio.get_running_loop().time()
            if elapsed - self._swept >= RECHECK_SECONDS:
                self._swept = elapsed
                await asyncio.to_thread(sweep, self._service)
            if abs(self._service.clock.now() - self._purged) >= PURGE_SECONDS:  # also where it was set back
                self._purged = self._service.clock.now()
                await asyncio.to_thread(purge, self._service)
        except Exception:  # noqa: BLE001 - the ticker outlives any single failure, and says so in the log
            _log.exception("lifecycle-failed")
            return
        for round_digest in due:
            if round_digest not in self._sums:
                self._sums[round_digest] = asyncio.create_task(self._sum(round_digest))

    async def _sum(self, round_digest: str) -> None:
        try:
            await asyncio.to_thread(make_seal, self._service, round_digest, self._pool)
        except BrokenExecutor:
            # A process of the pool was killed (out of memory, or by hand): that pool will never work again.
            _log.exception("sum-process-died", round=round_digest)
            self.close()
            self._pool = self._make_pool()
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:  # noqa: BLE001 - as above; the attempt stays summing and is tried again
            _log.exception("sum-failed", round=round_digest, retry_seconds=RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._sums.pop(round_digest, None)

    def close(self) -> None:
        """Let go of the pool; shards not yet begun are left for the next start."""
        self._pool.shutdown(wait=False, cancel_futures=True)
