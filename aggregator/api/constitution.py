"""Routes of constituting a consortium: who we are, invitations, enrolments, charters (protocol 4.0)."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import text
from sqlalchemy.orm import Session

from aggregator.api import models
from aggregator.api.authentication import (
    Authentic,
    Operator,
    OperatorBody,
    PartnerBody,
    Stranger,
    TheService,
)
from aggregator.api.routes import DigestPath, PartnerPath, answer, answers, read_model, takes
from aggregator.api.waiting import Wait, until_news
from aggregator.arrival import read_body
from aggregator.rounds import charter as charters
from aggregator.rounds import enrolment as enrolments
from aggregator.rounds.records import CHARTERS, ENROLMENTS
from privacy.errors import NotAllowed, NotFound
from privacy.he.parameters import PARAMETER_SETS
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Charter, CharterAcceptance, Enrolment, Signed, parse_signed
from privacy.protocol.words import words

router = APIRouter()
NAME = "Chorale"
VERSION = "0.1.0"
MAX_ENROLMENT_BYTES = 1 << 16


@router.get("/v1/about", responses=answers(models.About), dependencies=[Stranger])
def about(service: TheService) -> Response:
    settings = service.settings
    return answer(
        {
            "name": NAME,
            "version": VERSION,
            "parameter_sets": sorted(PARAMETER_SETS),
            "server_keys": service.keys.server.public.model_dump(),
            "operator_keys": service.keys.operator.model_dump(),
            "time": service.now(),
            "limits": {"shard_bytes": settings.shard_bytes, "message_bytes": settings.message_bytes},
        }
    )


@router.get("/healthz", responses=answers(models.Health), dependencies=[Stranger])
def healthz(service: TheService) -> Response:
    with service.database.read() as session:
        session.execute(text("SELECT 1"))
    return answer({"status": "ok"})


@router.post(
    "/v1/invitations",
    status_code=201,
    responses=answers(models.Invitation, 201),
    openapi_extra=takes(models.InvitationRequest),
)
def invite(service: TheService, body: OperatorBody) -> Response:
    wanted = read_model(models.InvitationRequest, body.raw)
    token, expires = enrolments.invite(service, wanted.partner, wanted.expires_in_seconds, wanted.again)
    return answer({"partner": wanted.partner, "token": token, "expires": expires}, 201)


async def _open_body(request: Request, service: TheService) -> bytes:
    """Whoever sends this is not known yet, so it is read only as far as an enrolment goes."""
    with service.bodies.of(""):
        return await read_body(request, min(service.settings.message_bytes, MAX_ENROLMENT_BYTES))


@router.post(
    "/v1/enrolments",
    status_code=201,
    responses=answers(models.EnrolmentState, 201),
    openapi_extra=takes(models.EnrolmentRequest),
    dependencies=[Stranger],
)
def enrol(service: TheService, raw: Annotated[bytes, Depends(_open_body)]) -> Response:
    wanted = read_model(models.EnrolmentRequest, raw)
    row = enrolments.enrol(service, wanted.token, parse_signed(Enrolment, canonical(wanted.enrolment)))
    return answer({"partner": row.partner, "state": row.state}, 201)


@router.get("/v1/enrolments", responses=answers(models.Enrolments))
def list_enrolments(service: TheService, caller: Operator) -> Response:
    del caller
    with service.database.read() as session:
        rows = enrolments.everyone(session)
    shown = [
        {
            "state": row.state,
            "enrolment": json.loads(row.message),
            "fingerprint_words": words(row.digest),
        }
        for row in rows
    ]
    return answer({"enrolments": shown})


@router.get("/v1/enrolments/{partner}", responses=answers(models.EnrolmentState))
async def enrolment_state(
    service: TheService, caller: Authentic, partner: PartnerPath, wait: Wait = 0.0
) -> Response:
    if not caller.is_operator and caller.identity != partner:
        raise NotAllowed(f"{partner}, or the operator", caller.identity, "ask for your own enrolment")

    def read(session: Session) -> tuple[dict[str, Any], bool]:
        row = enrolments.find(session, partner)
        return {"partner": row.partner, "state": row.state}, row.state == enrolments.APPROVED

    return answer(await until_news(service, caller, ENROLMENTS, wait, read))


@router.post("/v1/enrolments/{partner}/approval", responses=answers(models.EnrolmentState))
def approve(service: TheService, body: OperatorBody, partner: PartnerPath) -> Response:
    del body
    row = enrolments.approve(service, partner)
    return answer({"partner": row.partner, "state": row.state})


@router.post(
    "/v1/charters",
    status_code=201,
    responses=answers(models.CharterDrafted, 201),
    openapi_extra=takes(Signed[Charter]),
)
def draft_charter(service: TheService, body: OperatorBody) -> Response:
    charter_digest = charters.draft(service, parse_signed(Charter, body.raw))
    return answer({"charter": charter_digest, "words": words(charter_digest)}, 201)


@router.get("/v1/charters/latest", responses=answers(models.CharterStandingShown))
async def latest_charter(service: TheService, caller: Authentic, wait: Wait = 0.0) -> Response:
    def read(session: Session) -> tuple[dict[str, Any] | None, bool]:
        standing = charters.latest(session)
        if standing is None:
            return None, False
        shown = {
            "charter": json.loads(standing.message),
            "acceptances": {partner: json.loads(raw) for partner, raw in standing.acceptances.items()},
            "in_force": standing.in_force,
        }
        return shown, standing.in_force

    shown = await until_news(service, caller, CHARTERS, wait, read)
    if shown is None:
        raise NotFound("a charter", "none drafted yet", "wait for the operator's draft")
    return answer(shown)


@router.post(
    "/v1/charters/{charter}/acceptances",
    status_code=201,
    responses=answers(models.Acceptance, 201),
    openapi_extra=takes(Signed[CharterAcceptance]),
)
def accept_charter(service: TheService, body: PartnerBody, charter: DigestPath) -> Response:
    signed = parse_signed(CharterAcceptance, body.raw)
    in_force = charters.accept(service, charter, body.caller.identity, signed)
    return answer({"in_force": in_force}, 201)
