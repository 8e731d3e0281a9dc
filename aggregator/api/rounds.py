"""Routes of a round attempt that carry messages; bulk.py has those that carry bytes (protocol 4)."""

from __future__ import annotations

import json

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from aggregator.api import models
from aggregator.api.authentication import Authentic, OperatorBody, Partner, PartnerBody, TheService
from aggregator.api.routes import DigestPath, answer, answers, message, takes
from aggregator.api.waiting import Wait, until_news
from aggregator.rounds import admission, confirmation, join, opening, upload
from aggregator.rounds.document import document_bytes
from aggregator.rounds.records import cohort_of, find, require_view, round_topic, standing_of, state_topic
from privacy.errors import WrongState
from privacy.protocol.messages import (
    Abort,
    Confirmation,
    Join,
    Plan,
    Refusal,
    Signed,
    VoidVote,
    parse_signed,
)
from privacy.protocol.round_state import RoundState

router = APIRouter()


@router.post(
    "/v1/rounds", status_code=201, responses=answers(models.RoundNamed, 201), openapi_extra=takes(Signed[Plan])
)
def admit(service: TheService, body: OperatorBody) -> Response:
    return answer({"round": admission.admit(service, parse_signed(Plan, body.raw))}, 201)


@router.get("/v1/rounds/{round_digest}", responses=answers(models.RoundDocument))
async def round_shown(
    service: TheService,
    caller: Authentic,
    round_digest: DigestPath,
    seen: int = Query(0, ge=0, le=1 << 40, description="Wait for a version above this one."),
    state: RoundState | None = Query(None, description="Wait for another state, whatever the version."),
    wait: Wait = 0.0,
) -> Response:
    def read(session: Session) -> tuple[bytes | None, bool]:
        standing = standing_of(session, round_digest)
        if standing.charter not in allowed:
            require_view(session, standing.charter, caller.identity)
            allowed.add(standing.charter)
        news = standing.version > seen if state is None else standing.state is not state
        return (document_bytes(service, session, round_digest, standing.version) if news else None), news

    def unchanged() -> bytes:
        with service.database.read() as session:
            return document_bytes(service, session, round_digest, standing_of(session, round_digest).version)

    allowed: set[str] = set()
    topic = round_topic(round_digest) if state is None else state_topic(round_digest)
    shown = await until_news(service, caller, topic, wait, read)
    return message(await run_in_threadpool(unchanged) if shown is None else shown)


@router.post(
    "/v1/rounds/{round_digest}/joins",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[Join]),
)
def take_join(service: TheService, body: PartnerBody, round_digest: DigestPath) -> Response:
    join.join(service, round_digest, body.caller.identity, parse_signed(Join, body.raw))
    return answer({"taken": True}, 201)


@router.get("/v1/rounds/{round_digest}/cohort", responses=answers(models.CohortShown))
def cohort(service: TheService, caller: Authentic, round_digest: DigestPath) -> Response:
    with service.database.read() as session:
        attempt = find(session, round_digest)
        require_view(session, attempt.charter, caller.identity)
        members = cohort_of(attempt).partners
        joins = [json.loads(row.message) for row in join.joins_of(session, round_digest) if row.partner in members]
        return answer({"cohort": json.loads(attempt.cohort or b"null"), "joins": joins})


@router.get("/v1/rounds/{round_digest}/uploads/mine", responses=answers(models.OwnUpload))
def own_upload(service: TheService, caller: Partner, round_digest: DigestPath) -> Response:
    with service.database.read() as session:
        row = upload.find_upload(session, round_digest, caller.identity)
        shown = {
            "manifest": row.digest,
            "missing": upload.missing_shards(session, row),
            "receipt": json.loads(row.receipt) if row.receipt else None,
        }
    return answer(shown)


@router.get("/v1/rounds/{round_digest}/uploads", responses=answers(models.Manifests))
def manifests(service: TheService, caller: Partner, round_digest: DigestPath) -> Response:
    with service.database.read() as session:
        attempt = find(session, round_digest)
        require_view(session, attempt.charter, caller.identity)
        if attempt.seal is None:
            raise WrongState("a sealed attempt", "one that has no seal yet", "wait for the seal")
        rows = upload.sealed_uploads(session, round_digest)
    return answer({"manifests": [json.loads(row.manifest) for row in rows]})


@router.get("/v1/rounds/{round_digest}/openings", responses=answers(models.Openings))
def openings(service: TheService, caller: Partner, round_digest: DigestPath) -> Response:
    with service.database.read() as session:
        require_view(session, find(session, round_digest).charter, caller.identity)
        rows = opening.openings_of(session, round_digest)
    return answer({"openings": [json.loads(row.message) for row in rows]})


@router.post(
    "/v1/rounds/{round_digest}/refusals",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[Refusal]),
)
def take_refusal(service: TheService, body: PartnerBody, round_digest: DigestPath) -> Response:
    opening.refuse(service, round_digest, body.caller.identity, parse_signed(Refusal, body.raw))
    return answer({"taken": True}, 201)


@router.post(
    "/v1/rounds/{round_digest}/confirmations",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[Confirmation]),
)
def take_confirmation(service: TheService, body: PartnerBody, round_digest: DigestPath) -> Response:
    confirmation.confirm(service, round_digest, body.caller.identity, parse_signed(Confirmation, body.raw))
    return answer({"taken": True}, 201)


@router.get("/v1/rounds/{round_digest}/confirmations", responses=answers(models.Confirmations))
def confirmations(service: TheService, caller: Authentic, round_digest: DigestPath) -> Response:
    with service.database.read() as session:
        require_view(session, find(session, round_digest).charter, caller.identity)
        rows = confirmation.confirmations_of(session, round_digest)
    return answer({"confirmations": [json.loads(row.message) for row in rows]})


@router.post(
    "/v1/rounds/{round_digest}/voids",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[VoidVote]),
)
def take_void(service: TheService, body: PartnerBody, round_digest: DigestPath) -> Response:
    confirmation.vote_void(service, round_digest, body.caller.identity, parse_signed(VoidVote, body.raw))
    return answer({"taken": True}, 201)


@router.get("/v1/rounds/{round_digest}/voids", responses=answers(models.VoidVotes))
def void_votes(service: TheService, caller: Authentic, round_digest: DigestPath) -> Response:
    with service.database.read() as session:
        require_view(session, find(session, round_digest).charter, caller.identity)
        rows = confirmation.voids_of(session, round_digest)
    return answer({"voids": [json.loads(row.message) for row in rows]})


@router.post(
    "/v1/rounds/{round_digest}/abort", responses=answers(models.RoundDocument), openapi_extra=takes(Signed[Abort])
)
def abort(service: TheService, body: OperatorBody, round_digest: DigestPath) -> Response:
    opening.abort(service, round_digest, parse_signed(Abort, body.raw))
    with service.database.read() as session:
        standing = standing_of(session, round_digest)
        return message(document_bytes(service, session, round_digest, standing.version))
