"""What both sides must agree on about the HTTP around the messages: request signatures and frames.

Rules:
1. A request is signed with Ed25519 over method, target, time, nonce and the SHA-256 of its body. The service
   refuses a timestamp more than MAX_SKEW_SECONDS off and a nonce seen within twice that time.
2. A bulk request names its body's digest in a header, so that it is authentic before its first byte is read and
   checked as it streams.
3. A frame is a message with raw bytes behind it: u32 little-endian length, canonical JSON, attachment.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from privacy.errors import MalformedMessage, NotAuthenticated
from privacy.protocol.canonical import MAX_MESSAGE_BYTES

IDENTITY_HEADER = "chorale-identity"
TIME_HEADER = "chorale-time"
NONCE_HEADER = "chorale-nonce"
DIGEST_HEADER = "chorale-digest"
SIGNATURE_HEADER = "chorale-signature"

MAX_SKEW_SECONDS = 300
MAX_SHARD_BYTES = 64 << 20
"""What a service may ask for and a partner takes: both hold one in memory."""
NONCE_BYTES = 16
FRAME_TYPE = "application/vnd.chorale.frame"
MESSAGE_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
PROBLEM_BASE = "urn:chorale:problem:"
RETRY_HEADER = "retry-after"
LONGEST_RETRY = 3600
"""Seconds: no answer makes a client wait longer."""


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks to wait before the next try (RFC 9110, 10.2.3); 0 where it asks for none."""
    asked = headers.get(RETRY_HEADER, "")
    if not (asked.isascii() and asked.isdecimal()):
        return 0.0
    return float(min(int(asked[:9]), LONGEST_RETRY))


@dataclass(frozen=True)
class RequestClaims:
    """What a signed request's headers say."""

    identity: str
    time: int
    nonce: str
    body_digest: str
    signature: str

    def headers(self) -> dict[str, str]:
        return {
            IDENTITY_HEADER: self.identity,
            TIME_HEADER: str(self.time),
            NONCE_HEADER: self.nonce,
            DIGEST_HEADER: self.body_digest,
            SIGNATURE_HEADER: self.signature,
        }

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> RequestClaims:
        values = {}
        for name in (IDENTITY_HEADER, TIME_HEADER, NONCE_HEADER, DIGEST_HEADER, SIGNATURE_HEADER):
            value = headers.get(name)
            if value is None or len(value) > 200 or not value.isascii():
                raise NotAuthenticated(f"a signed request with header {name}", "none", "sign the request")
            values[name] = value
        time = values[TIME_HEADER]
        if not time.isdecimal() or len(time) > 12:
            raise NotAuthenticated("whole seconds since 1970 in chorale-time", "something else", "sign again")
        return cls(
            values[IDENTITY_HEADER],
            int(time),
            values[NONCE_HEADER],
            values[DIGEST_HEADER],
            values[SIGNATURE_HEADER],
        )


def request_text(method: str, target: str, identity: str, time: int, nonce: str, body_digest: str) -> bytes:
    """The bytes that are signed; `target` is path and query exactly as sent."""
    return "\n".join(
        ("chorale/1 request", method.upper(), target, identity, str(time), nonce, body_digest)
    ).encode()


def frame(message: bytes, attachment: bytes) -> bytes:
    return struct.pack("<I", len(message)) + message + attachment


def split_frame(raw: bytes) -> tuple[bytes, bytes]:
    """(message, attachment)."""
    if len(raw) < 4:
        raise MalformedMessage("a frame of at least 4 bytes", f"{len(raw)}", "send length, message, attachment")
    (length,) = struct.unpack_from("<I", raw)
    if length > MAX_MESSAGE_BYTES or 4 + length > len(raw):
        raise MalformedMessage(
            f"a message length of at most {min(MAX_MESSAGE_BYTES, len(raw) - 4)}",
            str(length),
            "send the whole frame",
        )
    return raw[4 : 4 + length], raw[4 + length :]
