"""One upload of one attempt: encrypted, shared, written down, sent; resent as the same bytes (protocol 4.2).

Rules:
1. Order of writes: ciphertext durable on disk; manifest and boxes in the journal; key, errors and seed wiped; only
   then the first byte leaves.
2. One upload an attempt, ever: where the journal holds a manifest, nothing is encrypted again.
3. A receipt is kept: with it, a seal without this upload is refused.
4. An upload that can no longer be sent is lost, and its attempt stays charged.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from client_sdk.attempt import JoinedAttempt
from client_sdk.journal import AttemptRecord
from client_sdk.partner import Partner
from privacy.errors import (
    Conflict,
    DeadlinePassed,
    DigestMismatch,
    MalformedMessage,
    NotFound,
    OutOfRange,
    WrongState,
)
from privacy.he.boxes import encode_shares, seal_box, share_box_info
from privacy.he.envelope import contribution_seed, encrypt, share_stream
from privacy.he.parameters import PARAMETER_SETS
from privacy.he.shamir import deal
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import SERVER
from privacy.protocol.merkle import root, shard_digest
from privacy.protocol.messages import (
    AddressedDigest,
    Cohort,
    Join,
    Manifest,
    Receipt,
    ShardRoot,
    Signed,
    parse_signed,
)


def prepare(partner: Partner, joined: JoinedAttempt, values: NDArray[np.int32], shard_bytes: int) -> None:
    """Encrypt int32[layout.length] and write the upload down; nothing leaves the machine.

    Raises Conflict if this attempt has an upload already, OutOfRange for values that do not fit, StorageFull.
    """
    record = require_record(partner, joined.round_digest)
    if record.manifest is not None:
        raise Conflict(
            "one upload for an attempt", "a second", "go on with the one that the journal holds: call finish"
        )
    length = joined.plan.layout.length
    if values.shape != (length,):
        raise OutOfRange(f"a vector of {length} values", f"shape {values.shape}", "pass the plan's whole vector")
    round_digest, cohort_digest = bytes.fromhex(joined.round_digest), bytes.fromhex(joined.cohort_digest)
    message = bytes.fromhex(digest(np.ascontiguousarray(values, dtype="<i4").tobytes()))
    seed = contribution_seed(
        partner.outside.source, partner.keys.device_secret, round_digest, cohort_digest, message
    )
    encryption = encrypt(values, partner.lanes(joined.plan), round_digest, cohort_digest, seed, shard_bytes)
    try:
        folder = partner.upload_folder(joined.round_digest)
        folder.drop()  # what an encryption left that a crash cut short: it never left, and its key is gone
        digests = folder.write(encryption.shards, durable=True)
        shards = ShardRoot(root=root(digests), count=len(digests), shard_bytes=shard_bytes)
        dealt = deal(encryption.key.s, len(joined.cohort.members), joined.quorum, share_stream(seed))
        boxes = _seal_shares(partner.name, joined.cohort, joined.joins, dealt, shards)
        dealt[:] = 0
    finally:
        encryption.key.wipe()
        del seed
    manifest = Manifest(
        charter=joined.plan.charter,
        plan=joined.round_digest,
        cohort=joined.cohort_digest,
        partner=partner.name,
        coefficients=encryption.polynomials * PARAMETER_SETS[partner.charter.parameter_set].degree,
        shards=shards,
        boxes=tuple(AddressedDigest(receiver=receiver, digest=digest(box)) for receiver, box in boxes.items()),
    )
    partner.journal.write_once(
        "contribution prepared",
        joined.round_digest,
        {
            "manifest": partner.sign(manifest).canonical_bytes,
            "attachment": b"".join(digests) + b"".join(boxes.values()),
        },
    )


def _seal_shares(
    dealer: str, cohort: Cohort, joins: Mapping[str, Join], dealt: NDArray[np.uint32], shards: ShardRoot
) -> dict[str, bytes]:
    """A share box for every member, in the order of J."""
    boxes = {}
    for receiver in cohort.partners:
        info = share_box_info(
            bytes.fromhex(cohort.plan),
            bytes.fromhex(cohort.digest),
            dealer,
            receiver,
            bytes.fromhex(shards.root),
        )
        row = dealt[cohort.point(receiver) - 1]
        boxes[receiver] = seal_box(bytes.fromhex(joins[receiver].round_key), info, encode_shares(row))
    return boxes


def send(partner: Partner, round_digest: str) -> Signed[Receipt] | None:
    """Send what the journal holds, from where the last try ended; the receipt, or None where it comes too late."""
    record = require_record(partner, round_digest)
    if record.receipt is not None:
        return parse_signed(Receipt, record.receipt)
    if record.manifest is None or record.attachment is None:
        return None
    try:
        _send_shards(partner, record, record.manifest, record.attachment)
        receipt = partner.service.receipt(round_digest)
    except DeadlinePassed as late:
        partner.progress.notice(f"the upload came too late, and its attempt stays charged: {late}")
        return None
    except WrongState as late:
        # A late receipt still tells whether the upload is in U. None where a crash cut off its very first message.
        try:
            found = partner.service.own_upload(round_digest).receipt
        except NotFound:
            found = None
        if found is None:
            partner.progress.notice(f"the upload is not taken any more, and its attempt stays charged: {late}")
            return None
        receipt = found
    _check_receipt(partner, receipt, record.manifest)
    partner.journal.write_once("receipt", round_digest, {"receipt": receipt.canonical_bytes})
    return receipt


def _send_shards(partner: Partner, record: AttemptRecord, manifest: bytes, attachment: bytes) -> None:
    body = parse_signed(Manifest, manifest).body
    folder = partner.upload_folder(record.plan)
    missing = partner.service.begin_upload(manifest, attachment, record.plan)
    if any(index >= body.shards.count for index in missing):
        raise MalformedMessage(f"missing shards below {body.shards.count}", str(max(missing)), "tell the operator")
    digests = [attachment[start : start + 32] for start in range(0, 32 * body.shards.count, 32)]
    for done, index in enumerate(missing):
        shard = folder.read(index)
        if shard_digest(shard) != digests[index]:
            raise DigestMismatch(
                f"shard {index} as it was encrypted",
                "other bytes on this disk",
                "check the disk; this upload is lost, and its attempt stays charged",
            )
        partner.service.put_shard(record.plan, index, shard)
        partner.progress.transfer("upload", done + 1, len(missing))


def _check_receipt(partner: Partner, receipt: Signed[Receipt], manifest: bytes) -> None:
    body = partner.verifier.verify(receipt, {SERVER: partner.charter.server_keys})
    own = parse_signed(Manifest, manifest)
    if body.manifest != own.digest or body.plan != own.body.plan or body.partner != partner.name:
        raise DigestMismatch(
            f"a receipt for manifest {own.digest[:16]}", f"one for {body.manifest[:16]}", "tell the operator"
        )


def require_record(partner: Partner, round_digest: str) -> AttemptRecord:
    record = partner.journal.record(round_digest)
    if record is None or record.cohort is None:
        raise WrongState(
            "an attempt whose cohort this partner accepted",
            f"attempt {round_digest[:16]}, which is none",
            "join it first",
        )
    return record
