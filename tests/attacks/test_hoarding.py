"""Adversary: a partner that takes for itself what the service has for all: connections that wait. Those of each
partner are counted, apart from everyone else's, and beyond the count it is told so (docs/limits.md).
"""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from aggregator.storage.under_way import UnderWay
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import done, refused

AT_ONCE = 3


@pytest.fixture
def polled(running: Running, driver: RoundDriver) -> RoundDriver:
    """A round of which one partner may await news AT_ONCE times at once."""
    object.__setattr__(running.service, "polls", UnderWay("long polls", AT_ONCE))
    return driver


def test_one_partners_long_polls_are_counted_and_are_nobody_elses(running: Running, polled: RoundDriver) -> None:
    greedy, other = polled.names[:2]
    campaign = f"/v1/campaigns/{polled.campaign.digest}"
    waiting = [
        f"{polled.base}?seen={polled.document()['version']}&wait=60",
        f"{campaign}/rounds?after=9&wait=60",
        f"{campaign}/state-boxes/{'ab' * 32}?wait=60",
    ]
    ended: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda target=target: ended.append(polled.client(greedy).get(target)))
        for target in waiting
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 10
    while running.service.polls._counted[greedy] < AT_ONCE and time.monotonic() < until:
        time.sleep(0.01)
    for target in waiting:
        answer = polled.client(greedy).get(target)
        refused(answer, 429, "too-many-requests")
        assert answer.headers["retry-after"] == "5"
        assert "long polls at once from partner-01" in answer.json()["expected"]
    # What does not wait is answered, and so is everyone else.
    done(polled.client(greedy).get(polled.base))
    for identity in (other, OPERATOR):
        done(polled.client(identity).get(f"{polled.base}?wait=60"))
    assert ended == []
    polled.join_all()  # news of the round: the first of them ends
    threads[0].join(timeout=10)
    assert [answer.status_code for answer in ended] == [200]
    done(polled.client(greedy).get(f"{polled.base}?wait=60"))
    running.http.portal.call(running.service.notifier.stop)  # type: ignore[union-attr]
    for thread in threads:
        thread.join(timeout=10)
    assert [answer.status_code for answer in ended] == [200] * AT_ONCE
    assert not running.service.polls._counted[greedy]
