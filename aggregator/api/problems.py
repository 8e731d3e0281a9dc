"""Errors as RFC 9457 problems: whatever goes wrong, the answer says what was expected, what came, and what to do.

Rules:
1. Nothing that a client sends makes a 500; what is not understood is a 422, what is nowhere is a 404.
2. What was not foreseen is logged with its trace, and answered without one.
3. A full disk is 507, wherever it shows: nothing was taken, and the same request may be sent again later.
"""

from __future__ import annotations

import errno
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from aggregator.api import headers
from privacy.errors import (
    BodyTooSlow,
    ChoraleError,
    MalformedMessage,
    NotFound,
    ServiceUnavailable,
    StorageFull,
    TooManyRequests,
)
from privacy.protocol.http_contract import PROBLEM_TYPE, RETRY_HEADER
from privacy.protocol.problems import problem_of

_METHODS = ("GET", "POST", "PUT")

_log = structlog.get_logger("chorale.problems")


def problem(error: Exception, status: int | None = None) -> JSONResponse:
    """The answer to an error; `status` where HTTP knows a better one than the error's kind."""
    document = problem_of(error)
    if status is not None:
        document["status"] = status
    answer = JSONResponse(document, status_code=document["status"], media_type=PROBLEM_TYPE)
    if isinstance(error, TooManyRequests):
        answer.headers[RETRY_HEADER] = str(error.retry_after)
    if isinstance(error, BodyTooSlow):
        answer.headers["connection"] = "close"  # or the rest of the body would be waited for
    return answer


async def _chorale_error(request: Request, error: Exception) -> JSONResponse:
    del request
    if isinstance(error, ChoraleError) and error.status >= 500 and not isinstance(error, BodyTooSlow):
        _log.error("failed", code=error.code, detail=str(error))
    return problem(error)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0] if error.errors() else {"loc": (), "msg": "malformed"}
    where = ".".join(str(part) for part in first["loc"])
    return problem(
        MalformedMessage("a request as docs/openapi.json has it", f"{where}: {first['msg']}", "correct the request")
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    came = f"{request.method} {request.url.path}"[:300]
    if error.status_code in (404, 405):
        answer = problem(NotFound("a route of docs/http.md", came, "check method and path"), error.status_code)
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(_allowed(request))
        return answer
    return problem(MalformedMessage("a well-formed HTTP request", came, "correct the request"), error.status_code)


def _allowed(request: Request) -> list[str]:
    """The methods of every route with this path (RFC 9110, 15.5.6); the framework names the first route's alone."""
    asked = [(method, {**request.scope, "method": method}) for method in _METHODS]
    routes = request.app.routes
    return [method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _disk_error(request: Request, error: Exception) -> JSONResponse:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full = full or (isinstance(error, OperationalError) and _says(error, "disk is full", "No space left"))
    if full:
        _log.error("disk-full")
        return problem(
            StorageFull("room on the service's disk", "a full disk", "nothing was taken: send it again later")
        )
    if isinstance(error, OperationalError) and _says(error, "locked"):
        return problem(
            ServiceUnavailable("a database that is free", "one that stayed locked", "send the request again")
        )
    if isinstance(error, OperationalError) and (error.connection_invalidated or _says(error, "connection")):
        _log.error("database-away", detail=str(error.orig))
        return problem(ServiceUnavailable("the database", "no answer from it", "send the request again later"))
    return await _unforeseen(request, error)


def _says(error: OperationalError, *texts: str) -> bool:
    return any(text in str(error.orig) for text in texts)


async def _no_connection(request: Request, error: Exception) -> JSONResponse:
    del request, error
    _log.error("no-connection")
    return problem(
        ServiceUnavailable("a free connection to the database", "none in time", "send the request again")
    )


async def _gone(request: Request, error: Exception) -> JSONResponse:
    del request, error
    return problem(MalformedMessage("the whole body", "a connection that ended before it", "send it again"), 400)


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    _log.error("unforeseen", method=request.method, path=request.url.path, exc_info=error)
    answer = problem(error)
    # This one is answered outside of the middleware that adds them.
    settings = request.app.state.service.settings
    headers.add(answer.headers, https=settings.reached_by_https(request.url.scheme))
    return answer


def install(app: FastAPI) -> None:
    app.add_exception_handler(ChoraleError, _chorale_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, _disk_error)
    app.add_exception_handler(OperationalError, _disk_error)
    app.add_exception_handler(NoConnection, _no_connection)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)
