"""Routes of the ledger and the budget (protocol 6.4)."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from aggregator.api import models
from aggregator.api.authentication import Authentic, TheService
from aggregator.api.routes import LINES_TYPE, answer, answers, message
from aggregator.rounds.ledger_export import preamble
from aggregator.rounds.records import charter_in_force, require_roster
from aggregator.storage import ledger
from aggregator.storage.service import Service
from privacy.dp.budget import HoldingState
from privacy.ledger.checkpoint import sign_checkpoint
from privacy.protocol.messages import Checkpoint, Signed

router = APIRouter()
MAX_LINES = 1_000_000
PAGE_LINES = 500


@router.get("/v1/ledger", responses=answers(LINES_TYPE))
def ledger_lines(
    service: TheService,
    caller: Authentic,
    after: int = Query(0, ge=0, le=1 << 50),
    limit: int = Query(MAX_LINES, ge=1, le=MAX_LINES),
) -> Response:
    _require_standing(service, caller.identity, caller.is_operator)

    def pages() -> Iterator[bytes]:
        # A session a page: who reads slowly holds no connection meanwhile. What was read once never changes.
        sent = 0
        while sent < limit:
            with service.database.read() as session:
                page = list(ledger.lines(session, after + sent, min(PAGE_LINES, limit - sent)))
            if not page:
                return
            sent += len(page)
            yield b"".join(entry + b"\n" for entry in page)

    return StreamingResponse(pages(), media_type=LINES_TYPE)


@router.get("/v1/ledger/preamble", responses=answers(LINES_TYPE))
def ledger_preamble(service: TheService, caller: Authentic) -> Response:
    _require_standing(service, caller.identity, caller.is_operator)
    return Response(preamble(service), media_type=LINES_TYPE)


@router.get("/v1/ledger/checkpoint", responses=answers(Signed[Checkpoint]))
def checkpoint(service: TheService, caller: Authentic) -> Response:
    _require_standing(service, caller.identity, caller.is_operator)
    with service.database.read() as session:
        charter_digest, _ = charter_in_force(session)
        signed = sign_checkpoint(charter_digest, ledger.head(session), service.keys.server)
    return message(signed.canonical_bytes)


@router.get("/v1/budget", responses=answers(models.Budgets))
def budget(service: TheService, caller: Authentic) -> Response:
    shown = []
    with service.database.read() as session:
        charter_digest, charter = charter_in_force(session)
        if not caller.is_operator:
            require_roster(charter, caller.identity)
        for participant in charter.partners if caller.is_operator else (caller.identity,):
            standing = ledger.budget(session, charter, charter_digest, participant)
            held = standing.holdings.values()
            rows = [
                {
                    "name": row.name,
                    "charged": sum(h.row == place and h.state is HoldingState.CHARGED for h in held),
                    "reserved": sum(h.row == place and h.state is HoldingState.RESERVED for h in held),
                    "count": row.count,
                    "left": standing.remaining(row.name),
                }
                for place, row in enumerate(standing.table)
            ]
            shown.append({"partner": participant, "rows": rows})
    return answer({"participants": shown})


def _require_standing(service: Service, identity: str, is_operator: bool) -> None:
    if not is_operator:
        with service.database.read() as session:
            require_roster(charter_in_force(session)[1], identity)
