"""Adding one shard of every upload, mod q, from disk to disk (protocol 4.3).

Rules:
1. A pure function of files: the same uploads give the same bytes, whichever process adds them and however often.
2. Memory is two pieces of PIECE_BYTES, and open files are two, whatever the number of uploads.
It knows no keys, no database and no round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from privacy.errors import DigestMismatch
from privacy.he.addition import ModularSum

PIECE_BYTES = 1 << 20


def sum_shard(uploads: Sequence[str], target: str, size: int) -> bytes:
    """Write the sum of one shard of each upload to `target`; gives its SHA-256.

    uploads: paths of files of exactly `size` bytes of little-endian uint64 below q. Raises DigestMismatch for a
    file of another size, OutOfRange for a word >= q.
    """
    digest = hashlib.sha256()
    with Path(target).open("wb") as out:
        for offset in range(0, size, PIECE_BYTES):
            length = min(PIECE_BYTES, size - offset)
            total = ModularSum(length // 8)
            for path in uploads:
                with Path(path).open("rb") as file:
                    file.seek(offset)
                    piece = file.read(length)
                if len(piece) != length:
                    raise DigestMismatch(
                        f"an upload's shard of {size} bytes", f"{offset + len(piece)}", "restore the blobs"
                    )
                total.add(np.frombuffer(piece, dtype="<u8"))
            summed = total.total().astype("<u8", copy=False).tobytes()
            digest.update(summed)
            out.write(summed)
    return digest.digest()
