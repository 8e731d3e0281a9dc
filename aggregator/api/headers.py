"""What a browser, or a cache on the way, must not make of an answer: on every one, whoever gives it.

Rules:
1. Nothing is stored, framed, guessed at or run: answers of the API are for programs, pages bring a policy of their
   own.
2. What a route set itself stays.
3. Where people reach the service by HTTPS, browsers are told to come by nothing else for a year.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
HSTS: Final = "strict-transport-security"
A_YEAR: Final = "max-age=31536000"


class SecurityHeaders:
    """Rules 1 to 3, for what the application answers. Outermost, but for the handler of unforeseen errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        https = scope["app"].state.service.settings.reached_by_https(scope["scheme"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                add(MutableHeaders(scope=message), https=https)
            await send(message)

        await self._app(scope, receive, sending)


def add(headers: MutableHeaders, *, https: bool) -> None:
    """Rule 2."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if https:
        headers.setdefault(HSTS, A_YEAR)
