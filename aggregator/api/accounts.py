"""Routes of the console's accounts, for the operator: make, list, reset, disable; and links for visits.

Rules:
1. A scope is the consortium, or a partner of the charter in force; so accounts begin with a charter.
2. Each act is on the ledger, in its own transaction.
3. A link is answered once, to the request that made it; a reset makes another, and voids the one before.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response
from sqlalchemy.orm import Session

from aggregator.api import models
from aggregator.api.authentication import Operator, OperatorBody, TheService
from aggregator.api.routes import answer, answers, read_model, takes
from aggregator.names import ACCOUNT_PATTERN
from aggregator.rounds.records import charter_in_force, require_roster
from aggregator.storage import accounts, ledger
from aggregator.storage.accounts import Account
from aggregator.storage.links import create_account_link, create_link
from aggregator.storage.service import Service
from aggregator.storage.sessions import CONSORTIUM

router = APIRouter()
AccountPath = Annotated[str, Path(pattern=ACCOUNT_PATTERN)]


@router.post(
    "/v1/accounts",
    status_code=201,
    responses=answers(models.AccountOpened, 201),
    openapi_extra=takes(models.AccountRequest),
)
def create_account(service: TheService, body: OperatorBody) -> Response:
    wanted = read_model(models.AccountRequest, body.raw)
    with service.database.write() as session:
        account = accounts.create(
            session,
            wanted.name,
            wanted.role,
            wanted.scope,
            service.clock.now(),
            email=wanted.email,
            subject=wanted.subject,
        )
        _record(service, session, account.scope, f"account {account.name}: {account.role}, scope {account.scope}")
        return answer(_opened(service, session, account), 201)


@router.get("/v1/accounts", responses=answers(models.Accounts))
def list_accounts(service: TheService, caller: Operator) -> Response:
    del caller
    with service.database.read() as session:
        return answer({"accounts": [_shown(account) for account in accounts.everyone(session)]})


@router.post("/v1/accounts/{name}/reset", responses=answers(models.AccountOpened))
def reset_account(service: TheService, body: OperatorBody, name: AccountPath) -> Response:
    del body
    with service.database.write() as session:
        account = accounts.reset(session, name, service.clock.now())
        _record(service, session, account.scope, f"account {name} reset")
        return answer(_opened(service, session, account))


@router.post("/v1/accounts/{name}/disabling", responses=answers(models.AccountShown))
def disable_account(service: TheService, body: OperatorBody, name: AccountPath) -> Response:
    del body
    with service.database.write() as session:
        account = accounts.disable(session, name, service.clock.now())
        _record(service, session, CONSORTIUM, f"account {name} disabled")
        return answer(_shown(account))


@router.post(
    "/v1/officer-links",
    status_code=201,
    responses=answers(models.OfficerLink, 201),
    openapi_extra=takes(models.OfficerLinkRequest),
)
def officer_link(service: TheService, body: OperatorBody) -> Response:
    wanted = read_model(models.OfficerLinkRequest, body.raw)
    with service.database.write() as session:
        expires = service.now() + service.settings.officer_link_seconds
        token = create_link(session, wanted.officer, wanted.scope, float(expires), service.source)
        _record(service, session, wanted.scope, f"sign-in link for {wanted.officer}, scope {wanted.scope}")
        return answer(_link(service, token, expires), 201)


def _record(service: Service, session: Session, scope: str, what: str) -> None:
    charter_digest, charter = charter_in_force(session)
    if scope != CONSORTIUM:
        require_roster(charter, scope)
    ledger.record_action(session, charter_digest, service.now(), None, what)


def _shown(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "role": account.role,
        "scope": account.scope,
        "state": account.state,
        "way": account.way,
        "email": account.email,
        "subject": account.subject,
    }


def _opened(service: Service, session: Session, account: Account) -> dict[str, Any]:
    """With a link by which its holder takes it into use, where the account has a password."""
    link = None
    if account.way == "password":
        expires = service.now() + service.settings.officer_link_seconds
        link = _link(service, create_account_link(session, account, float(expires), service.source), expires)
    return {"account": _shown(account), "link": link}


def _link(service: Service, token: str, expires: int) -> dict[str, Any]:
    return {"url": f"{service.settings.url}/console/sign-in?link={token}", "expires": expires}
