"""Who sent this request: the five chorale-* headers, checked before a byte of the body is read (docs/http.md).

Rules, in this order:
1. The identity is enrolled, or is the operator; the time is within MAX_SKEW_SECONDS of ours; the Ed25519 signature
   is over method, target as sent, identity, time, nonce and the body's digest.
2. The nonce is new: it is written down, and refused for as long as its request would pass for fresh. A GET's too:
   who sees a request, but not its answer, must not get the answer by sending it again.
3. The body's digest is that of the header: small bodies are read whole, bulk is hashed as it streams (`bulk`).
4. What is authentic is counted for its identity, what is not for its address (storage/rates.py). A name that was
   never met is looked for only while its address may still ask.
5. Requests with a body are counted while they are under way (storage/under_way.py), before a byte of it is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from aggregator.arrival import read_body
from aggregator.rounds.enrolment import is_known, keys_of
from aggregator.storage.rates import Kind
from aggregator.storage.service import Service
from aggregator.storage.sign_in_limits import network
from privacy.errors import (
    BadSignature,
    ClockSkew,
    DigestMismatch,
    NotAllowed,
    NotAuthenticated,
)
from privacy.protocol.http_contract import MAX_SKEW_SECONDS, NONCE_BYTES, RequestClaims, request_text
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.signing import verify_request

_NONCE = re.compile(f"[0-9a-f]{{{2 * NONCE_BYTES}}}")
_DIGEST = re.compile("[0-9a-f]{64}")


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


@dataclass(frozen=True)
class Caller:
    """An authentic request: by whom, and over which body."""

    identity: str
    body_digest: str

    @property
    def is_operator(self) -> bool:
        return self.identity == OPERATOR


@dataclass(frozen=True)
class SignedBody:
    """An authentic request with its whole body."""

    caller: Caller
    raw: bytes


def address_of(request: Request) -> str:
    """Under which a request is counted that is nobody's."""
    return network(request.client.host if request.client else "")


async def stranger(request: Request, service: TheService) -> None:
    """For routes that ask for no signature: counted by address. Raises TooManyRequests."""
    service.rates.take("address", address_of(request), service.clock.now())


Stranger = Depends(stranger)


async def authenticate(request: Request, service: TheService) -> Caller:
    """Rules 1, 2 and 4."""
    try:
        claims = RequestClaims.read(request.headers)
        if not _NONCE.fullmatch(claims.nonce) or not _DIGEST.fullmatch(claims.body_digest):
            raise NotAuthenticated(
                f"a nonce of {NONCE_BYTES} bytes and a SHA-256, in lowercase hex",
                "something else",
                "sign the request",
            )
        if not is_known(service, claims.identity):
            service.rates.require("address", address_of(request), service.clock.now())
        await run_in_threadpool(_check, service, claims, request.method, _target(request))
    except (NotAuthenticated, BadSignature, NotAllowed):
        await stranger(request, service)
        raise
    kind: Kind = "operator" if claims.identity == OPERATOR else "partner"
    service.rates.take(kind, claims.identity, service.clock.now())
    return Caller(claims.identity, claims.body_digest)


Authentic = Annotated[Caller, Depends(authenticate)]


async def operator_only(caller: Authentic) -> Caller:
    if not caller.is_operator:
        raise NotAllowed("the operator", caller.identity, "have the operator do this")
    return caller


async def partner_only(caller: Authentic) -> Caller:
    if caller.is_operator:
        raise NotAllowed("a partner", "the operator", "have a partner do this")
    return caller


Operator = Annotated[Caller, Depends(operator_only)]
Partner = Annotated[Caller, Depends(partner_only)]


async def authentic_body(request: Request, caller: Caller, limit: int) -> bytes:
    """Rule 3 for a body that is read whole."""
    raw = await read_body(request, limit)
    came = hashlib.sha256(raw).hexdigest()
    if came != caller.body_digest:
        raise DigestMismatch(f"a body of digest {caller.body_digest}", came, "send the body that was signed")
    return raw


async def operator_sends(caller: Operator, service: TheService) -> AsyncIterator[Caller]:
    with service.bodies.of(caller.identity):
        yield caller


async def partner_sends(caller: Partner, service: TheService) -> AsyncIterator[Caller]:
    with service.bodies.of(caller.identity):
        yield caller


OperatorSending = Annotated[Caller, Depends(operator_sends)]
PartnerSending = Annotated[Caller, Depends(partner_sends)]
"""Rule 5: for routes that take a body."""


async def operator_body(request: Request, caller: OperatorSending, service: TheService) -> SignedBody:
    return SignedBody(caller, await authentic_body(request, caller, service.settings.message_bytes))


async def partner_body(request: Request, caller: PartnerSending, service: TheService) -> SignedBody:
    return SignedBody(caller, await authentic_body(request, caller, service.settings.message_bytes))


OperatorBody = Annotated[SignedBody, Depends(operator_body)]
PartnerBody = Annotated[SignedBody, Depends(partner_body)]


def _target(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("latin-1")


def _check(service: Service, claims: RequestClaims, method: str, target: str) -> None:
    found = keys_of(service, claims.identity)
    if found is None:
        raise NotAuthenticated("an enrolled partner, or the operator", "a stranger", "enrol with an invitation")
    text = request_text(method, target, claims.identity, claims.time, claims.nonce, claims.body_digest)
    keys, approved = found
    verify_request(text, claims.signature, keys)
    if not approved and target.partition("?")[0] != f"/v1/enrolments/{claims.identity}":
        raise NotAllowed("an enrolment that the operator approved", "one that is pending", "wait for the approval")
    now = service.clock.now()
    if abs(now - claims.time) > MAX_SKEW_SECONDS:
        raise ClockSkew(
            f"a request signed within {MAX_SKEW_SECONDS} s of the service's clock, {int(now)}",
            str(claims.time),
            "set this machine's clock",
        )
    service.nonces.take(claims.identity, claims.nonce, claims.time, now)
