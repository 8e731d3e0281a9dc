"""What a connection may cost before anyone is known behind it: bounds that the HTTP parser itself does not have.

Rules:
1. A request's line and headers have at most MAX_HEAD_BYTES together; more is answered 400, and the connection ends.
2. They must be whole HEAD_SECONDS after the connection, or the request, has begun.
3. A request that a stop cuts off is answered 503, which clients take as "send it again", not 500.
4. The address is taken before the service starts: one that is in use is said so, and nothing was touched.
Bodies are bounded where they are read (api/authentication.py, api/bulk.py).
"""

from __future__ import annotations

import asyncio
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


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with rules 1 and 2."""

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()
        # The parser holds a header until it is whole: what went in is counted, not what came out. The first piece
        # of a head is not, nor the last; either may hold a body too, and a piece is at most 256 KiB.
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"A request's line and headers have at most {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            # Raised in the parser's callback, it is answered 400 as whatever the parser refuses.
            raise ValueError(f"{size} bytes of headers")
        super().on_headers_complete()

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
    """Rule 3: the server cancels a request only when its time to end in peace is over."""

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
