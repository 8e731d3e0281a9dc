"""The route of reports: the file and its signature in one answer (docs/http.md)."""

from __future__ import annotations

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from aggregator.api.authentication import Authentic, TheService
from aggregator.api.routes import answers
from aggregator.rounds.reporting import make_report
from privacy.errors import NotAllowed
from privacy.protocol.http_contract import FRAME_TYPE, frame
from privacy.report.signature import format_of

router = APIRouter()


@router.get("/v1/report", responses=answers(FRAME_TYPE))
async def report(
    service: TheService,
    caller: Authentic,
    form: str = Query("pdf", alias="format", max_length=8),
    language: str = Query("en", max_length=8),
    participant: str = Query("", max_length=32),
    first: str = Query("", alias="from", max_length=10),
    last: str = Query("", alias="to", max_length=10),
) -> Response:
    """A frame: the signature file, then the report. A partner gets its own; the operator anyone's, or all."""
    subject = participant or (None if caller.is_operator else caller.identity)
    if not caller.is_operator and subject != caller.identity:
        raise NotAllowed(f"a report on {caller.identity}", f"one on {participant}", "ask for your own")
    made = await run_in_threadpool(make_report, service, subject, format_of(form), language, first, last)
    return Response(frame(made.signature, made.raw), media_type=FRAME_TYPE)
