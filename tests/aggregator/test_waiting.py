"""What long polls cost while there is nothing new, and that they hear of what is."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.orm import Session

from aggregator.api import waiting
from aggregator.api.authentication import Caller
from aggregator.api.waiting import until_news
from tests.aggregator.conftest import Running

MANY = 100


@pytest.mark.parametrize("published", [False, True])
def test_many_who_wait_read_seldom_and_hear_at_once(
    running: Running, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """Each by itself would read a hundred times in its second."""
    monkeypatch.setattr(waiting, "RECHECK_SECONDS", 0.01)
    reads, news = 0, False

    def read(session: Session) -> tuple[bool, bool]:
        nonlocal reads
        del session
        reads += 1
        return news, news

    async def all_of_them() -> list[bool]:
        nonlocal news
        running.service.notifier.attach(asyncio.get_running_loop())
        seconds = 600.0 if published else 1.0
        polls = [
            asyncio.create_task(until_news(running.service, Caller(f"n{place}", ""), "a topic", seconds, read))
            for place in range(MANY)
        ]
        await asyncio.sleep(0.5)
        if published:
            news = True
            running.service.notifier.publish("a topic")
        return await asyncio.gather(*polls)

    assert asyncio.run(all_of_them()) == [published] * MANY
    assert reads < 8 * MANY
    assert running.service.notifier.waiting <= 1  # the lifecycle's own
