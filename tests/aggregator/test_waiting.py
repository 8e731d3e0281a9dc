"""What long polls cost while there is nothing new, that they hear of what is, and of nothing else."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from aggregator.api import waiting
from aggregator.api.authentication import Caller
from aggregator.api.waiting import until_news
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import done

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


def test_a_join_is_news_by_version_and_the_cohort_by_state(
    driver: RoundDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only news may answer: nobody reads again by the clock.
    monkeypatch.setattr(waiting, "RECHECK_SECONDS", 60.0)
    client = driver.client(OPERATOR)
    before = driver.document()
    by_version = f"{driver.base}?seen={before['version']}&wait=20"
    by_state = f"{driver.base}?seen={before['version']}&state=joining&wait=20"
    with ThreadPoolExecutor(2) as waiters:
        version, state = (waiters.submit(client.get, target) for target in (by_version, by_state))
        done(driver.join(driver.names[0]), 201)
        assert done(version.result())["joined"] == [driver.names[0]]
        assert not state.done()
        for name in driver.names[1:]:
            done(driver.join(name), 201)
        shown = done(state.result())
    assert shown["state"] != "joining"
    assert shown["cohort"] is not None


def test_another_state_than_the_present_one_answers_at_once(driver: RoundDriver) -> None:
    shown = done(driver.client(OPERATOR).get(f"{driver.base}?state=uploading&wait=60"))
    assert shown["state"] == "joining"


def test_a_state_that_is_none_is_refused(driver: RoundDriver) -> None:
    refused = driver.client(OPERATOR).get(f"{driver.base}?state=asleep&wait=1")
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:chorale:problem:malformed-message"
