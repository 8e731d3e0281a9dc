"""Routes that carry bytes: uploads, boxes, sums, states (protocol 4.2 to 4.5).

Rules:
1. Bulk declares its length, is hashed and checked in pieces of at most PIECE_BYTES as it arrives, and is kept only
   when it is whole. The event loop only moves bytes; hashing and writing run in worker threads.
2. A box is given to its receiver, and to nobody else.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from aggregator.api import models
from aggregator.api.authentication import Partner, PartnerSending, TheService, authentic_body
from aggregator.api.routes import (
    BULK_TYPE,
    DigestPath,
    IndexPath,
    PartnerPath,
    answer,
    answers,
    message,
    raw_bytes,
    takes,
    takes_bytes,
)
from aggregator.arrival import arriving, content_length
from aggregator.rounds import opening, seal, state_boxes, upload
from aggregator.rounds.records import campaign_row, charter_of, cohort_of, find, require_roster
from aggregator.storage.service import Service
from privacy.errors import DigestMismatch, MalformedMessage, NotFound
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.protocol.http_contract import split_frame
from privacy.protocol.messages import Manifest, Opening, Receipt, Signed, StateBox, parse_signed

router = APIRouter()
Named = Annotated[str, Query(max_length=1 << 16, description="Partners whose boxes are asked for, by comma.")]
PIECE_BYTES = 1 << 20


class ShardResponse(FileResponse):
    chunk_size = PIECE_BYTES


async def pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in pieces of PIECE_BYTES, but for the last. Raises TooLarge beyond `limit`."""
    length = content_length(request, limit)
    held = bytearray()
    total = 0
    async for chunk in arriving(request):
        total += len(chunk)
        if total > length:
            raise MalformedMessage(f"a body of {length} bytes", "more", "declare the body's length")
        held += chunk
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


@router.post(
    "/v1/rounds/{round_digest}/uploads",
    status_code=201,
    responses=answers(models.Missing, 201),
    openapi_extra=takes(Signed[Manifest], framed=True),
)
async def announce_upload(
    request: Request, service: TheService, caller: PartnerSending, round_digest: DigestPath
) -> Response:
    boxes = await run_in_threadpool(_roster_size, service, round_digest, caller.identity)
    limit = 4 + service.settings.message_bytes + upload.DIGEST_BYTES * service.settings.max_shards
    raw = await authentic_body(request, caller, limit + boxes * SHARE_BOX_BYTES)

    def take() -> list[int]:
        body, attachment = split_frame(raw)
        return upload.announce_upload(
            service, round_digest, caller.identity, parse_signed(Manifest, body), attachment
        )

    return answer({"missing": await run_in_threadpool(take)}, 201)


@router.put(
    "/v1/rounds/{round_digest}/uploads/mine/shards/{index}",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes_bytes(),
)
async def take_shard(
    request: Request, service: TheService, caller: PartnerSending, round_digest: DigestPath, index: IndexPath
) -> Response:
    expected = await run_in_threadpool(
        upload.expect_shard, service, round_digest, caller.identity, index, caller.body_digest
    )
    body = pieces(request, expected.size)
    if expected.here:
        async for _ in body:
            continue  # the connection is of use only once its body has been read
        return answer({"taken": True}, 201)
    name = upload.shard_name(round_digest, caller.identity, index)
    with await run_in_threadpool(service.blobs.writer, name) as writer:
        intake = upload.ShardIntake(expected, writer)
        async for piece in body:
            await run_in_threadpool(intake.take, piece)
        await run_in_threadpool(intake.finish, service)
    return answer({"taken": True}, 201)


@router.post("/v1/rounds/{round_digest}/uploads/mine/receipt", responses=answers(Signed[Receipt]))
def receipt(service: TheService, caller: Partner, round_digest: DigestPath) -> Response:
    return message(upload.receipt(service, round_digest, caller.identity))


@router.get("/v1/rounds/{round_digest}/uploads/{partner}/shards/{index}", responses=answers(BULK_TYPE))
def uploaded_shard(
    service: TheService, caller: Partner, round_digest: DigestPath, partner: PartnerPath, index: IndexPath
) -> Response:
    with service.database.read() as session:
        require_roster(charter_of(session, find(session, round_digest).charter), caller.identity)
        row = upload.find_upload(session, round_digest, partner)
        if not row.in_seal or find(session, round_digest).seal is None:
            raise NotFound("an upload in a published seal", f"that of {partner}", "ask for a contributor's")
    return ShardResponse(service.blobs.path(upload.shard_name(round_digest, partner, index)), media_type=BULK_TYPE)


@router.get("/v1/rounds/{round_digest}/boxes", responses=answers(BULK_TYPE))
def share_boxes(service: TheService, caller: Partner, round_digest: DigestPath, of: Named) -> Response:
    receiver = caller.identity
    with service.database.read() as session:
        names = _named(session, round_digest, of)
        boxes = upload.share_boxes(service, session, round_digest, names, receiver)
    return raw_bytes(b"".join(boxes))


@router.get("/v1/rounds/{round_digest}/sum/digests", responses=answers(BULK_TYPE))
def sum_digests(service: TheService, caller: Partner, round_digest: DigestPath) -> Response:
    _roster_size(service, round_digest, caller.identity)
    return raw_bytes(seal.sum_digests(service, round_digest))


@router.get("/v1/rounds/{round_digest}/sum/shards/{index}", responses=answers(BULK_TYPE))
def sum_shard(service: TheService, caller: Partner, round_digest: DigestPath, index: IndexPath) -> Response:
    _roster_size(service, round_digest, caller.identity)
    seal.sum_digests(service, round_digest)
    return ShardResponse(service.blobs.path(seal.sum_name(round_digest, index)), media_type=BULK_TYPE)


@router.post(
    "/v1/rounds/{round_digest}/openings",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[Opening], framed=True),
)
async def take_opening(
    request: Request, service: TheService, caller: PartnerSending, round_digest: DigestPath
) -> Response:
    boxes = await run_in_threadpool(_roster_size, service, round_digest, caller.identity)
    limit = 4 + service.settings.message_bytes + boxes * SHARE_BOX_BYTES
    raw = await authentic_body(request, caller, limit)

    def take() -> None:
        body, attachment = split_frame(raw)
        opening.open_seal(service, round_digest, caller.identity, parse_signed(Opening, body), attachment)

    await run_in_threadpool(take)
    return answer({"taken": True}, 201)


@router.get("/v1/rounds/{round_digest}/openings/boxes", responses=answers(BULK_TYPE))
def result_boxes(service: TheService, caller: Partner, round_digest: DigestPath, of: Named) -> Response:
    receiver = caller.identity
    with service.database.read() as session:
        names = _named(session, round_digest, of)
        boxes = opening.result_boxes(service, session, round_digest, names, receiver)
    return raw_bytes(b"".join(boxes))


def _named(session: Session, round_digest: str, of: str) -> list[str]:
    """The partners of a comma-separated list: of this attempt's cohort, nobody twice."""
    names = of.split(",")
    members = cohort_of(find(session, round_digest)).partners
    stranger = next((name for name in names if name not in members), None)
    if stranger is not None or len(set(names)) != len(names):
        raise NotFound(
            "members of the cohort, nobody twice", f"{stranger or of}"[:80], "name the partners of the cohort"
        )
    return names


@router.post(
    "/v1/campaigns/{campaign}/state-boxes",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[StateBox], framed=True),
)
async def take_state_box(
    request: Request, service: TheService, caller: PartnerSending, campaign: DigestPath
) -> Response:
    await run_in_threadpool(_campaign_roster, service, campaign, caller.identity)
    declared = content_length(request, 1 << 40)
    stream = pieces(request, declared)
    whole, box = hashlib.sha256(), hashlib.sha256()
    head = b""
    async for piece in stream:
        whole.update(piece)
        head += piece
        if len(head) >= 4 and len(head) >= 4 + _message_length(head, service):
            break
    split = 4 + _message_length(head, service)
    signed = parse_signed(StateBox, head[4:split])
    limit = await run_in_threadpool(state_boxes.check_state_box, service, campaign, caller.identity, signed)
    content_length(request, split + limit)
    body = signed.body
    name = state_boxes.state_box_name(campaign, body.state, body.sender, body.receiver)
    with await run_in_threadpool(service.blobs.writer, name) as writer:

        def keep(piece: bytes) -> None:
            box.update(piece)
            writer.write(piece)

        await run_in_threadpool(keep, head[split:])
        async for piece in stream:
            whole.update(piece)
            await run_in_threadpool(keep, piece)
        if whole.hexdigest() != caller.body_digest:
            raise DigestMismatch(
                f"a body of digest {caller.body_digest}", whole.hexdigest(), "send the body that was signed"
            )
        await run_in_threadpool(state_boxes.store_state_box, service, campaign, signed, writer, box.hexdigest())
    return answer({"taken": True}, 201)


@router.get("/v1/campaigns/{campaign}/state-boxes/{state}/{sender}", responses=answers(BULK_TYPE))
def state_box(
    service: TheService, caller: Partner, campaign: DigestPath, state: DigestPath, sender: PartnerPath
) -> Response:
    name = state_boxes.state_box_name(campaign, state, sender, caller.identity)
    return ShardResponse(service.blobs.path(name), media_type=BULK_TYPE)


def _message_length(head: bytes, service: Service) -> int:
    if len(head) < 4:
        raise MalformedMessage("a frame of at least 4 bytes", f"{len(head)}", "send length, message, attachment")
    (length,) = struct.unpack_from("<I", head)
    if length > service.settings.message_bytes:
        raise MalformedMessage(
            f"a message length of at most {service.settings.message_bytes}", str(length), "send the whole frame"
        )
    return int(length)


def _roster_size(service: Service, round_digest: str, partner: str) -> int:
    """The number of partners of this attempt's charter, of whom the caller must be one."""
    with service.database.read() as session:
        charter = charter_of(session, find(session, round_digest).charter)
    require_roster(charter, partner)
    return charter.n_max


def _campaign_roster(service: Service, campaign: str, partner: str) -> None:
    with service.database.read() as session:
        require_roster(charter_of(session, campaign_row(session, campaign).charter), partner)
