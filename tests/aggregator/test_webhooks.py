"""Alarms leave signed, once for each address that takes them, and wait for one that does not."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from pydantic import ValidationError

from aggregator.rounds.webhooks import GIVE_UP_SECONDS, Webhooks
from aggregator.settings import Settings
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.service import Service
from privacy.errors import BadSignature
from privacy.protocol.alarm_notice import AlarmNotice
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import parse_signed
from privacy.protocol.signing import verify
from tests.aggregator.conftest import Running

URL = "https://alarms.example/hook"


@pytest.fixture
def service(running: Running) -> Service:
    settings = running.settings.model_copy(update={"alarm_webhooks": (URL,)})
    with running.service.database.write() as session:
        detail = {"plan": "ab" * 32, "round": 3, "attempt": 1, "check": 6, "reason": "상자"}
        raise_alarm(session, "opening_refused", "aster", detail, running.service.now())
    return replace(running.service, settings=settings)


def test_a_notice_is_signed_and_sent_once(service: Service, running: Running) -> None:
    came: list[httpx.Request] = []

    def takes(request: httpx.Request) -> httpx.Response:
        came.append(request)
        return httpx.Response(204)

    hooks = Webhooks(service, httpx.MockTransport(takes))
    assert [hooks.turn(), hooks.turn()] == [1, 0]
    (request,) = came
    notice = verify(parse_signed(AlarmNotice, request.content), {SERVER: running.service.keys.server.public})
    assert (notice.kind, notice.grave, notice.detail["check"]) == ("opening_refused", True, 6)
    assert request.headers["idempotency-key"] == notice.alarm
    altered = request.content.replace(b'"check":6', b'"check":7')
    with pytest.raises(BadSignature):
        verify(parse_signed(AlarmNotice, altered), {SERVER: running.service.keys.server.public})


@pytest.mark.parametrize("answer", [500, 302, None])
def test_an_address_that_fails_is_tried_again_later_and_not_for_ever(
    service: Service, running: Running, answer: int | None
) -> None:
    tries: list[int] = []

    def fails(request: httpx.Request) -> httpx.Response:
        tries.append(1)
        if answer is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(answer, headers={"location": "http://127.0.0.1/elsewhere"})

    hooks = Webhooks(service, httpx.MockTransport(fails))
    for seconds, expected in ((0, 1), (1, 1), (5, 2), (5, 2), (10, 3), (GIVE_UP_SECONDS, 3)):
        running.consortium.clock.seconds += seconds
        assert hooks.turn() == 0
        assert len(tries) == expected
    assert Webhooks(running.service).turn() == 0  # no address, nothing to do


@pytest.mark.parametrize(
    "url", ["http://alarms.example/", "file:///etc/passwd", "https://", "http://127.0.0.1.example"]
)
def test_addresses_are_https_or_loopback(url: str, running: Running) -> None:
    with pytest.raises(ValidationError):
        Settings(folder=running.settings.folder, alarm_webhooks=(url,))
    assert Settings(folder=running.settings.folder, alarm_webhooks=("http://127.0.0.1:9/x", URL)).alarm_webhooks
