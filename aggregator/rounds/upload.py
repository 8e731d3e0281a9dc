"""An upload: manifest, share boxes, then shards, then a receipt (protocol 4.2).

Rules:
1. The manifest is the member's, for this R and J, of the plan's length; its digests stand under its root, and each
   box has the digest that it names. A second, different manifest is refused, and the first stays.
2. A shard is taken once, by index and digest, and only if each of its words lies below q. Again is no error.
3. The receipt is signed when every shard is here, before the deadline, and is the same ever after: who holds one is
   in U.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds.admission import upload_words
from aggregator.rounds.records import changed, charter_of, cohort_of, find, plan_of, require_member, state_of
from aggregator.storage.blobs import BlobWriter, write_blob
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, ShardRow, UploadRow
from privacy.errors import (
    Conflict,
    DeadlinePassed,
    DigestMismatch,
    MalformedMessage,
    NotFound,
    TooLarge,
    WrongState,
)
from privacy.he.addition import check_words
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import SERVER
from privacy.protocol.merkle import check_root
from privacy.protocol.messages import Charter, Cohort, Manifest, Receipt, Signed
from privacy.protocol.round_state import RoundState, require
from privacy.protocol.signing import sign

DIGEST_BYTES = 32


def shard_name(round_digest: str, partner: str, index: int) -> str:
    return f"rounds/{round_digest}/uploads/{partner}/{index}"


def boxes_name(round_digest: str, partner: str) -> str:
    return f"rounds/{round_digest}/boxes/{partner}"


def check_boxes(attachment: bytes | memoryview, digests: list[str]) -> None:
    """Boxes of SHARE_BOX_BYTES each, one after the other, with these digests."""
    for place, expected in enumerate(digests):
        came = digest(bytes(attachment[place * SHARE_BOX_BYTES : (place + 1) * SHARE_BOX_BYTES]))
        if came != expected:
            raise DigestMismatch(f"box {place} of digest {expected}", came, "send the boxes that were signed for")


def announce_upload(
    service: Service, round_digest: str, partner: str, signed: Signed[Manifest], attachment: bytes
) -> list[int]:
    """Take a manifest with its shard digests and boxes; gives the indexes of shards still to come."""
    with service.database.read() as session:
        attempt = find(session, round_digest)
        charter = charter_of(session, attempt.charter)
        cohort = cohort_of(attempt)
    require_member(cohort, partner)
    words = _check_manifest(service, attempt, charter, cohort, partner, signed)
    split = signed.body.shards.count * DIGEST_BYTES
    if len(attachment) != split + len(cohort.members) * SHARE_BOX_BYTES:
        raise MalformedMessage(
            f"{signed.body.shards.count} shard digests and {len(cohort.members)} boxes of {SHARE_BOX_BYTES} bytes",
            f"{len(attachment)} bytes",
            "send the whole frame",
        )
    shard_digests = attachment[:split]
    check_root(
        [shard_digests[i : i + DIGEST_BYTES] for i in range(0, split, DIGEST_BYTES)],
        signed.body.shards.root,
        signed.body.shards.count,
    )
    boxes = memoryview(attachment)[split:]
    check_boxes(boxes, [box.digest for box in signed.body.boxes])
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        before = session.get(UploadRow, (round_digest, partner))
        if before is not None:
            if before.digest != signed.digest:
                raise Conflict(
                    f"the manifest that {partner} sent first",
                    "another",
                    "send the stored ciphertext: one attempt takes one upload of a partner",
                )
            return missing_shards(session, before)
        _require_time(service, attempt)
        write_blob(service.blobs, boxes_name(round_digest, partner), boxes)
        row = UploadRow(
            round=round_digest,
            partner=partner,
            digest=signed.digest,
            manifest=signed.canonical_bytes,
            words=words,
            shard_digests=shard_digests,
            receipt=None,
            in_seal=False,
            received=service.now(),
        )
        session.add(row)
        changed(session, attempt)
        return list(range(signed.body.shards.count))


def find_upload(session: Session, round_digest: str, partner: str) -> UploadRow:
    row = session.get(UploadRow, (round_digest, partner))
    return row or _no_upload(partner)


def _no_upload(partner: str) -> NoReturn:
    raise NotFound(f"an upload of {partner}", "none", "send the manifest first")


def missing_shards(session: Session, upload: UploadRow) -> list[int]:
    here = set(
        session.scalars(
            select(ShardRow.index).where(ShardRow.round == upload.round, ShardRow.partner == upload.partner)
        )
    )
    return [index for index in range(len(upload.shard_digests) // DIGEST_BYTES) if index not in here]


@dataclass(frozen=True)
class ExpectedShard:
    """What a shard must be: its size in bytes, its SHA-256, and whether it is here already."""

    round: str
    partner: str
    index: int
    size: int
    digest: str
    here: bool


def expect_shard(service: Service, round_digest: str, partner: str, index: int, claimed: str) -> ExpectedShard:
    """Before a byte is read: is this a shard that is wanted? Raises what is wrong with it otherwise."""
    with service.database.read() as session:
        attempt = find(session, round_digest)
        upload = find_upload(session, round_digest, partner)
        count = len(upload.shard_digests) // DIGEST_BYTES
        if index >= count:
            raise NotFound(f"a shard below {count}", str(index), "send the shards that the manifest counts")
        expected = upload.shard_digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES].hex()
        if claimed != expected:
            raise DigestMismatch(
                f"shard {index} of digest {expected}", claimed, "send the shard that was signed for"
            )
        here = session.get(ShardRow, (round_digest, partner, index)) is not None
        if not here:
            _require_time(service, attempt)
        size = min(attempt.shard_bytes, 8 * upload.words - index * attempt.shard_bytes)
        return ExpectedShard(round_digest, partner, index, size, expected, here)


class ShardIntake:
    """Checks a shard piece by piece while it is written. Pieces are multiples of 8 bytes, but a false last one."""

    def __init__(self, expected: ExpectedShard, writer: BlobWriter) -> None:
        self._expected = expected
        self._writer = writer
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._expected.size:
            raise TooLarge(f"a shard of {self._expected.size} bytes", "more", "send the shard alone")
        self._digest.update(piece)
        check_words(np.frombuffer(piece, dtype="<u8", count=len(piece) // 8))
        self._writer.write(piece)

    def finish(self, service: Service) -> None:
        """Keep the shard. Raises MalformedMessage for a short one, DigestMismatch for another one."""
        expected = self._expected
        if self._size != expected.size:
            raise MalformedMessage(
                f"a shard of {expected.size} bytes", f"{self._size}", "send the whole shard again"
            )
        if self._digest.hexdigest() != expected.digest:
            raise DigestMismatch(f"a shard of digest {expected.digest}", self._digest.hexdigest(), "send it again")
        self._writer.publish()
        with service.database.write() as session:
            attempt = find(session, expected.round, lock=True)
            key = (expected.round, expected.partner, expected.index)
            if session.get(ShardRow, key) is None:
                _require_time(service, attempt)
                session.add(ShardRow(round=expected.round, partner=expected.partner, index=expected.index))


def receipt(service: Service, round_digest: str, partner: str) -> bytes:
    """The signed receipt, canonical; signed once. Raises WrongState while shards are missing."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        upload = find_upload(session, round_digest, partner)
        if upload.receipt is not None:
            return upload.receipt
        missing = missing_shards(session, upload)
        if missing:
            raise WrongState(
                "every shard", f"{len(missing)} missing, first {missing[0]}", "send the missing shards"
            )
        _require_time(service, attempt)
        body = Receipt(
            charter=attempt.charter,
            plan=round_digest,
            cohort=attempt.cohort_digest or "",
            partner=partner,
            manifest=upload.digest,
        )
        upload.receipt = sign(body, SERVER, service.keys.server).canonical_bytes
        upload.receipted = service.now()
        changed(session, attempt)
        return upload.receipt


def sealed_uploads(session: Session, round_digest: str) -> list[UploadRow]:
    """U, by partner; empty before it is fixed."""
    return list(
        session.scalars(
            select(UploadRow).where(UploadRow.round == round_digest, UploadRow.in_seal).order_by(UploadRow.partner)
        )
    )


def share_boxes(
    service: Service, session: Session, round_digest: str, dealers: Sequence[str], receiver: str
) -> list[bytes]:
    """The boxes that these dealers addressed to `receiver`, in their order."""
    require_member(cohort_of(find(session, round_digest)), receiver)
    rows = session.scalars(select(UploadRow).where(UploadRow.round == round_digest, UploadRow.partner.in_(dealers)))
    uploads = {row.partner: row for row in rows}
    return [_share_box(service, uploads.get(dealer) or _no_upload(dealer), receiver) for dealer in dealers]


def _share_box(service: Service, upload: UploadRow, receiver: str) -> bytes:
    receivers = [box.receiver for box in stored(Manifest, upload.manifest).body.boxes]
    return service.blobs.read(
        boxes_name(upload.round, upload.partner), receivers.index(receiver) * SHARE_BOX_BYTES, SHARE_BOX_BYTES
    )


def _require_time(service: Service, attempt: AttemptRow) -> None:
    require(state_of(attempt), RoundState.UPLOADING)
    now = service.now()
    if now > attempt.upload_deadline:
        raise DeadlinePassed(f"an upload until {attempt.upload_deadline}", f"one at {now}", "join the next attempt")


def _check_manifest(
    service: Service,
    attempt: AttemptRow,
    charter: Charter,
    cohort: Cohort,
    partner: str,
    signed: Signed[Manifest],
) -> int:
    """The number of words of a sound manifest."""
    body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
    here = (attempt.charter, attempt.round, attempt.cohort_digest, partner)
    if (body.charter, body.plan, body.cohort, body.partner) != here:
        raise Conflict(
            f"a manifest by {partner} for this attempt and cohort",
            f"one by {body.partner} for plan {body.plan[:16]}, cohort {body.cohort[:16]}",
            "sign a manifest for this attempt",
        )
    words = upload_words(plan_of(attempt), charter)
    count = -(-8 * words // attempt.shard_bytes)
    shards = body.shards
    if (body.coefficients, shards.count, shards.shard_bytes) != (words, count, attempt.shard_bytes):
        raise MalformedMessage(
            f"{words} coefficients in {count} shards of {attempt.shard_bytes} bytes",
            f"{body.coefficients} in {shards.count} of {shards.shard_bytes}",
            "encrypt the vector that the plan asks for, in shards of GET /v1/about's size",
        )
    if tuple(box.receiver for box in body.boxes) != cohort.partners:
        raise MalformedMessage("a box for each member of the cohort", "other receivers", "deal to the whole cohort")
    return words
