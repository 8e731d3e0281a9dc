"""The officer's pages: sign in by a one-time link, the budget's overview, a round.

Rules:
1. A link is redeemed by a POST that a person confirms: mail scanners and previews follow links, and would burn it.
2. Every page but sign-in asks for a session first, and shows what its scope covers (standing.py).
3. Handlers are plain functions, so they run in worker threads: the accountant never holds up the event loop.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from aggregator.console.cookies import SESSION_COOKIE, delete_cookie, read_cookie, set_cookie
from aggregator.console.round_page import round_page
from aggregator.console.security import ConsoleRoute, form, signed_in, the_service
from aggregator.console.standing import Pending, Standings
from aggregator.console.words import STYLES, page, style
from aggregator.storage.links import redeem_link
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer, open_session, revoke_session
from privacy.errors import NotAuthenticated, NotFound

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)

TheService = Annotated[Service, Depends(the_service)]
SignedIn = Annotated[Viewer, Depends(signed_in)]
Form = Annotated[dict[str, str], Depends(form)]


@router.get("")
def overview(request: Request, viewer: SignedIn, service: TheService) -> Response:
    shown = _standings(request, service).overview(viewer)
    template = "pending.html" if isinstance(shown, Pending) else "overview.html"
    return page(request, template, shown=shown, signed_in=viewer)


@router.get("/rounds/{round_digest}")
def one_round(request: Request, round_digest: str, viewer: SignedIn, service: TheService) -> Response:
    return page(request, "round.html", shown=round_page(service, round_digest), signed_in=viewer)


@router.get("/sign-in")
def sign_in_page(request: Request, link: str = "") -> Response:
    if not link:
        return page(request, "notice.html", status=401, about="sign_in.needed", signed_in=None)
    return page(request, "sign_in.html", link=link, signed_in=None)


@router.post("/sign-in")
def sign_in(request: Request, fields: Form, service: TheService) -> Response:
    seconds = service.settings.session_seconds
    now = service.clock.now()
    try:
        with service.database.write() as session:
            who = redeem_link(session, fields.get("link", ""), now)
            revoke_session(session, read_cookie(request, SESSION_COOKIE), now)
            token = open_session(session, who, now, seconds, service.source)
    except NotAuthenticated:
        return page(request, "notice.html", status=401, about="sign_in.refused", signed_in=None)
    response = RedirectResponse("/console", status_code=303)
    set_cookie(request, response, SESSION_COOKIE, token, seconds)
    return response


@router.post("/sign-out")
def sign_out(request: Request, fields: Form, service: TheService) -> Response:
    del fields  # read for its check of where the form came from
    with service.database.write() as session:
        revoke_session(session, read_cookie(request, SESSION_COOKIE), service.clock.now())
    response = page(request, "notice.html", about="sign_in.signed_out", signed_in=None)
    delete_cookie(request, response, SESSION_COOKIE)
    return response


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


def _standings(request: Request, service: Service) -> Standings:
    """One tally a service; two made at once by chance agree, and one of them is kept."""
    state = request.app.state
    if not hasattr(state, "console_standings"):
        state.console_standings = Standings(service)
    standings: Standings = state.console_standings
    return standings
