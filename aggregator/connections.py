"""What a connection may cost before anyone is known behind it: bounds that the HTTP parser itself does not have.

Rules:
1. A request's line and headers have at most MAX_HEAD_BYTES together; more is answered 400, and the connection ends.
   So does what stands around a body in chunks, beside as much as the body itself; no header comes after a body.
2. They must be whole HEAD_SECONDS after the connection, or the request, has begun.
3. There are at most as many connections as descriptors allow, each with a file that its body goes to. One more
   takes the place of the one that has been without a request the longest; where all have one, it is answered 503.
   So who opens connections and sends nothing shuts nobody out.
4. What an answer is read from is let go of when its reader takes nothing for STALL_SECONDS.
5. A request that a stop cuts off is answered 503, which clients take as "send it again", not 500.
6. The address is taken before the service starts: one that is in use is said so, and nothing was touched.
Bodies are bounded where they are read (arrival.py).
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aggregator.api.problems import problem
from privacy.errors import ConfigurationError, ServiceUnavailable

# Connections that wait to be taken: as many as uvicorn asks for.
BACKLOG = 2048
# A thousand partners can be named in a query.
MAX_HEAD_BYTES = 96 << 10
HEAD_SECONDS = 30.0
STALL_SECONDS = 60.0
MOST_DESCRIPTORS = 1 << 16
# Database, nonces, sums, logs, reports.
RESERVED_DESCRIPTORS = 256


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to host and port (rule 4). Raises ConfigurationError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"an address to listen on: {host}, port {port}",
            str(error),
            "stop what uses it, or set `host` and `port` in chorale-server.toml",
        ) from None


def _refusal() -> bytes:
    answer = problem(ServiceUnavailable("a connection that is free", "none", "send it again later"))
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: {answer.media_type}\r\nconnection: close\r\n"
    return f"{head}content-length: {len(answer.body)}\r\n\r\n".encode() + bytes(answer.body)


_FULL = _refusal()


def most_connections() -> int:
    """How many connections the descriptors of this process are enough for; as many as it may have are asked for."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        allowed = wanted
    if allowed == resource.RLIM_INFINITY:
        allowed = MOST_DESCRIPTORS
    if allowed < 2 * RESERVED_DESCRIPTORS:
        raise ConfigurationError(
            f"at least {2 * RESERVED_DESCRIPTORS} open files for this process",
            f"{allowed}",
            "raise the limit (`ulimit -n`, LimitNOFILE=) and start again",
        )
    return (min(allowed, MOST_DESCRIPTORS) - RESERVED_DESCRIPTORS) // 2


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with rules 1 to 4. Its `limit_concurrency` is the number of rule 3, and one more."""

    _in_head = False
    _bytes = 0
    _body_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _quiet_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._quiet_since = self.loop.time()
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()
        if not transport.is_closing():
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()
        # The parser holds a header until it is whole: what went in is counted, not what came out. The first piece
        # of a message is not; it may be another's last, and a piece is at most 256 KiB.
        self._bytes += len(data)
        super().data_received(data)
        if self._bytes > MAX_HEAD_BYTES + 2 * self._body_bytes and not self.transport.is_closing():
            what = "line and headers" if self._in_head else "chunks, beside what they hold,"
            self.send_400_response(f"A request's {what} have at most {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._bytes = self._body_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            raise ValueError("a header after the body")
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            # Raised in the parser's callback, it is answered 400 as whatever the parser refuses.
            raise ValueError(f"{size} bytes of headers")
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._quiet_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    @property
    def _quiet(self) -> bool:
        """Without a request that is whole enough to be answered."""
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def _make_room(self) -> None:
        others = (one for one in self.connections if isinstance(one, BoundedHttp) and one is not self)
        oldest = min((one for one in others if one._quiet), key=lambda one: one._quiet_since, default=None)
        if oldest is not None:
            oldest.transport.abort()
        else:
            self.transport.write(_FULL)
            self.transport.close()
        # What is closing holds its place until the loop has closed it.
        self.connections.discard(oldest or self)

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.send_400_response(f"The request's headers must be here within {HEAD_SECONDS:.0f} s.")


class CutOff:
    """Rule 5: the server cancels a request only when its time to end in peace is over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            answer = problem(ServiceUnavailable("a service that goes on", "one that stops", "send it again"))
            await answer(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn's server, which says so before it waits for requests under way to end."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()
        await super().shutdown(sockets)
