"""Signing in and out: with name, password and code, or by a one-time link.

Rules:
1. A link is redeemed by a POST that a person confirms: mail scanners and previews follow links, and would burn it.
2. The answer to a wrong name, a wrong password and a wrong code is one and the same.
3. Whoever signed in comes to the overview: no address that a request names is ever gone to.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from aggregator.console.admission import Admitted, Typed, Whence, by_password
from aggregator.console.cookies import (
    BROWSER_COOKIE,
    FORM_COOKIE,
    SESSION_COOKIE,
    delete_cookie,
    read_cookie,
    set_cookie,
)
from aggregator.console.security import ConsoleRoute, Form, SignedIn, TheService, sign_in_form
from aggregator.console.words import page
from aggregator.storage.accounts import KNOWN_BROWSER_SECONDS
from aggregator.storage.links import redeem_link
from aggregator.storage.service import Service
from aggregator.storage.sessions import open_session, revoke_all, revoke_session
from privacy.errors import NotAuthenticated, ServiceUnavailable, TooManyAttempts

SET_UP_SECONDS = 1800

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)


@router.get("/sign-in")
def sign_in_page(request: Request, link: str = "") -> Response:
    if link:
        return page(request, "link.html", link=link, signed_in=None)
    return sign_in_form(request)


@router.post("/sign-in")
def sign_in(request: Request, fields: Form, service: TheService) -> Response:
    if "link" in fields:
        return _by_link(request, fields["link"], service)
    typed = Typed(fields.get("name", ""), fields.get("password", ""), fields.get("code", ""))
    try:
        admitted = by_password(service, typed, whence(request))
    except NotAuthenticated as error:
        return sign_in_form(request, status=error.status, about="refused", name=typed.name)
    except (TooManyAttempts, ServiceUnavailable) as error:
        return sign_in_form(request, status=error.status, about="delayed", name=typed.name)
    return enter(request, service, admitted)


@router.post("/sign-out")
def sign_out(request: Request, fields: Form, service: TheService) -> Response:
    del fields  # read for its check of where the form came from
    with service.database.write() as session:
        revoke_session(session, read_cookie(request, SESSION_COOKIE), service.clock.now())
    return _signed_out(request)


@router.post("/sign-out-everywhere")
def sign_out_everywhere(request: Request, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    del fields
    now = service.clock.now()
    with service.database.write() as session:
        revoke_session(session, read_cookie(request, SESSION_COOKIE), now)
        if viewer.account is not None:
            revoke_all(session, viewer.account, now)
    return _signed_out(request)


def whence(request: Request) -> Whence:
    return Whence(
        address=request.client.host if request.client else "",
        browser=read_cookie(request, BROWSER_COOKIE),
        session=read_cookie(request, SESSION_COOKIE),
    )


def enter(request: Request, service: Service, admitted: Admitted, *, to: Response | None = None) -> Response:
    """The answer that puts a new session into the browser; a redirect to the overview unless told otherwise."""
    response = to or RedirectResponse("/console", status_code=303)
    set_cookie(request, response, SESSION_COOKIE, admitted.session, service.settings.session_seconds)
    set_cookie(request, response, BROWSER_COOKIE, admitted.browser, KNOWN_BROWSER_SECONDS)
    delete_cookie(request, response, FORM_COOKIE)
    return response


def _by_link(request: Request, link: str, service: Service) -> Response:
    now = service.clock.now()
    try:
        with service.database.write() as session:
            who = redeem_link(session, link, now)
            seconds = SET_UP_SECONDS if who.setting_up else service.settings.session_seconds
            revoke_session(session, read_cookie(request, SESSION_COOKIE), now)
            token = open_session(session, who, now, seconds, service.source)
    except NotAuthenticated:
        return page(request, "notice.html", status=401, about="sign_in.link_refused", signed_in=None)
    response = RedirectResponse("/console/set-up" if who.setting_up else "/console", status_code=303)
    set_cookie(request, response, SESSION_COOKIE, token, seconds)
    return response


def _signed_out(request: Request) -> Response:
    response = sign_in_form(request, about="signed_out", session_ends=True)
    delete_cookie(request, response, SESSION_COOKIE)
    return response
