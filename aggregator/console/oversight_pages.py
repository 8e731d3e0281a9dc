"""Pages behind the overview: alarms.

Rules: those of pages.py.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from aggregator.console.alarm_page import alarm_page
from aggregator.console.security import ConsoleRoute, SignedIn, TheService
from aggregator.console.words import page

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)

PageNumber = Annotated[str, Query(alias="page")]


@router.get("/alarms")
def all_alarms(request: Request, viewer: SignedIn, service: TheService, number: PageNumber = "1") -> Response:
    return page(request, "alarms.html", shown=alarm_page(service, viewer, counted(number)), signed_in=viewer)


def counted(text: str) -> int:
    """A page's number; what is none is the first."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
