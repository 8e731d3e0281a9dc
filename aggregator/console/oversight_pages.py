"""Pages behind the overview: a participant, alarms; and the forms by which officers act.

Rules: those of pages.py, and
1. A form is sent with its session's token; what it asks for is decided in rounds/oversight.py, and answered by the
   page it came from (303), so that reloading sends nothing again.
2. What can be corrected comes back on its page, filled in as it was sent (refusals.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from aggregator.console.alarm_page import alarm_page
from aggregator.console.participant_page import participant_page
from aggregator.console.refusals import refused
from aggregator.console.security import ConsoleRoute, Form, SignedIn, TheService
from aggregator.console.standing import standings
from aggregator.console.words import page
from aggregator.rounds import oversight
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer
from privacy.errors import BudgetExhausted, Conflict, MalformedMessage, UnsafeParameters

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)

PageNumber = Annotated[str, Query(alias="page")]
_CORRECTED = (MalformedMessage, UnsafeParameters, BudgetExhausted, Conflict)


@router.get("/alarms")
def all_alarms(request: Request, viewer: SignedIn, service: TheService, number: PageNumber = "1") -> Response:
    return page(request, "alarms.html", shown=alarm_page(service, viewer, counted(number)), signed_in=viewer)


@router.get("/participants/{partner}")
def participant(request: Request, partner: str, viewer: SignedIn, service: TheService) -> Response:
    shown = participant_page(service, standings(request, service), viewer, partner)
    return page(request, "participant.html", shown=shown, signed_in=viewer)


@router.post("/participants/{partner}/suspend")
def suspend(request: Request, partner: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    def act(reason: str) -> None:
        oversight.suspend(service, viewer, partner, reason)

    return _acted(request, service, viewer, partner, "suspend", fields, act)


@router.post("/participants/{partner}/resume")
def resume(request: Request, partner: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    def act(reason: str) -> None:
        oversight.resume(service, viewer, partner, reason)

    return _acted(request, service, viewer, partner, "resume", fields, act)


@router.post("/participants/{partner}/tighten")
def tighten(request: Request, partner: str, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    def act(reason: str) -> None:
        in_sum, alone = (_number(fields.get(name, "")) for name in ("epsilon_in_sum", "epsilon_alone"))
        oversight.tighten_caps(service, viewer, partner, in_sum, alone, reason)

    return _acted(request, service, viewer, partner, "tighten", fields, act)


@router.post("/alarms/{alarm}/acknowledge")
def acknowledge(
    request: Request, alarm: str, fields: Form, viewer: SignedIn, service: TheService, number: PageNumber = "1"
) -> Response:
    try:
        oversight.acknowledge(service, viewer, alarm, fields.get("reason", ""))
    except _CORRECTED as error:
        shown = alarm_page(service, viewer, counted(number))
        came = refused(alarm, error, fields)
        return page(
            request,
            "alarms.html",
            status=error.status,
            at="/console/alarms",
            shown=shown,
            refused=came,
            signed_in=viewer,
        )
    return _back(f"/console/alarms?page={counted(number)}")


def _acted(
    request: Request,
    service: Service,
    viewer: Viewer,
    partner: str,
    form: str,
    fields: dict[str, str],
    act: Callable[[str], None],
) -> Response:
    """Rules 1 and 2."""
    back = f"/console/participants/{partner}"
    try:
        act(fields.get("reason", ""))
    except _CORRECTED as error:
        shown = participant_page(service, standings(request, service), viewer, partner)
        came = refused(form, error, fields)
        return page(
            request, "participant.html", status=error.status, at=back, shown=shown, refused=came, signed_in=viewer
        )
    return _back(back)


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
