"""The officer's pages: the budget's overview, a round. Signing in is sign_in.py's, the account account_pages.py's.

Rules:
1. Every page asks for a session first, and shows what its scope covers (standing.py).
2. Handlers are plain functions, so they run in worker threads: the accountant never holds up the event loop.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from aggregator.console.round_page import round_page
from aggregator.console.security import ConsoleRoute, SignedIn, TheService
from aggregator.console.standing import Pending, standings
from aggregator.console.words import STYLES, page, style
from privacy.errors import NotFound

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)


@router.get("")
def overview(request: Request, viewer: SignedIn, service: TheService) -> Response:
    shown = standings(request, service).overview(viewer)
    template = "pending.html" if isinstance(shown, Pending) else "overview.html"
    return page(request, template, shown=shown, signed_in=viewer)


@router.get("/rounds/{round_digest}")
def one_round(request: Request, round_digest: str, viewer: SignedIn, service: TheService) -> Response:
    return page(request, "round.html", shown=round_page(service, round_digest), signed_in=viewer)


@router.get("/static/{name}")
def static(name: str) -> Response:
    if name not in STYLES:
        raise NotFound("a style sheet of the console", name[:40], "open the console's pages")
    return PlainTextResponse(
        style(name), media_type="text/css; charset=utf-8", headers={"cache-control": "public, max-age=86400"}
    )


@router.get("/{path:path}")
def nowhere(path: str) -> Response:
    if not path:
        return RedirectResponse("/console", status_code=308)
    raise NotFound("a page of the console", path[:80], "open the overview")
