"""Merkle roots over shards: one 32-byte commitment to bulk data that can be checked shard by shard.

Leaf = SHA-256(0x00 || SHA-256(shard)); node = SHA-256(0x01 || left || right) (RFC 6962, 2.1: leaves and nodes
are domain-separated, so no node passes for a leaf). A lone node at the end of a level moves up unchanged; that
is unambiguous only because the number of leaves is signed beside the root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from privacy.errors import DigestMismatch, MalformedMessage


def shard_digest(shard: bytes | memoryview) -> bytes:
    return hashlib.sha256(shard).digest()


def root(shard_digests: Sequence[bytes]) -> str:
    """The root, in hex, over at least one 32-byte shard digest."""
    if not shard_digests:
        raise MalformedMessage("at least one shard", "none", "send every shard of the vector")
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in shard_digests]
    while len(level) > 1:
        paired = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0].hex()


def check_root(shard_digests: Sequence[bytes], expected_root: str, expected_count: int) -> None:
    if len(shard_digests) != expected_count:
        raise DigestMismatch(f"{expected_count} shard digests", f"{len(shard_digests)}", "send one a shard")
    if root(shard_digests) != expected_root:
        raise DigestMismatch(
            f"shard digests under the root {expected_root}", "others", "send the digests that were signed for"
        )
