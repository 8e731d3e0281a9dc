"""Pages behind the overview: a participant, alarms; and the forms by which officers act.

Rules: those of pages.py, and
1. A form is sent with its session's token; what it asks for is decided in rounds/oversight.py, and answered by the
   page it came from (303), so that reloading sends nothing again.
"""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from aggregator.console.alarm_page import alarm_page
from aggregator.console.participant_page import participant_page
from aggregator.console.security import ConsoleRoute, Form, SignedIn, TheService
from aggregator.console.standing import standings
from aggregator.console.words import page
from aggregator.rounds import oversight
from privacy.errors import MalformedMessage

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)

PageNumber = Annotated[str, Query(alias="page")]


@router.get("/alarms")
def all_alarms(request: Request, viewer: SignedIn, service: TheService, number: PageNumber = "1") -> Response:
    return page(request, "alarms.html", shown=alarm_page(service, viewer, counted(number)), signed_in=viewer)


@router.get("/participants/{partner}")
def participant(request: Request, partner: str, viewer: SignedIn, service: TheService) -> Response:
    shown = participant_page(service, standings(request, service), viewer, partner)
    return page(request, "participant.html", shown=shown, signed_in=viewer)


@router.post("/participants/{partner}/suspend")
def suspend(partner: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    oversight.suspend(service, viewer, partner, fields.get("reason", ""))
    return _back(f"/console/participants/{partner}")


@router.post("/participants/{partner}/resume")
def resume(partner: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    oversight.resume(service, viewer, partner, fields.get("reason", ""))
    return _back(f"/console/participants/{partner}")


@router.post("/participants/{partner}/tighten")
def tighten(partner: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    oversight.tighten_caps(
        service,
        viewer,
        partner,
        _number(fields.get("epsilon_in_sum", "")),
        _number(fields.get("epsilon_alone", "")),
        fields.get("reason", ""),
    )
    return _back(f"/console/participants/{partner}")


@router.post("/alarms/{alarm}/acknowledge")
def acknowledge(alarm: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    oversight.acknowledge(service, viewer, alarm, fields.get("reason", ""))
    return _back("/console/alarms")


def _back(path: str) -> Response:
    return RedirectResponse(path, status_code=303)


def _number(text: str) -> float:
    """Raises MalformedMessage."""
    try:
        value = float(text) if len(text) < 40 else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise MalformedMessage("a positive number, such as 7.5", repr(text[:40]), "correct the cap")
    return value


def counted(text: str) -> int:
    """A page's number; what is none is the first."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
