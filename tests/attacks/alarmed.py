"""A service with an alarm to tell, and its sending to one address."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aggregator.rounds.webhooks import Webhooks
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.service import Service
from tests.aggregator.conftest import Running


@pytest.fixture
def alarmed(running: Running) -> Service:
    with running.service.database.write() as session:
        detail = {"plan": "ab" * 32, "round": 3, "attempt": 1, "check": 6, "reason": "box"}
        raise_alarm(session, "opening_refused", "aster", detail, running.service.now())
    return running.service


def sending(service: Service, url: str, *names_inside: str) -> Webhooks:
    changes = {"alarm_webhooks": (url,), "names_inside": names_inside}
    return Webhooks(replace(service, settings=service.settings.model_copy(update=changes)))
