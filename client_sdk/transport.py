"""Signed HTTP requests that are tried again until they go through or patience ends.

Rules:
1. Each try is signed anew: a fresh nonce and time, so that a retry is never a replay.
2. Connection errors and 429, 502, 503, 504 are tried again, after a pause that doubles, with jitter, and is at
   least what the answer's Retry-After asks for, up to `patience` seconds in all; every other answer is final. All
   routes are idempotent, so a lost answer is harmless.
3. A problem document becomes the error that it names; a clock-skew one says by how much this clock is off.
4. Answers are bounded: none may be longer than asked for, nested deeper than messages are, or compressed.
It knows no routes; `service` does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, Final

import httpx

from client_sdk.progress import Progress, Silent
from privacy.clock import Clock
from privacy.errors import ChoraleError, ClockSkew, MalformedMessage, ServiceUnavailable, TooLarge
from privacy.protocol.canonical import MAX_DEPTH, MAX_MESSAGE_BYTES, check_depth
from privacy.protocol.http_contract import (
    MESSAGE_TYPE,
    NONCE_BYTES,
    PROBLEM_TYPE,
    RequestClaims,
    request_text,
    retry_after,
)
from privacy.protocol.problems import error_of
from privacy.protocol.signing import SigningKey
from privacy.randomness import RandomSource

RETRIED_STATUSES: Final = (429, 502, 503, 504)
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 15.0
LONG_POLL_SECONDS: Final = 20
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
# What an answer to a list of messages may hold: a thousand partners' openings.
MAX_ANSWER_BYTES: Final = 64 << 20
MAX_ANSWER_DEPTH: Final = MAX_DEPTH + 4
"""Messages stand in lists in an object."""


@dataclass
class Traffic:
    """Bytes over HTTP so far: headers and bodies, both ways; `bulk_*` are shards alone."""

    up: int = 0
    down: int = 0
    bulk_up: int = 0
    bulk_down: int = 0

    def copy(self) -> Traffic:
        return Traffic(self.up, self.down, self.bulk_up, self.bulk_down)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: httpx.Headers
    content: bytes


@dataclass(frozen=True)
class Identity:
    """Who signs requests: a partner id and its key."""

    name: str
    key: SigningKey


class Transport:
    """One connection pool to one service.

    `identity` None: requests go unsigned (enrolment, /v1/about). Close it, or use it as a context.
    """

    def __init__(
        self,
        base_url: str,
        identity: Identity | None,
        clock: Clock,
        source: RandomSource,
        *,
        patience: float = 120.0,
        progress: Progress | None = None,
        handler: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        timeout = httpx.Timeout(READ_SECONDS + LONG_POLL_SECONDS, connect=CONNECT_SECONDS)
        # Proxies and credentials from the environment would change who is spoken to.
        self._client = httpx.Client(
            base_url=base_url,
            timeout=timeout,
            transport=handler,
            trust_env=False,
            # Ciphertext does not compress, and a bounded read must count the bytes that were sent.
            headers={"accept-encoding": "identity"},
        )
        self._base_url = base_url
        self._identity = identity
        self._clock = clock
        self._source = source
        self._patience = patience
        self._progress = progress or Silent()
        self._sleep = sleep
        self.traffic = Traffic()

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, query: Mapping[str, str | int] | None = None, limit: int = MAX_ANSWER_BYTES) -> bytes:
        return self.request("GET", path, b"", None, query, limit)

    def get_json(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The answer's JSON object. Raises MalformedMessage for anything else."""
        return json_object(self.get(path, query), path)

    def post(self, path: str, body: bytes, content_type: str = MESSAGE_TYPE) -> bytes:
        return self.request("POST", path, body, content_type, None, MAX_ANSWER_BYTES)

    def put_shard(self, path: str, shard: bytes) -> None:
        self.request("PUT", path, shard, "application/octet-stream", None, MAX_MESSAGE_BYTES)
        self.traffic.bulk_up += len(shard)

    def get_shard(self, path: str, limit: int) -> bytes:
        shard = self.get(path, None, limit)
        self.traffic.bulk_down += len(shard)
        return shard

    def request(
        self,
        method: str,
        path: str,
        body: bytes,
        content_type: str | None,
        query: Mapping[str, str | int] | None,
        limit: int,
    ) -> bytes:
        """The body of a 2xx answer, at most `limit` bytes. Raises the error that the service's problem names."""
        give_up = self._clock.now() + self._patience
        pause = FIRST_PAUSE
        while True:
            asked = 0.0
            try:
                answer = self._once(method, path, body, content_type, query, limit)
                if answer.status < 300:
                    return answer.content
                failure = self._error(answer)
                if answer.status not in RETRIED_STATUSES:
                    raise failure
                asked = retry_after(answer.headers)
            except httpx.TransportError as error:
                failure = ServiceUnavailable(
                    f"an answer from {self._base_url}",
                    f"{type(error).__name__}: {error}",
                    "check the address and the network; nothing was lost, running again goes on",
                )
            wait = max(asked, min(pause, LONGEST_PAUSE) * (0.5 + self._source.bytes(1)[0] / 255))
            if self._clock.now() + wait > give_up:
                raise failure
            why = "the service asks to wait" if asked else "the service does not answer"
            self._progress.notice(f"{why}, trying again in {wait:.1f} s")
            self._sleep(wait)
            pause *= 2

    def _once(
        self,
        method: str,
        path: str,
        body: bytes,
        content_type: str | None,
        query: Mapping[str, str | int] | None,
        limit: int,
    ) -> _Answer:
        headers = {} if content_type is None else {"content-type": content_type}
        request = self._client.build_request(method, path, params=query, content=body or None, headers=headers)
        if self._identity is not None:
            request.headers.update(self._sign(self._identity, request, body))
        self.traffic.up += len(body) + _header_bytes(request.headers)
        answer = self._client.send(request, stream=True)
        try:
            _require_plain(answer.headers, path)
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > limit:
                    raise TooLarge(
                        f"an answer of at most {limit} bytes from {path}",
                        "a longer one",
                        "check that server.url is the consortium's service",
                    )
            self.traffic.down += len(content) + _header_bytes(answer.headers)
        finally:
            answer.close()
        return _Answer(answer.status_code, answer.headers, bytes(content))

    def _sign(self, identity: Identity, request: httpx.Request, body: bytes) -> dict[str, str]:
        now = int(self._clock.now())
        nonce = self._source.bytes(NONCE_BYTES).hex()
        body_digest = sha256(body).hexdigest()
        target = request.url.raw_path.decode("ascii")
        text = request_text(request.method, target, identity.name, now, nonce, body_digest)
        signature = identity.key.sign_request(text)
        return RequestClaims(identity.name, now, nonce, body_digest, signature).headers()

    def _error(self, answer: _Answer) -> ChoraleError:
        problem = None
        if answer.headers.get("content-type", "").startswith(PROBLEM_TYPE):
            try:
                problem = json.loads(answer.content)
            except (ValueError, RecursionError):
                problem = None
        error = error_of(problem if isinstance(problem, dict) else None, answer.status)
        if isinstance(error, ClockSkew):
            return self._skew(answer, error)
        return error

    def _skew(self, answer: _Answer, error: ClockSkew) -> ClockSkew:
        try:
            server = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return error
        off = self._clock.now() - server
        direction = "ahead of" if off > 0 else "behind"
        return ClockSkew(
            error.expected,
            f"a clock {abs(off):.0f} seconds {direction} the service's",
            "set this machine's clock (NTP), then run again",
        )


def json_object(raw: bytes, path: str) -> dict[str, Any]:
    """The JSON object that `path` answered. Raises MalformedMessage for anything else."""
    try:
        check_depth(raw, MAX_ANSWER_DEPTH)
        document = json.loads(raw)
    except (ValueError, MalformedMessage):
        document = None
    if not isinstance(document, dict):
        raise MalformedMessage(
            f"a JSON object from {path}", "something else", "check that server.url is a Chorale service"
        )
    return document


def _require_plain(headers: httpx.Headers, path: str) -> None:
    """A compressed answer was not asked for, and a few kilobytes of it can unpack to gigabytes at once."""
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise MalformedMessage(
            f"an answer from {path} as it is",
            f"one encoded as {encoding[:40]}",
            "check that server.url is a Chorale service, and that nothing on the way compresses",
        )


def _header_bytes(headers: httpx.Headers) -> int:
    """As HTTP/1.1 writes them: name, colon, space, value, line end."""
    return sum(len(name) + len(value) + 4 for name, value in headers.raw)
