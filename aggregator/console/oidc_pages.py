"""Signing in through the identity provider: out to it, and back.

Rules:
1. One cookie holds a secret of this one sign-in; state, nonce and PKCE verifier are made of it, so that nothing is
   stored for strangers. It is Lax, for the way back is a navigation from another site; the answer takes it away.
2. What comes back counts only in the browser that went out: its state is compared, in constant time (RFC 6749,
   10.12), and so is the issuer that the provider names (RFC 9207).
3. Who the provider says somebody is opens the account that the operator made for that identity, and no other.
4. The way back comes from another site, so the browser withholds strict cookies from where it is redirected to: the
   answer is a page that goes on by itself.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from aggregator.console.admission import admit
from aggregator.console.cookies import PROVIDER_COOKIE, delete_cookie, read_cookie, set_cookie
from aggregator.console.security import ConsoleRoute, TheService, sign_in_form
from aggregator.console.sign_in import enter, whence
from aggregator.console.words import page
from aggregator.storage import accounts, sign_in_limits
from aggregator.storage.tokens import new_token
from privacy.errors import NotAuthenticated, NotFound, ServiceUnavailable, TooManyAttempts

if TYPE_CHECKING:
    from aggregator.console.provider import Provider

SIGN_IN_SECONDS = 900

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)
_log = structlog.get_logger("chorale.console")


@router.get("/oidc")
def go_out(request: Request, service: TheService) -> Response:
    secret = new_token(service.source)
    try:
        url = _provider(request).authorization_url(*_parts(secret))
    except (ServiceUnavailable, NotAuthenticated) as error:
        _log.error("provider-failed", detail=str(error))
        return sign_in_form(request, status=503, about="provider_absent")
    response = RedirectResponse(url, status_code=302)
    set_cookie(request, response, PROVIDER_COOKIE, secret, SIGN_IN_SECONDS, lax=True)
    return response


@router.get("/oidc/return")
def come_back(
    request: Request, service: TheService, code: str = "", state: str = "", iss: str | None = None
) -> Response:
    provider = _provider(request)
    secret = read_cookie(request, PROVIDER_COOKIE)
    wanted, nonce, verifier = _parts(secret)
    place = sign_in_limits.from_provider(request.client.host if request.client else "")
    try:
        if not secret or not code or not hmac.compare_digest(wanted.encode(), state.encode()):
            raise NotAuthenticated("the answer to a sign-in of this browser", "another", "begin again")
        if iss is not None and iss != provider.issuer:
            raise NotAuthenticated(f"an answer of {provider.issuer}", "another issuer's", "begin again")
        now = service.clock.now()
        with service.database.write() as session:
            sign_in_limits.begin(session, place, now)
        identity = provider.identity(code, nonce, verifier)
        with service.database.write() as session:
            account = accounts.by_provider(session, identity.subject, identity.email)
            sign_in_limits.succeeded(session, place, now)
            admitted = admit(session, service, account, whence(request), "provider")
    except NotAuthenticated as error:
        _log.warning("provider-sign-in-refused", detail=str(error))
        response = sign_in_form(request, status=401, about="provider_refused")
    except (ServiceUnavailable, TooManyAttempts) as error:
        _log.warning("provider-sign-in-failed", detail=str(error))
        about = "delayed" if isinstance(error, TooManyAttempts) else "provider_absent"
        response = sign_in_form(request, status=error.status, about=about)
    else:
        response = enter(request, service, admitted, to=page(request, "arrived.html", signed_in=None))
    delete_cookie(request, response, PROVIDER_COOKIE, lax=True)
    return response


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise NotFound("an identity provider", "none in chorale-server.toml", "sign in with a password")
    return provider


def _parts(secret: str) -> tuple[str, str, str]:
    """(state, nonce, verifier): 64 hex characters each, none of which tells another."""
    state, nonce, verifier = (
        hmac.new(secret.encode(), f"chorale/1 oidc {part}".encode(), hashlib.sha256).hexdigest()
        for part in ("state", "nonce", "verifier")
    )
    return state, nonce, verifier
