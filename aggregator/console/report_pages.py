"""Reports to download: a form for what and when, then the file and its signature side by side (docs/reports.md).

Rules: those of pages.py, and
1. A form makes a report; the page it leads to offers the bytes that were made, and the signature of just these.
2. A form that is refused comes back filled in.
3. Whoever has another scope gets the same answer as for a report that is not there.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from aggregator.console.refusals import Refused, refused
from aggregator.console.security import ConsoleRoute, Form, SignedIn, TheService
from aggregator.console.words import LANGUAGE_NAMES, page
from aggregator.rounds.records import charter_in_force
from aggregator.rounds.reporting import make_report
from aggregator.storage.reports import MadeReport
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer
from privacy.errors import ConfigurationError, NotAllowed, NotFound, ServiceUnavailable
from privacy.report.shown import day
from privacy.report.signature import FORMATS, SUFFIX, format_of

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)


@router.get("/reports")
def choose(request: Request, viewer: SignedIn, service: TheService) -> Response:
    return _form(request, viewer, service)


def _form(
    request: Request, viewer: Viewer, service: Service, *, status: int = 200, came: Refused | None = None
) -> Response:
    with service.database.read() as session:
        charter = charter_in_force(session)[1]
    subjects = [(entry.partner, entry.name) for entry in charter.roster if viewer.may_see(entry.partner)]
    shown: dict[str, Any] = {
        "subjects": subjects,
        "formats": FORMATS,
        "languages": LANGUAGE_NAMES,
        "today": day(service.now()),
    }
    return page(
        request, "reports.html", status=status, shown=shown, refused=came, signed_in=viewer, at="/console/reports"
    )


@router.post("/reports")
def make(request: Request, fields: Form, viewer: SignedIn, service: TheService) -> Response:
    participant = fields.get("participant") or None
    allowed = viewer.whole_consortium if participant is None else viewer.may_see(participant)
    if not allowed:
        raise NotAllowed(f"a report on {viewer.scope}", participant or "the consortium", "choose your own")
    language = fields.get("in", "en")
    try:
        form = format_of(fields.get("format", "pdf"))
        made = make_report(service, participant, form, language, fields.get("from"), fields.get("to"))
    except (ConfigurationError, ServiceUnavailable) as error:
        return _form(request, viewer, service, status=error.status, came=refused("reports", error, fields))
    service.reports.keep(made, service.clock.now())
    return RedirectResponse(f"/console/reports/{made.sha256}", status_code=303)


@router.get("/reports/{sha256}")
def made(request: Request, sha256: str, viewer: SignedIn, service: TheService) -> Response:
    return page(request, "report_made.html", shown=_found(service, viewer, sha256), signed_in=viewer)


@router.get("/reports/{sha256}/file")
def file(sha256: str, viewer: SignedIn, service: TheService) -> Response:
    found = _found(service, viewer, sha256)
    return _download(found.name, found.raw, found.media_type)


@router.get("/reports/{sha256}/signature")
def signature(sha256: str, viewer: SignedIn, service: TheService) -> Response:
    found = _found(service, viewer, sha256)
    return _download(found.name + SUFFIX, found.signature, "application/json")


def _found(service: Service, viewer: Viewer, sha256: str) -> MadeReport:
    """Rule 3."""
    found = service.reports.find(sha256, service.clock.now())
    if not (viewer.whole_consortium if found.participant is None else viewer.may_see(found.participant)):
        raise NotFound("a report that was made lately", sha256[:64], "make it again")
    return found


def _download(name: str, raw: bytes, media_type: str) -> Response:
    # Ids, days and formats make the name: ASCII without quotes.
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(raw, media_type=media_type, headers=headers)
