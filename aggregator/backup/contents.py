"""What a backup holds, and how each part is known to be whole.

Rules:
1. A backup is a folder: `backup.json`, the manifest that the online key signed; `database.sqlite`, the database at
   one moment (storage/snapshot.py); `blobs/`; `operator.pub` and `chorale-server.toml` as they were.
2. The manifest names the digest of every file but the blobs. A blob's digest stands in a signed message within the
   database, so the manifest's signature covers it too, and no list of blobs can disagree with the database.
3. The blobs of a backup are those that the database refers to and retention still keeps. What was cut off by a
   crash, or is about to be deleted, is no part of it.
4. No key is in it: `server.key` stays out, and whoever holds a backup can sign nothing. Restoring needs the key.
   The settings are as they were, with whatever secrets were written into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

from pydantic import Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from aggregator.rounds.opening import result_boxes_name
from aggregator.rounds.retention import sums_may_go, uploads_may_go
from aggregator.rounds.seal import sum_name
from aggregator.rounds.state_boxes import state_box_name
from aggregator.rounds.upload import DIGEST_BYTES, boxes_name, shard_name
from aggregator.settings import SETTINGS_FILE
from aggregator.storage.folder import OPERATOR_FILE
from aggregator.storage.service import stored
from aggregator.storage.tables import AttemptRow, OpeningRow, ShardRow, StateBoxRow, UploadRow
from privacy.errors import DigestMismatch
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.protocol.identifiers import Digest, Model
from privacy.protocol.messages import Body, ChainHead, Count, Manifest, Opening, SigningKeys, StateBox, UnixSeconds

MANIFEST_FILE: Final = "backup.json"
DATABASE_FILE: Final = "database.sqlite"
BLOBS_FOLDER: Final = "blobs"
COPIED_FILES: Final = (OPERATOR_FILE, SETTINGS_FILE)
_PIECE: Final = 1 << 20


class BackupFile(Model):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z.-]{0,60}$")]
    digest: Digest


class BackupManifest(Body):
    """Signed by the online key, whose public half it names. chain: the ledger's head in the database."""

    type: Literal["chorale/1 backup"] = "chorale/1 backup"
    server_keys: SigningKeys
    made_at: UnixSeconds
    revision: str
    chain: ChainHead
    blobs: Count
    files: tuple[BackupFile, ...]


@dataclass(frozen=True)
class Blob:
    """A stored blob as the database knows it.

    digests: of each `piece` bytes, one after the other; of the whole where `piece` is None.
    """

    name: str
    digests: tuple[str, ...]
    piece: int | None = None

    def copy(self, source: BinaryIO, target: BinaryIO | None = None) -> int:
        """Check every byte, and write it to `target` if there is one; gives their number. Raises DigestMismatch."""
        size = 0
        for expected in self.digests:
            digest = hashlib.sha256()
            left = self.piece
            while block := source.read(_PIECE if left is None else min(_PIECE, left)):
                digest.update(block)
                size += len(block)
                left = None if left is None else left - len(block)
                if target is not None:
                    target.write(block)
            if digest.hexdigest() != expected:
                raise DigestMismatch(
                    f"bytes of digest {expected[:16]} in blob {self.name}",
                    f"digest {digest.hexdigest()[:16]}",
                    "the disk or the backup is damaged: use another copy of this blob",
                )
        if source.read(1):
            raise DigestMismatch(f"{size} bytes in blob {self.name}", "more", "use another copy of this blob")
        return size


def blobs(session: Session) -> Iterator[Blob]:
    """Rule 3, in the order of their names' kinds."""
    kept = session.scalars(
        select(AttemptRow)
        .where(or_(AttemptRow.uploads_kept, AttemptRow.sums_kept))
        .order_by(AttemptRow.campaign, AttemptRow.sequence)
    ).all()
    for attempt in kept:
        if attempt.uploads_kept and not uploads_may_go(session, attempt):
            yield from _uploads(session, attempt.round)
        if attempt.sums_kept and not sums_may_go(session, attempt):
            yield from _sums(session, attempt)
    for row in session.scalars(select(StateBoxRow)):
        name = state_box_name(row.campaign, row.state, row.sender, row.receiver)
        yield Blob(name, (stored(StateBox, row.message).body.box,))


def _uploads(session: Session, round_digest: str) -> Iterator[Blob]:
    for upload in session.scalars(select(UploadRow).where(UploadRow.round == round_digest)):
        sealed = stored(Manifest, upload.manifest).body.boxes
        yield Blob(boxes_name(round_digest, upload.partner), tuple(box.digest for box in sealed), SHARE_BOX_BYTES)
        here = select(ShardRow.index).where(ShardRow.round == round_digest, ShardRow.partner == upload.partner)
        for index in session.scalars(here):
            yield Blob(shard_name(round_digest, upload.partner, index), (_nth(upload.shard_digests, index),))


def _sums(session: Session, attempt: AttemptRow) -> Iterator[Blob]:
    digests = attempt.sum_digests or b""
    for index in range(len(digests) // DIGEST_BYTES):
        yield Blob(sum_name(attempt.round, index), (_nth(digests, index),))
    for row in session.scalars(select(OpeningRow).where(OpeningRow.round == attempt.round)):
        sealed = stored(Opening, row.message).body.boxes
        name = result_boxes_name(attempt.round, row.partner)
        yield Blob(name, tuple(box.digest for box in sealed), SHARE_BOX_BYTES)


def _nth(digests: bytes, index: int) -> str:
    return digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES].hex()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
