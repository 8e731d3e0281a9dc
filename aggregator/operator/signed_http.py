"""HTTP requests signed with the operator's key, tried again where that is safe.

Rules:
1. Each try is signed anew, with its own time and nonce: a retry is never a replay.
2. A connection that could not be made, and 429, 502, 503 and 504, are tried again after a pause that doubles, with
   jitter, and is at least what Retry-After asks for, until `patience` seconds have passed. What may have been done
   already is tried again only where the request is idempotent: a lost answer to an invitation must not make a
   second one unseen.
3. A problem document becomes the error that it names. Answers are bounded in size.
It knows no routes; client.py does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256

import httpx

from privacy.clock import Clock
from privacy.errors import ChoraleError, MalformedMessage, ServiceUnavailable, TooLarge
from privacy.protocol.http_contract import (
    MESSAGE_TYPE,
    NONCE_BYTES,
    PROBLEM_TYPE,
    RequestClaims,
    request_text,
    retry_after,
)
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.problems import error_of
from privacy.protocol.signing import SigningKey
from privacy.randomness import RandomSource

NOT_TAKEN = (429, 503)
RETRIED_STATUSES = (*NOT_TAKEN, 502, 504)
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
CONNECT_SECONDS = 10.0
# The longest wait of a long poll, and time to answer.
READ_SECONDS = 90.0
MAX_ANSWER_BYTES = 64 << 20

Query = Mapping[str, str | int]


class SignedHttp:
    """One connection pool to one service. patience: seconds of retries before an error is raised."""

    def __init__(
        self,
        url: str,
        key: SigningKey,
        clock: Clock,
        source: RandomSource,
        sleep: Callable[[float], None],
        *,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._key = key
        self._clock = clock
        self._source = source
        self._sleep = sleep
        self._patience = patience
        # Proxies and credentials from the environment would change who is spoken to.
        self._client = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            headers={"accept-encoding": "identity"},
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        query: Query | None = None,
        idempotent: bool = True,
    ) -> bytes:
        """The body of a 2xx answer. Raises the error that the service's problem names, or ServiceUnavailable."""
        give_up = self._clock.now() + self._patience
        pause = FIRST_PAUSE
        while True:
            failure: ChoraleError
            asked = 0.0
            try:
                status, headers, content = self._once(method, path, body, query)
                if status < 300:
                    return content
                failure = _error(status, headers, content)
                if status not in (RETRIED_STATUSES if idempotent else NOT_TAKEN):
                    raise failure
                asked = retry_after(headers)
            except httpx.TransportError as error:
                failure = ServiceUnavailable(
                    f"an answer from {self.url}",
                    f"{type(error).__name__}: {error}",
                    "check that the service runs, and its address in operator.toml; running again goes on",
                )
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not (idempotent or never_sent):
                    raise failure from error
            wait = max(asked, min(pause, LONGEST_PAUSE) * (0.5 + self._source.bytes(1)[0] / 255))
            if self._clock.now() + wait > give_up:
                raise failure
            self._sleep(wait)
            pause *= 2

    def _once(self, method: str, path: str, body: bytes, query: Query | None) -> tuple[int, httpx.Headers, bytes]:
        request = self._client.build_request(
            method,
            path,
            params=query or None,
            content=body or None,
            headers={"content-type": MESSAGE_TYPE} if body else {},
        )
        now = int(self._clock.now())
        nonce = self._source.bytes(NONCE_BYTES).hex()
        body_digest = sha256(body).hexdigest()
        target = request.url.raw_path.decode("ascii")
        text = request_text(method, target, OPERATOR, now, nonce, body_digest)
        claims = RequestClaims(OPERATOR, now, nonce, body_digest, self._key.sign_request(text))
        request.headers.update(claims.headers())
        answer = self._client.send(request, stream=True)
        try:
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                # A few kilobytes of it can unpack to gigabytes at once.
                raise MalformedMessage(
                    f"an answer from {path} as it is",
                    "a compressed one, which was not asked for",
                    "check that the address in operator.toml is the service's",
                )
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise TooLarge(
                        f"an answer of at most {MAX_ANSWER_BYTES} bytes from {path}",
                        "a longer one",
                        "check that the address in operator.toml is the service's",
                    )
        finally:
            answer.close()
        return answer.status_code, answer.headers, bytes(content)


def _error(status: int, headers: httpx.Headers, content: bytes) -> ChoraleError:
    problem = None
    if headers.get("content-type", "").startswith(PROBLEM_TYPE):
        try:
            problem = json.loads(content)
        except (ValueError, RecursionError):
            problem = None
    return error_of(problem if isinstance(problem, dict) else None, status)
