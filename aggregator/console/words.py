"""From a template and a request to a page in the officer's language.

Rules:
1. The language is the one asked for (`?language=`), else the remembered one, else the first that the browser
   prefers and we have, else English. Asking remembers it in a cookie.
2. Figures, charts and their words come from privacy.report, so that report and console agree; the console's own
   words are in DOMAINS, one for each part of it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from aggregator.console.cookies import FORM_COOKIE, LANGUAGE_COOKIE, csrf_token, read_cookie, set_cookie
from privacy.report.catalogue import DEFAULT_LANGUAGE, LANGUAGES, Domain, catalogue
from privacy.report.render import environment, stylesheet
from privacy.report.written import said

DOMAINS = tuple(
    Domain("aggregator.console", name) for name in ("console", "noise", "record", "refusal", "sign_in", "download")
)
LANGUAGE_NAMES = {"en": "English", "ko": "한국어"}
_REMEMBERED_SECONDS = 365 * 86400


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    session_ends: bool = False,
    at: str | None = None,
    **values: Any,
) -> Response:
    """A page; `signed_in` must be among the values: a Viewer, or None. Its forms carry `csrf` (cookies.py).

    refused: a form of it that comes back (refusals.py). at: the address of a form's page, in an answer to the form.
    """
    language = language_of(request)
    csrf, fresh = csrf_token(request, session_ends=session_ends)
    t = catalogue(language, *DOMAINS)
    html = (
        _environment()
        .get_template(template)
        .render(
            t=t,
            said=partial(said, t=t),
            languages=[(code, LANGUAGE_NAMES[code], _same_page(request, code, at)) for code in LANGUAGES],
            styles=[f"/console/static/{name}?v={style_digest(name)}" for name in STYLES],
            here=request.url.path,
            csrf=csrf,
            **{"refused": None, **values},
        )
    )
    response = HTMLResponse(html, status_code=status, headers={"content-language": language})
    if request.query_params.get("language") == language:
        set_cookie(request, response, LANGUAGE_COOKIE, language, _REMEMBERED_SECONDS)
    if fresh is not None:
        set_cookie(request, response, FORM_COOKIE, fresh)
    return response


def language_of(request: Request) -> str:
    preferred = [part.split(";")[0].strip()[:2] for part in request.headers.get("accept-language", "").split(",")]
    asked = [request.query_params.get("language"), read_cookie(request, LANGUAGE_COOKIE), *preferred]
    return next((code for code in asked if code in LANGUAGES), DEFAULT_LANGUAGE)


def _same_page(request: Request, language: str, at: str | None) -> str:
    """Where the same is read in another language; what answers a form has no address but the page of its form."""
    if request.method != "GET":
        return f"{at or '/console'}?language={language}"
    url = request.url.include_query_params(language=language)
    return f"{url.path}?{url.query}"


STYLES = ("base.css", "console.css")


@lru_cache
def style(name: str) -> str:
    """The text of one of STYLES."""
    if name == "base.css":
        return stylesheet(name)
    return files("aggregator.console").joinpath("static", name).read_text("utf-8")


@lru_cache
def style_digest(name: str) -> str:
    return hashlib.sha256(style(name).encode()).hexdigest()[:12]


@lru_cache
def _environment() -> Environment:
    return environment(PackageLoader("aggregator.console", "templates"))
