"""A service that lies: the real one, behind what changes its answers for whom it likes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import IDENTITY_HEADER


@dataclass(frozen=True)
class Asked:
    """A request, as far as a lie needs to know it."""

    identity: str
    path: str
    query: Mapping[str, list[str]]


_JSON = [(b"content-type", b"application/json")]
Lie = Callable[[Asked, bytes], bytes]


@dataclass
class Told:
    path: re.Pattern[str]
    to: frozenset[str]
    lie: Lie


@dataclass
class LyingServer:
    """ASGI before the real service: an answer of status 200 to whom a lie is told passes through that lie."""

    app: Any = None
    lies: list[Told] = field(default_factory=list)
    inventions: list[tuple[re.Pattern[str], frozenset[str], bytes]] = field(default_factory=list)
    swallowed: list[tuple[re.Pattern[str], frozenset[str]]] = field(default_factory=list)

    def before(self, app: Any) -> LyingServer:
        self.app = app
        return self

    def tell(self, path: str, lie: Lie, to: Sequence[str]) -> None:
        """From now on, answers to GET of `path` (a whole-match expression) pass through `lie` for `to`."""
        self.lies.append(Told(re.compile(path), frozenset(to), lie))

    def swallow(self, path: str, of: Sequence[str]) -> None:
        """From now on, what these post to `path` is said to be taken, and is not."""
        self.swallowed.append((re.compile(path), frozenset(of)))

    def answer_instead(self, path: str, body: bytes, to: Sequence[str]) -> None:
        """From now on, GET of `path` gives `to` this, and the real service is not asked."""
        self.inventions.append((re.compile(path), frozenset(to), body))

    def be_honest(self) -> None:
        self.lies.clear()
        self.inventions.clear()
        self.swallowed.clear()

    def tell_json(self, path: str, lie: Callable[[dict[str, Any]], None], to: Sequence[str]) -> None:
        def changed(_: Asked, raw: bytes) -> bytes:
            document = json.loads(raw)
            lie(document)
            return canonical(document)

        self.tell(path, changed, to)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        identity = headers.get(IDENTITY_HEADER, "")
        if scope["method"] == "POST" and any(
            identity in names and path.fullmatch(scope["path"]) for path, names in self.swallowed
        ):
            more = True
            while more:
                more = (await receive()).get("more_body", False)
            await send({"type": "http.response.start", "status": 201, "headers": _JSON})
            await send({"type": "http.response.body", "body": b'{"taken":true}'})
            return
        if scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        for path, names, invented in self.inventions:
            if identity in names and path.fullmatch(scope["path"]):
                await send({"type": "http.response.start", "status": 200, "headers": _JSON})
                await send({"type": "http.response.body", "body": invented})
                return
        start: dict[str, Any] = {}
        body = bytearray()

        async def kept(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self.app(scope, receive, kept)
        asked = Asked(identity, scope["path"], parse_qs(scope["query_string"].decode()))
        content = bytes(body)
        told = [lie for lie in self.lies if identity in lie.to and lie.path.fullmatch(asked.path)]
        if start["status"] == 200:
            for each in told:
                content = await asyncio.to_thread(each.lie, asked, content)
        others = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await send({**start, "headers": [*others, (b"content-length", str(len(content)).encode())]})
        await send({"type": "http.response.body", "body": content})
