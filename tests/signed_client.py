"""A client that signs every request, and can sign false ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import httpx

from privacy.clock import Clock
from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import FRAME_TYPE, MESSAGE_TYPE, RequestClaims, frame, request_text
from privacy.protocol.messages import Signed
from privacy.protocol.signing import SigningKey
from privacy.randomness import RandomSource


class SignedClient:
    """Signs each request of one identity; wraps anything with httpx's `request`, as TestClient and httpx.Client."""

    def __init__(
        self, http: httpx.Client, identity: str, key: SigningKey, clock: Clock, source: RandomSource
    ) -> None:
        self.http = http
        self.identity = identity
        self._key = key
        self._clock = clock
        self._source = source

    def headers(self, method: str, target: str, body: bytes, **other: Any) -> dict[str, str]:
        """Signed headers; `time`, `nonce`, `digest`, `identity` may be given to make false ones."""
        time = other.get("time", int(self._clock.now()))
        nonce = other.get("nonce", self._source.bytes(16).hex())
        digest = other.get("digest", hashlib.sha256(body).hexdigest())
        identity = other.get("identity", self.identity)
        text = request_text(method, target, identity, time, nonce, digest)
        return RequestClaims(identity, time, nonce, digest, self._key.sign_request(text)).headers()

    def send(
        self, method: str, target: str, body: bytes = b"", kind: str = MESSAGE_TYPE, **other: Any
    ) -> httpx.Response:
        headers = self.headers(method, target, body, **other)
        if body:
            headers["content-type"] = kind
        return self.http.request(method, target, content=body, headers=headers)

    def get(self, target: str) -> httpx.Response:
        return self.send("GET", target)

    def post(self, target: str, message: Signed[Any] | Mapping[str, Any] | None = None) -> httpx.Response:
        body = b""
        if isinstance(message, Signed):
            body = message.canonical_bytes
        elif message is not None:
            body = canonical(dict(message))
        return self.send("POST", target, body)

    def post_frame(self, target: str, message: Signed[Any], attachment: bytes) -> httpx.Response:
        return self.send("POST", target, frame(message.canonical_bytes, attachment), FRAME_TYPE)

    def put(self, target: str, body: bytes) -> httpx.Response:
        return self.send("PUT", target, body, "application/octet-stream")
