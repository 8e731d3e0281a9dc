"""What surrounds every page: headers, the session cookie, and errors that people can read.

Rules:
1. Pages run no script and load nothing from elsewhere; the policy says so without `unsafe-inline`.
2. The session's token is in a cookie that scripts cannot read and other sites cannot send (SameSite=Strict). A POST
   that a browser marks as coming from another site is refused, and so is one without its session's form token.
3. Pages are not stored by browsers or proxies; no referrer leaves, for a sign-in link is a secret.
4. Who is not signed in gets the sign-in page with status 401; errors of the project become a page, never JSON.
5. Pages are counted (storage/rates.py): for a session once it has been found to be one, before that for the
   address.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from aggregator.arrival import read_body
from aggregator.console.cookies import CSRF_FIELD, SESSION_COOKIE, check_csrf, delete_cookie, read_cookie
from aggregator.console.refusals import words_of
from aggregator.console.words import page
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer, find_session, touch_session
from aggregator.storage.sign_in_limits import network
from aggregator.storage.tokens import token_digest
from privacy.errors import (
    ChoraleError,
    MalformedMessage,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooManyRequests,
)
from privacy.protocol.http_contract import RETRY_HEADER

MAX_FORM_BYTES = 4096
# Beside those of every answer (api/headers.py).
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "permissions-policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
}

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ConsoleRoute(APIRoute):
    """A route whose answers carry HEADERS, and whose errors are pages (rules 1, 3 and 4)."""

    def get_route_handler(self) -> _Handler:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                _count(request)
                response = await answer(request)
            except ChoraleError as error:
                response = error_page(request, error)
                if isinstance(error, TooManyRequests):
                    response.headers[RETRY_HEADER] = str(error.retry_after)
            response.headers.update(HEADERS)
            return response

        return handler


def the_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def signed_in(request: Request) -> Viewer:
    """Whose request this is. Raises NotAuthenticated."""
    viewer = _viewer(request, setting_up=False)
    request.state.viewer = viewer
    return viewer


def setting_up(request: Request) -> Viewer:
    """Who opened an account's link and can do nothing but take the account into use. Raises NotAuthenticated."""
    return _viewer(request, setting_up=True)


def _count(request: Request) -> None:
    """Rule 5. Raises TooManyRequests."""
    service = the_service(request)
    now = service.clock.now()
    token = read_cookie(request, SESSION_COOKIE)
    if token and service.rates.knows("session", token_digest(token)):
        service.rates.take("session", token_digest(token), now)
    else:
        service.rates.take("address", network(request.client.host if request.client else ""), now)


def _viewer(request: Request, *, setting_up: bool) -> Viewer:
    service = the_service(request)
    token = read_cookie(request, SESSION_COOKIE)
    now = service.clock.now()
    with service.database.read() as session:
        viewer, due = find_session(
            session, token, now, service.settings.session_idle_seconds, setting_up=setting_up
        )
    service.rates.meet("session", token_digest(token), now)
    if due:
        with service.database.write() as session:
            touch_session(session, token, now)
    return viewer


async def form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form that we showed to this session, without its token.

    Raises NotAllowed, TooLarge, MalformedMessage.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise NotAllowed("a form of this console", "one sent by another site", "open the console itself")
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=bool(body), max_num_fields=8)
    except ValueError as error:
        raise MalformedMessage("a urlencoded form", str(error), "use the console's own page") from error
    first = {name: values[0] for name, values in fields.items()}
    check_csrf(request, first.pop(CSRF_FIELD, ""))
    return first


TheService = Annotated[Service, Depends(the_service)]
SignedIn = Annotated[Viewer, Depends(signed_in)]
SettingUp = Annotated[Viewer, Depends(setting_up)]
Form = Annotated[dict[str, str], Depends(form)]


def sign_in_form(
    request: Request, *, status: int = 200, about: str = "welcome", name: str = "", session_ends: bool = False
) -> Response:
    """The page that asks for name, password and code; about: what it says first; name: what was typed before."""
    oidc = the_service(request).settings.oidc
    return page(
        request,
        "sign_in.html",
        status=status,
        about=about,
        name=name if name.isprintable() else "",
        provider=None if oidc is None else oidc.name or oidc.issuer,
        signed_in=None,
        session_ends=session_ends,
        at="/console/sign-in",
    )


def error_page(request: Request, error: ChoraleError) -> Response:
    if isinstance(error, NotAuthenticated):
        response = sign_in_form(request, status=401, about="needed", session_ends=True)
        # Who comes from another site comes without the strict cookie, and keeps it.
        if read_cookie(request, SESSION_COOKIE):
            delete_cookie(request, response, SESSION_COOKIE)
        return response
    # Known where the error came after the session was found: its page then keeps the bar and its links.
    viewer = getattr(request.state, "viewer", None)
    if isinstance(error, NotFound):
        return page(request, "notice.html", status=404, about="error.not_found", signed_in=viewer, back=True)
    return page(request, "error.html", status=error.status, error=error, words=words_of(error), signed_in=viewer)
