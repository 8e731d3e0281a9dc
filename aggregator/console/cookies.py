"""The console's cookies, and the token that ties a form to them.

Rules:
1. Over HTTPS a cookie is Secure and has the `__Host-` prefix, so that no neighbouring host can plant one.
2. Every form carries `csrf`: an HMAC under the session's token or, before sign-in, under a cookie of its own. A
   form made for another session, or by another site, does not have it.
3. The token in the cookie changes at every sign-in: what was in the browser before is worth nothing after.
"""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request, Response

from aggregator.storage.service import Service
from aggregator.storage.tokens import new_token
from privacy.errors import NotAllowed

SESSION_COOKIE = "chorale-officer"
FORM_COOKIE = "chorale-form"
LANGUAGE_COOKIE = "chorale-language"
BROWSER_COOKIE = "chorale-browser"
PROVIDER_COOKIE = "chorale-oidc"
CSRF_FIELD = "csrf"
COOKIE_PATH = "/console"


def is_https(request: Request) -> bool:
    service: Service = request.app.state.service
    return service.settings.reached_by_https(request.url.scheme)


def read_cookie(request: Request, name: str) -> str:
    """Its value; empty where there is none."""
    return request.cookies.get(_full(request, name), "")


def set_cookie(
    request: Request, response: Response, name: str, value: str, seconds: int | None = None, *, lax: bool = False
) -> None:
    """Until the browser ends, unless told for how many seconds. lax: sent along when another site leads here."""
    https = is_https(request)
    response.set_cookie(
        _full(request, name),
        value,
        max_age=seconds,
        path="/" if https else COOKIE_PATH,
        secure=https,
        httponly=True,
        samesite="lax" if lax else "strict",
    )


def delete_cookie(request: Request, response: Response, name: str, *, lax: bool = False) -> None:
    set_cookie(request, response, name, "", 0, lax=lax)


def csrf_token(request: Request, *, session_ends: bool = False) -> tuple[str, str | None]:
    """(the token for forms of a page, a value for FORM_COOKIE if the page has to set it).

    session_ends: the answer takes the session's cookie away.
    """
    known = read_cookie(request, FORM_COOKIE) if session_ends else _secret(request)
    if known:
        return _token(known), None
    service: Service = request.app.state.service
    fresh = new_token(service.source)
    return _token(fresh), fresh


def check_csrf(request: Request, came: str) -> None:
    """Raises NotAllowed unless this is the token of this browser's session."""
    known = _secret(request)
    if not known or not hmac.compare_digest(_token(known).encode(), came.encode()):
        raise NotAllowed(
            "a form that this console showed to this session",
            "one without its token, or with another's",
            "open the page again, and send its form",
        )


def _secret(request: Request) -> str:
    return read_cookie(request, SESSION_COOKIE) or read_cookie(request, FORM_COOKIE)


def _token(secret: str) -> str:
    return hmac.new(secret.encode(), b"chorale/1 console form", hashlib.sha256).hexdigest()


def _full(request: Request, name: str) -> str:
    return f"__Host-{name}" if is_https(request) else name
