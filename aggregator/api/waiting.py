"""Long polling: an answer as soon as there is news, or unchanged when the time is up (docs/http.md).

When the service stops, the answer is given unchanged at once: who asks again meets the next start.
Those of one caller are counted while they are under way (storage/under_way.py); what does not wait is not.
Reads happen in worker threads; while a caller waits it holds no thread and no database connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, TypeVar

from fastapi import Query
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from aggregator.api.authentication import Caller
from aggregator.storage.notifier import RECHECK_SECONDS, RECHECKS_A_SECOND
from aggregator.storage.service import Service

Answer = TypeVar("Answer")
Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for something newer.")]


async def until_news(
    service: Service,
    caller: Caller,
    topic: str,
    seconds: float,
    read: Callable[[Session], tuple[Answer, bool]],
) -> Answer:
    """`read` gives the answer and whether it is news; the last answer is given when the time is up.

    Raises TooManyRequests.
    """
    with service.polls.of(caller.identity) if seconds > 0 else nullcontext():
        return await _until_news(service, topic, seconds, read)


async def _until_news(
    service: Service, topic: str, seconds: float, read: Callable[[Session], tuple[Answer, bool]]
) -> Answer:
    def once() -> tuple[Answer, bool]:
        with service.database.read() as session:
            return read(session)

    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        ticket = service.notifier.ticket(topic)
        answer, news = await run_in_threadpool(once)
        left = end - loop.time()
        if news or left <= 0 or service.notifier.stopping:
            return answer
        pause = max(RECHECK_SECONDS, service.notifier.waiting / RECHECKS_A_SECOND)
        await service.notifier.wait(topic, ticket, min(left, pause))
