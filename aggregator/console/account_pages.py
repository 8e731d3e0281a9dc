"""The pages by which a person takes an account into use and keeps it: password, authenticator, recovery codes.

Rules:
1. A set-up session shows one page; it ends in a new, full session, once password and a first code were taken.
2. In a full session, what changes the account asks for password and code again.
3. Secrets are shown once, in the answer to the form that asked for them: no address leads back to them.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from aggregator.console.admission import admit, confirm
from aggregator.console.cookies import SESSION_COOKIE, read_cookie
from aggregator.console.security import ConsoleRoute, Form, SettingUp, SignedIn, TheService
from aggregator.console.sign_in import enter, whence
from aggregator.console.words import page
from aggregator.storage import accounts, second_factor
from aggregator.storage.passwords import MIN_LENGTH, fault_of, hash_password
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer, revoke_all
from privacy.errors import NotAllowed, NotAuthenticated, NotFound, TooManyAttempts

ISSUER = "Chorale"

router = APIRouter(prefix="/console", route_class=ConsoleRoute, include_in_schema=False)


@router.get("/set-up")
def set_up_page(request: Request, viewer: SettingUp, service: TheService) -> Response:
    return _set_up(request, service, _name(viewer))


@router.post("/set-up")
def set_up(request: Request, viewer: SettingUp, fields: Form, service: TheService) -> Response:
    name = _name(viewer)
    fault = _fault(fields, name)
    if fault is not None:
        return _set_up(request, service, name, fault)
    hashed = hash_password(fields["password"], service.source)
    now = service.clock.now()
    try:
        with service.database.write() as session:
            codes = accounts.accept_factor(
                session, name, fields.get("code", ""), now, service.keys.server, service.source
            )
            accounts.set_password(session, name, hashed)
            revoke_all(session, name, now)
            admitted = admit(session, service, accounts.find(session, name), whence(request), "set-up")
    except NotAuthenticated:
        return _set_up(request, service, name, "code")
    return enter(request, service, admitted, to=_codes(request, codes))


@router.get("/account")
def account_page(request: Request, viewer: SignedIn, service: TheService) -> Response:
    return _account(request, viewer, service)


@router.post("/account/password")
def change_password(request: Request, viewer: SignedIn, fields: Form, service: TheService) -> Response:
    name = _name(viewer)
    fault = _fault(fields, name) or _unproved(service, name, fields)
    if fault is not None:
        return _account(request, viewer, service, password_fault=fault)
    hashed = hash_password(fields["password"], service.source)
    now = service.clock.now()
    with service.database.write() as session:
        accounts.set_password(session, name, hashed)
        revoke_all(session, name, now)
        admitted = admit(session, service, accounts.find(session, name), whence(request), "new password")
    return enter(request, service, admitted, to=RedirectResponse("/console/account?changed=1", status_code=303))


@router.post("/account/authenticator")
def change_authenticator(request: Request, viewer: SignedIn, fields: Form, service: TheService) -> Response:
    name = _name(viewer)
    fault = _unproved(service, name, fields)
    if fault is not None:
        return _account(request, viewer, service, factor_fault=fault)
    with service.database.write() as session:
        accounts.offer_factor(session, name, service.keys.server, service.source)
    return _authenticator(request, viewer, service)


@router.post("/account/authenticator/code")
def accept_authenticator(request: Request, viewer: SignedIn, fields: Form, service: TheService) -> Response:
    name = _name(viewer)
    try:
        with service.database.write() as session:
            codes = accounts.accept_factor(
                session, name, fields.get("code", ""), service.clock.now(), service.keys.server, service.source
            )
            own = read_cookie(request, SESSION_COOKIE)
            revoke_all(session, name, service.clock.now(), but=own)
    except NotAuthenticated:
        return _authenticator(request, viewer, service, fault="code")
    return _codes(request, codes)


def _name(viewer: Viewer) -> str:
    if viewer.account is None:
        raise NotAllowed("somebody with an account", "a visit by link", "ask the operator for an account")
    return viewer.account


def _fault(fields: dict[str, str], name: str) -> str | None:
    """What is wrong with a new password; None if nothing is."""
    password = fields.get("password", "")
    if password != fields.get("again", ""):
        return "differs"
    return fault_of(password, name)


def _unproved(service: Service, name: str, fields: dict[str, str]) -> str | None:
    """Rule 2: what is wrong with password and code."""
    try:
        confirm(service, name, fields.get("current", ""), fields.get("code", ""))
    except NotAuthenticated:
        return "refused"
    except TooManyAttempts:
        return "delayed"
    return None


def _set_up(request: Request, service: Service, name: str, fault: str | None = None) -> Response:
    values = {"account": name, "fault": fault, "signed_in": None, **_offered(service, name)}
    return page(
        request, "set_up.html", status=422 if fault else 200, at="/console/set-up", min_length=MIN_LENGTH, **values
    )


def _authenticator(request: Request, viewer: Viewer, service: Service, fault: str | None = None) -> Response:
    values = {"fault": fault, "signed_in": viewer, **_offered(service, _name(viewer))}
    return page(request, "authenticator.html", status=422 if fault else 200, at="/console/account", **values)


def _offered(service: Service, name: str) -> dict[str, Any]:
    """The second factor on offer, made now if there is none yet."""
    key = service.keys.server
    with service.database.write() as session:
        try:
            secret = accounts.offered_factor(session, name, key)
        except NotFound:
            accounts.offer_factor(session, name, key, service.source)
            secret = accounts.offered_factor(session, name, key)
    uri = second_factor.enrolment_uri(secret, name, ISSUER)
    side, path = second_factor.squares(uri)
    return {"secret": second_factor.grouped(secret), "uri": uri, "qr_side": side, "qr_path": path}


def _codes(request: Request, codes: tuple[str, ...]) -> Response:
    shown = [second_factor.grouped(code) for code in codes]
    return page(request, "recovery_codes.html", codes=shown, signed_in=None, at="/console/account")


def _account(
    request: Request,
    viewer: Viewer,
    service: Service,
    *,
    password_fault: str | None = None,
    factor_fault: str | None = None,
) -> Response:
    name = _name(viewer)
    with service.database.read() as session:
        account = accounts.find(session, name)
        left = accounts.recovery_codes_left(session, name)
    return page(
        request,
        "account.html",
        status=422 if password_fault or factor_fault else 200,
        account=account,
        codes_left=left,
        min_length=MIN_LENGTH,
        password_fault=password_fault,
        factor_fault=factor_fault,
        changed="changed" in request.query_params,
        signed_in=viewer,
        at="/console/account",
    )
