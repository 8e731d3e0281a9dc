"""Bulk data on this partner's disk, a file a shard: its own ciphertext until the attempt is over, and opened sums.

Rules:
1. A shard stands whole or not at all; an upload's shards are durable before its manifest is signed.
2. What is downloaded is checked against its signed root shard by shard, before it is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from client_sdk.durable import make_folder, room_for, sync_folder, write_durably
from privacy.errors import DigestMismatch, MalformedMessage
from privacy.he.addition import check_words
from privacy.he.fingerprint import Fingerprint, FingerprintValue
from privacy.he.parameters import POLYNOMIAL_BYTES
from privacy.protocol.http_contract import MAX_SHARD_BYTES
from privacy.protocol.merkle import check_root, root, shard_digest
from privacy.protocol.messages import ShardRoot

_SUFFIX: Final = ".shard"


def check_shape(shards: ShardRoot, polynomials: int) -> None:
    """Raises MalformedMessage unless a root is one over the shards of so many polynomials."""
    size = shards.shard_bytes
    whole = polynomials * POLYNOMIAL_BYTES
    if size % POLYNOMIAL_BYTES or size > MAX_SHARD_BYTES or shards.count != -(-whole // size):
        raise MalformedMessage(
            f"shards of whole polynomials, {whole} bytes in all",
            f"{shards.count} shards of {size} bytes",
            "open nothing and download nothing of it; tell the operator",
        )


def shard_size(shards: ShardRoot, polynomials: int, index: int) -> int:
    return min(shards.shard_bytes, polynomials * POLYNOMIAL_BYTES - index * shards.shard_bytes)


def fingerprint(shards: Iterable[bytes], seal_digest: str) -> FingerprintValue:
    """F of an upload or of a sum under one seal (protocol 5.4)."""
    running = Fingerprint(bytes.fromhex(seal_digest))
    for shard in shards:
        running.update(np.frombuffer(shard, dtype="<u8"))
    return running.value()


def checked_download(
    fetch: Callable[[int, int], bytes], digests: list[bytes] | None, shards: ShardRoot, polynomials: int
) -> Iterator[bytes]:
    """Shards as they come, each of its size, digest and range; `fetch(index, size)` brings one.

    `digests`: under the root; None for a single shard, which is its own. Raises DigestMismatch, OutOfRange.
    """
    if digests is not None:
        check_root(digests, shards.root, shards.count)
    for index in range(shards.count):
        size = shard_size(shards, polynomials, index)
        shard = fetch(index, size)
        came = shard_digest(shard)
        fits = root([came]) == shards.root if digests is None else came == digests[index]
        if len(shard) != size or not fits:
            raise DigestMismatch(
                f"shard {index} of {size} bytes under the signed root",
                f"{len(shard)} other bytes",
                "fetch it again; if it stays so, the service does not hold what it signed",
            )
        check_words(np.frombuffer(shard, dtype="<u8"))
        yield shard


@dataclass(frozen=True)
class ShardFolder:
    """The shards of one upload or one sum."""

    path: Path

    def _file(self, index: int) -> Path:
        return self.path / f"{index:06d}{_SUFFIX}"

    def write(self, shards: Iterable[bytes], durable: bool) -> list[bytes]:
        """Write all, from the first; their digests."""
        make_folder(self.path)
        digests = []
        for index, shard in enumerate(shards):
            if durable:
                write_durably(self._file(index), shard)
            else:
                with room_for(self._file(index)):
                    self._file(index).write_bytes(shard)
            digests.append(shard_digest(shard))
        if durable:
            sync_folder(self.path.parent)
        return digests

    def count(self) -> int:
        return sum(1 for _ in self.path.glob(f"*{_SUFFIX}")) if self.path.is_dir() else 0

    def read(self, index: int) -> bytes:
        """One shard. Raises MalformedMessage where it is gone."""
        try:
            return self._file(index).read_bytes()
        except FileNotFoundError:
            raise MalformedMessage(
                f"shard {index} in {self.path}", "none", "this upload is lost; its attempt stays charged"
            ) from None

    def __iter__(self) -> Iterator[bytes]:
        for index in range(self.count()):
            yield self.read(index)

    def root(self) -> str:
        return root([shard_digest(shard) for shard in self])

    def drop(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
