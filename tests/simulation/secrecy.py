"""P2 as a machine's requests show it: which secret stands in what leaves, in any part and in usual writings.

Rules:
1. A request is its line, its headers and its body: what stands in one of them can be read by whoever has the wire.
2. A secret is looked for as bytes, in hexadecimal, in both alphabets of base64, and as bytes behind per cent signs.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from client_sdk.partner import Partner
from tests.simulation.actors import values_of
from tests.simulation.network import Headers

TAIL = 48
"""Bytes of a secret that are looked for: none of so many occurs by chance."""


def secrets_of(partner: Partner, memory: Path) -> list[bytes]:
    """The first bytes of each secret of this machine: its keys, what lies on its memory disk, its vectors."""
    keys = partner.keys
    secrets = [keys.device_secret[:TAIL], keys.signing.private_bytes()[:TAIL], keys.result.private_bytes[:TAIL]]
    for path in memory.rglob("*"):
        if path.is_file():
            secrets.append(path.read_bytes()[:TAIL])
    for record in partner.journal.records(unfinished=True):
        secrets.append(values_of(partner.name, record.plan, TAIL // 4).tobytes())
    return secrets


def leak(secrets: Iterable[bytes], target: str, headers: Headers, body: bytes) -> str | None:
    """The part in which one of `secrets` stands, if any. Each is of TAIL bytes."""
    line = target.encode("ascii")
    parts = {"the request line": line + b"\n" + unquote_to_bytes(line), "the body": body}
    for name, value in headers:
        parts[f"the header {name.decode('latin-1')}"] = value + b"\n" + unquote_to_bytes(value)
    for secret in secrets:
        for written in _writings(secret):
            for part, content in parts.items():
                if written in content:
                    return part
    return None


def _writings(secret: bytes) -> Iterable[bytes]:
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):
        # Base64 writes three bytes as four characters: those at either end depend on what stands beside the secret.
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(before) + secret)[4 * (before > 0) : -4]
