"""Requests: signed anew for each try, tried again while it helps, bounded, and errors said as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import Any

import httpx
import pytest

from client_sdk.transport import Identity, Transport
from privacy.errors import BudgetExhausted, ClockSkew, MalformedMessage, ServiceUnavailable, TooLarge
from privacy.protocol.http_contract import RequestClaims, request_text
from privacy.protocol.problems import problem_of
from privacy.protocol.signing import SigningKey, verify_request
from tests.consortium import ManualClock, SeededSource

KEY = SigningKey.generate(SeededSource("key"))
Answer = Callable[[httpx.Request], httpx.Response]


class Line:
    """A service that a test scripts, answer by answer; the last one goes on."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.clock = ManualClock()
        self.pauses: list[float] = []
        self.transport = Transport(
            "http://service.test",
            Identity("alder", KEY),
            self.clock,
            SeededSource("jitter"),
            patience=30.0,
            handler=httpx.MockTransport(self._answer),
            sleep=self._sleep,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request)

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.seconds += seconds


def ok(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"fine": True})


def status(code: int) -> Answer:
    return lambda request: httpx.Response(code)


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def problem(error: Exception, **headers: str) -> Answer:
    document = problem_of(error)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            document["status"],
            content=json.dumps(document),
            headers={"content-type": "application/problem+json", **headers},
        )

    return answer


def test_each_try_is_signed_over_what_is_sent_and_never_twice_alike() -> None:
    line = Line(broken, status(503), ok)
    assert line.transport.get_json("/v1/rounds", {"after": 3, "wait": 20}) == {"fine": True}
    assert len(line.requests) == 3
    nonces = set()
    for request in line.requests:
        claims = RequestClaims.read(request.headers)
        target = request.url.raw_path.decode()
        assert target == "/v1/rounds?after=3&wait=20"
        text = request_text("GET", target, "alder", claims.time, claims.nonce, sha256(b"").hexdigest())
        verify_request(text, claims.signature, KEY.public)
        nonces.add(claims.nonce)
    assert len(nonces) == 3


@pytest.mark.parametrize("failing", [broken, status(502), status(503), status(504)])
def test_pauses_grow_and_patience_ends(failing: Answer) -> None:
    line = Line(failing)
    with pytest.raises(ServiceUnavailable):
        line.transport.get("/v1/about")
    assert 5 < len(line.pauses) < 12
    assert sum(line.pauses) <= 30
    assert line.pauses[4] > line.pauses[0]


def test_what_the_service_refuses_is_raised_at_once() -> None:
    line = Line(problem(BudgetExhausted("room", "none", "wait for a new charter")))
    with pytest.raises(BudgetExhausted, match="wait for a new charter"):
        line.transport.post("/v1/rounds/x/joins", b"{}")
    assert len(line.requests) == 1


def test_a_wrong_clock_is_told_by_how_much() -> None:
    line = Line(ok)
    date = format_datetime(datetime.fromtimestamp(line.clock.seconds - 400, UTC), usegmt=True)
    line.answers = [problem(ClockSkew("a request of now", "another", "set the clock"), date=date)]
    with pytest.raises(ClockSkew, match="400 seconds ahead of the service's"):
        line.transport.get("/v1/about")


def test_an_endless_answer_is_cut() -> None:
    line = Line(lambda request: httpx.Response(200, content=b"x" * 1000))
    with pytest.raises(TooLarge, match="at most 999 bytes"):
        line.transport.get("/v1/about", None, 999)
    assert line.transport.get("/v1/about", None, 1000) == b"x" * 1000


@pytest.mark.parametrize("content", [b"<html>", b"[1, 2]", b"\xff\xfe"])
def test_an_answer_that_is_no_object_is_refused(content: bytes) -> None:
    line = Line(lambda request: httpx.Response(200, content=content))
    with pytest.raises(MalformedMessage, match=r"server\.url"):
        line.transport.get_json("/v1/about")


def test_bytes_are_counted_bulk_apart() -> None:
    line = Line(ok)
    line.transport.put_shard("/v1/shard", b"s" * 500)
    traffic: Any = line.transport.traffic
    assert traffic.bulk_up == 500
    assert traffic.up > 500
    assert traffic.bulk_down == 0
    assert traffic.down > 0
