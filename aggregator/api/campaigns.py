"""Routes of campaigns: proposing, countersigning, states on their way, rounds, the lease (protocol 3)."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy.orm import Session

from aggregator.api import models
from aggregator.api.authentication import Authentic, OperatorBody, Partner, PartnerBody, TheService
from aggregator.api.routes import DigestPath, answer, answers, read_model, takes
from aggregator.api.waiting import Wait, until_news
from aggregator.rounds import admission
from aggregator.rounds import campaign as campaigns
from aggregator.rounds import state_boxes as boxes
from aggregator.rounds.records import campaign_row, campaign_topic, charter_of, require_view
from aggregator.storage.service import stored
from privacy.protocol.messages import Campaign, Signed, StateRequest, parse_signed

router = APIRouter()


@router.post(
    "/v1/campaigns",
    status_code=201,
    responses=answers(models.CampaignNamed, 201),
    openapi_extra=takes(Signed[Campaign]),
)
def propose(service: TheService, body: PartnerBody) -> Response:
    digest = campaigns.propose(service, body.caller.identity, parse_signed(Campaign, body.raw))
    return answer({"campaign": digest}, 201)


@router.get("/v1/campaigns", responses=answers(models.Campaigns))
def list_campaigns(service: TheService, caller: Authentic) -> Response:
    with service.database.read() as session:
        rows = [
            row
            for row in campaigns.everything(session)
            if caller.is_operator or caller.identity in charter_of(session, row.charter).partners
        ]
    shown = [
        {
            "campaign": row.digest,
            "name": stored(Campaign, row.message).body.name,
            "charter": row.charter,
            "in_force": row.in_force,
        }
        for row in rows
    ]
    return answer({"campaigns": shown})


@router.get("/v1/campaigns/{campaign}", responses=answers(models.CampaignShown))
async def campaign(service: TheService, caller: Authentic, campaign: DigestPath, wait: Wait = 0.0) -> Response:
    def read(session: Session) -> tuple[dict[str, Any], bool]:
        row = campaign_row(session, campaign)
        require_view(session, row.charter, caller.identity)
        return {"campaign": json.loads(row.message), "in_force": row.in_force}, row.in_force

    return answer(await until_news(service, caller, campaign_topic(campaign), wait, read))


@router.post(
    "/v1/campaigns/{campaign}/countersignature",
    status_code=201,
    responses=answers(models.CampaignNamed, 201),
    openapi_extra=takes(Signed[Campaign]),
)
def countersign(service: TheService, body: OperatorBody, campaign: DigestPath) -> Response:
    campaigns.countersign(service, campaign, parse_signed(Campaign, body.raw))
    return answer({"campaign": campaign}, 201)


@router.get("/v1/campaigns/{campaign}/state-boxes/{state}", responses=answers(models.StateBoxes))
async def state_boxes(
    service: TheService, caller: Partner, campaign: DigestPath, state: DigestPath, wait: Wait = 0.0
) -> Response:
    def read(session: Session) -> tuple[dict[str, Any], bool]:
        require_view(session, campaign_row(session, campaign).charter, caller.identity)
        rows = boxes.boxes_for(session, campaign, state, caller.identity)
        return {"boxes": [json.loads(row.message) for row in rows]}, bool(rows)

    return answer(await until_news(service, caller, campaign_topic(campaign), wait, read))


@router.post(
    "/v1/campaigns/{campaign}/state-requests",
    status_code=201,
    responses=answers(models.Taken, 201),
    openapi_extra=takes(Signed[StateRequest]),
)
def request_state(service: TheService, body: PartnerBody, campaign: DigestPath) -> Response:
    boxes.request_state(service, campaign, body.caller.identity, parse_signed(StateRequest, body.raw))
    return answer({"taken": True}, 201)


@router.get("/v1/campaigns/{campaign}/state-requests", responses=answers(models.StateRequests))
def state_requests(service: TheService, caller: Partner, campaign: DigestPath) -> Response:
    with service.database.read() as session:
        require_view(session, campaign_row(session, campaign).charter, caller.identity)
        rows = boxes.open_requests(session, campaign)
    return answer({"requests": [json.loads(row.message) for row in rows]})


@router.get("/v1/campaigns/{campaign}/rounds", responses=answers(models.Rounds))
async def list_rounds(
    service: TheService,
    caller: Authentic,
    campaign: DigestPath,
    after: int = Query(0, ge=0, le=1 << 40),
    wait: Wait = 0.0,
) -> Response:
    def read(session: Session) -> tuple[dict[str, Any], bool]:
        require_view(session, campaign_row(session, campaign).charter, caller.identity)
        rows = admission.listed(session, campaign, after)
        shown = [
            {"round": row.round, "number": row.number, "attempt": row.attempt, "state": row.state} for row in rows
        ]
        return {"rounds": shown}, bool(rows)

    return answer(await until_news(service, caller, campaign_topic(campaign), wait, read))


@router.post("/v1/conductor-lease", responses=answers(models.Lease), openapi_extra=takes(models.LeaseRequest))
def lease(service: TheService, body: OperatorBody) -> Response:
    wanted = read_model(models.LeaseRequest, body.raw)
    until = campaigns.lease(service, wanted.campaign, wanted.holder, wanted.seconds)
    return answer({"held": True, "until": until})
