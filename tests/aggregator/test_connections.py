"""What a connection may cost before anyone is known behind it, and how a body that stalls ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from aggregator import arrival, connections
from aggregator.api import problems
from aggregator.connections import MAX_HEAD_BYTES, BoundedHttp
from privacy.errors import NotFound, TooManyRequests
from tests.aggregator.conftest import Running
from tests.consortium import refused

_QUICK = 0.3
MOST = 6
LARGE = 64 << 20


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A small application behind the protocol, with short times."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", _QUICK)
    monkeypatch.setattr(connections, "STALL_SECONDS", _QUICK)
    monkeypatch.setattr(arrival, "STALL_SECONDS", _QUICK)
    monkeypatch.setattr(arrival, "GRACE_SECONDS", 2 * _QUICK)
    app = FastAPI()
    problems.install(app)

    @app.post("/")
    async def take(request: Request) -> int:
        return len(await arrival.read_body(request, 1 << 20))

    @app.get("/large")
    async def give() -> Response:
        return Response(bytes(LARGE))

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, http=BoundedHttp, ws="none", log_config=None, limit_concurrency=MOST + 1)
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def _speak(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back until the service closes, or falls silent for three seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        came = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while piece := connection.recv(65536):
                came += piece
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        return came


_HEAD = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


def test_a_request_in_any_pieces_is_served(port: int) -> None:
    whole = _HEAD + b"content-length: 100000\r\n\r\n" + bytes(100_000)
    for cut in (1, len(_HEAD), len(_HEAD) + 30):
        assert _speak(port, whole[:cut], whole[cut:], pause=0.02).endswith(b"100000")


def test_two_requests_on_one_connection(port: int) -> None:
    first = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    answer = _speak(port, first, _HEAD + b"content-length: 2\r\n\r\nab", pause=2 * _QUICK)
    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    "head",
    [
        b"a: " + bytes(b"a" * MAX_HEAD_BYTES) + b"\r\n\r\n",
        b"a: b\r\n" * (MAX_HEAD_BYTES // 4) + b"\r\n",
        b"a: " + bytes(b"a" * (4 << 20)),
    ],
)
def test_a_long_head_is_refused(port: int, head: bytes) -> None:
    pieces = [head[start : start + 16384] for start in range(0, len(head), 16384)]
    answer = _speak(port, _HEAD, *pieces)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert b" 200 " not in answer


_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"


def test_a_body_in_chunks_is_served(port: int) -> None:
    pieces = [b"%x\r\n%s\r\n" % (size, bytes(size)) for size in (1, 10, 1000, 65536) for _ in range(4)]
    assert _speak(port, _CHUNKED + b"".join(pieces) + b"0\r\n\r\n").endswith(b"266188")


@pytest.mark.parametrize(
    "start",
    [b"1\r\na\r\n0\r\n", b"1\r\na\r\n0\r\nt: ", b"1;", b'1;a="'],
    ids=["trailers", "one trailer", "an extension's name", "an extension's value"],
)
def test_what_stands_around_chunks_has_an_end(port: int, start: bytes) -> None:
    """The parser keeps each header, also one after the body, for as long as they come."""
    line = b"t: v\r\n" if start.endswith(b"0\r\n") else b"v" * 6
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        try:
            connection.sendall(_CHUNKED + start)
            while sent < 64 << 20:
                connection.sendall(line * 10_000)
                sent += 60_000
            came = connection.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            came = b""
    assert sent < 32 << 20
    assert came == b"" or came.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("start", [b"", b"POST / HTTP/1.1\r\nhost:", b"\r\n"])
def test_a_head_that_does_not_end_in_time(port: int, start: bytes) -> None:
    begun = time.monotonic()
    assert _speak(port, start).startswith(b"HTTP/1.1 400")
    assert time.monotonic() - begun < 2.5


def test_a_body_that_stalls(port: int) -> None:
    answer = _speak(port, _HEAD + b"content-length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"next bytes" in answer


def test_a_body_that_comes_byte_by_byte_has_an_end(port: int) -> None:
    """Each byte comes in time for the next one; the body as a whole does not."""
    with socket.create_connection(("127.0.0.1", port), timeout=_QUICK / 3) as connection:
        connection.sendall(_HEAD + b"content-length: 100\r\n\r\n")
        answer = b""
        for _ in range(90):
            connection.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in answer


def test_an_answer_that_nobody_takes_is_let_go_of(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(4 * _QUICK)
        came = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                came += len(piece)
        assert came < LARGE


def test_the_longest_without_a_request_gives_its_place_to_one_more(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 30.0)
    with contextlib.ExitStack() as held:
        quiet = [held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(MOST)]
        for _ in range(3):
            assert _speak(port, _HEAD + b"content-length: 1\r\n\r\na").endswith(b"1")
        with contextlib.suppress(ConnectionResetError):
            assert quiet[0].recv(1) == b""


def test_where_all_have_a_request_one_more_is_told_so(port: int) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(MOST):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            connection.sendall(_HEAD + b"content-length: 9\r\n\r\na")
        time.sleep(_QUICK / 3)
        answer = _speak(port, _HEAD + b"content-length: 1\r\n\r\na")
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"a connection that is free" in answer


def test_bodies_of_one_identity_are_counted_and_done_with(running: Running) -> None:
    bodies = running.service.bodies
    most = running.settings.bodies_at_once
    with contextlib.ExitStack() as held:
        for _ in range(most):
            held.enter_context(bodies.of("partner-01"))
        with pytest.raises(TooManyRequests, match="from partner-01"), bodies.of("partner-01"):
            pass
        with bodies.of("partner-02"), bodies.of(""):
            pass
    with pytest.raises(NotFound), bodies.of("partner-01"):
        raise NotFound("this", "nothing", "whatever a request raises, it is over")
    with contextlib.ExitStack() as held:
        for _ in range(most):
            held.enter_context(bodies.of("partner-01"))


def test_an_enrolment_is_bounded_before_anyone_is_known(running: Running) -> None:
    refused(running.http.post("/v1/enrolments", content=b" " * (1 << 17)), 413, "too-large")
