"""What a partner releases for a seal, once: seven checks, then its summed shares in boxes (protocol 4.4).

Rules:
1. Order of writes: the whole signed opening and its boxes into the journal; the round key wiped; only then sent.
2. A resend is the same bytes. The same U under another root of the sum gets a new fingerprint, and the same boxes.
3. A check that fails is said aloud, signed, with its number; nothing is released then.
4. Whoever could not take the round key away (another copy of this folder did) sends nothing.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from client_sdk.box_fetch import BoxFetch
from client_sdk.journal import AttemptRecord
from client_sdk.partner import Partner
from client_sdk.shards import fingerprint
from privacy.errors import CheckRefused, ChoraleError, DigestMismatch, RolledBack, WrongState
from privacy.he.boxes import BoxKey, encode_shares, result_box_info, seal_box
from privacy.he.shamir import add_shares
from privacy.protocol.canonical import digest
from privacy.protocol.messages import (
    AddressedDigest,
    Cohort,
    Manifest,
    Opening,
    Plan,
    Refusal,
    Seal,
    Signed,
    parse_signed,
)
from privacy.protocol.opening_checks import OpeningRequest, OwnUpload, check_opening, check_sealed_set
from privacy.protocol.round_state import quorum

_REASON_LIMIT = 500


Manifests = dict[str, Signed[Manifest]]


def release(partner: Partner, record: AttemptRecord, seal: Signed[Seal], manifests: Manifests) -> None:
    """Open for this seal if all seven checks pass, or refuse aloud; harmless to call again."""
    if record.refusal is not None:
        partner.service.refuse(parse_signed(Refusal, record.refusal))
        return
    if record.opening is None:
        if partner.now() > record.open_deadline:
            partner.round_keys.claim(record.plan)
            partner.progress.notice("the time to open has passed: this attempt's key is wiped, nothing is opened")
            return
        key = partner.round_keys.find(record.plan)
        if key is None:
            partner.progress.notice(f"this attempt's key is gone (a reboot): {_without(partner, record)}")
            return
        try:
            _open_first(partner, record, seal, manifests, key)
        except CheckRefused as refused:
            _refuse(partner, record.plan, refused)
            return
    elif record.seal is not None and parse_signed(Seal, record.seal).digest != seal.digest:
        try:
            _open_again(partner, record, seal, manifests)
        except CheckRefused as refused:
            _refuse(partner, record.plan, refused)
            return
    send(partner, record.plan)


def send(partner: Partner, round_digest: str) -> None:
    """Send the opening that the journal holds, after its key is wiped."""
    record = partner.journal.record(round_digest)
    if record is None or record.opening is None or record.result_boxes is None:
        return
    if not partner.take_round_key(round_digest):
        partner.progress.notice("the opening in this journal is not sent: another copy of this folder took its key")
        return
    try:
        partner.service.open(record.opening, record.result_boxes, round_digest)
    except WrongState as ended:
        partner.progress.notice(f"the opening is not taken any more: {ended.came}")


def request_for(
    partner: Partner, record: AttemptRecord, seal: Signed[Seal], manifests: Manifests
) -> OpeningRequest:
    """What the checks look at."""
    assert record.cohort is not None
    assert record.signed_cohort is not None
    own = None
    if record.manifest is not None:
        own = OwnUpload(parse_signed(Manifest, record.manifest).digest, record.receipt is not None)
    return OpeningRequest(
        partner=partner.name,
        charter=partner.charter,
        plan=parse_signed(Plan, record.signed_plan),
        cohort=parse_signed(Cohort, record.signed_cohort).body,
        seal=seal,
        manifests=manifests,
        accepted_plan=record.plan,
        accepted_cohort=record.cohort,
        own_upload=own,
        opened_set=record.opened_set,
    )


def _open_first(
    partner: Partner, record: AttemptRecord, seal: Signed[Seal], manifests: Manifests, key: BoxKey
) -> None:
    request = request_for(partner, record, seal, manifests)
    boxes_of = BoxFetch(partial(partner.service.share_boxes, record.plan), seal.body.partners)
    shares = check_opening(request, boxes_of, key, partner.verifier)
    summed = add_shares(shares.values())
    boxes = _seal_results(partner, request, seal.body, summed)
    message = partner.sign(_opening(partner, record, seal.body, boxes))
    partner.journal.write_once(
        "opening",
        record.plan,
        {
            "seal": seal.canonical_bytes,
            "opened_set": seal.body.contributors_digest,
            "opening": message.canonical_bytes,
            "result_boxes": b"".join(boxes.values()),
        },
    )
    if not partner.take_round_key(record.plan):
        raise RolledBack(
            "this attempt's key where this process left it",
            "none: another copy of this folder took it",
            "find the other copy; this one sends nothing for this attempt",
        )


def _open_again(partner: Partner, record: AttemptRecord, seal: Signed[Seal], manifests: Manifests) -> None:
    """The same U under another root: the boxes stay, so checks 1 to 4 and 7 say whether this seal may have an F."""
    request = request_for(partner, record, seal, manifests)
    check_sealed_set(request, partner.verifier)
    before = parse_signed(Opening, record.opening or b"").body
    if seal.body.contributors_digest != record.opened_set:
        raise CheckRefused(
            7,
            f"the set {str(record.opened_set)[:16]} that was opened before",
            seal.body.contributors_digest[:16],
            "open nothing: two sets of one attempt would give a difference of sums",
        )
    boxes = record.result_boxes or b""
    width = len(boxes) // len(before.boxes)
    held = {entry.receiver: boxes[index * width : (index + 1) * width] for index, entry in enumerate(before.boxes)}
    message = partner.sign(_opening(partner, record, seal.body, held))
    partner.journal.reopen(
        record.plan, seal.canonical_bytes, seal.body.contributors_digest, message.canonical_bytes
    )


def _seal_results(
    partner: Partner, request: OpeningRequest, seal: Seal, summed: NDArray[np.uint32]
) -> dict[str, bytes]:
    """A box with this partner's summed shares for everyone on the roster, in roster order."""
    encoded = encode_shares(summed)
    boxes = {}
    for entry in request.charter.roster:
        info = result_box_info(
            bytes.fromhex(request.accepted_plan),
            bytes.fromhex(request.accepted_cohort),
            bytes.fromhex(seal.contributors_digest),
            partner.name,
            entry.partner,
        )
        boxes[entry.partner] = seal_box(bytes.fromhex(entry.result_key), info, encoded)
    return boxes


def _opening(partner: Partner, record: AttemptRecord, seal: Seal, boxes: dict[str, bytes]) -> Opening:
    own = None
    if partner.name in seal.partners and record.manifest is not None:
        shards = partner.upload_folder(record.plan)
        if shards.root() != parse_signed(Manifest, record.manifest).body.shards.root:
            raise DigestMismatch(
                "this partner's ciphertext as it was uploaded", "other bytes on this disk", "check the disk"
            )
        first, second = fingerprint(shards, seal.digest)
        own = (str(first), str(second))
    return Opening(
        charter=seal.charter,
        plan=record.plan,
        cohort=seal.cohort,
        seal=seal.digest,
        partner=partner.name,
        boxes=tuple(AddressedDigest(receiver=name, digest=digest(box)) for name, box in boxes.items()),
        fingerprint=own,
    )


def _without(partner: Partner, record: AttemptRecord) -> str:
    """What this partner's missing opening means for the others."""
    members = len(parse_signed(Cohort, record.signed_cohort or b"").body.members)
    needed = quorum(members, partner.charter.colluders)
    if needed < members:
        return f"the sum opens if {needed} of the other {members - 1} members open it"
    return f"the sum needs all {members} members, so this attempt ends without a result at its open deadline"


def _refuse(partner: Partner, round_digest: str, refused: CheckRefused) -> None:
    body = Refusal(
        charter=partner.charter.digest,
        plan=round_digest,
        partner=partner.name,
        check=refused.number,
        reason=ChoraleError.__str__(refused)[:_REASON_LIMIT],
    )
    message = partner.sign(body)
    partner.journal.write_once("refusal", round_digest, {"refusal": message.canonical_bytes})
    partner.progress.notice(f"not opened: {refused}")
    partner.service.refuse(message)
