"""From what a person typed to a session: name, password and code, all three or nothing.

Rules, in this order:
1. The attempt is counted (storage/sign_in_limits.py), whether there is such a name or not.
2. The password is compared, at the same cost for every name; outside of any transaction, for it takes a while.
3. In one transaction: the code is used up, the count taken back, the session of before ended, the new one opened.
Which of the three was wrong is told to nobody. What is typed is never logged.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy.orm import Session

from aggregator.names import ACCOUNT_PATTERN
from aggregator.storage import accounts, passwords, sign_in_limits
from aggregator.storage.accounts import Account
from aggregator.storage.alarms import Figure, raise_alarm
from aggregator.storage.service import Service
from aggregator.storage.sessions import CONSORTIUM, Opened, open_session, revoke_session
from aggregator.storage.sign_in_limits import Attempt
from privacy.errors import NotAuthenticated, TooManyAttempts

_NAME = re.compile(ACCOUNT_PATTERN)
_log = structlog.get_logger("chorale.console")


@dataclass(frozen=True)
class Typed:
    """What came in the form."""

    name: str
    password: str
    code: str

    def __repr__(self) -> str:
        return "Typed(<withheld>)"


@dataclass(frozen=True)
class Whence:
    """browser: the token by which an account knows it; session: that of the session there; either may be empty."""

    address: str
    browser: str
    session: str

    def __repr__(self) -> str:
        return f"Whence({self.address}, <tokens withheld>)"


@dataclass(frozen=True)
class _Counted:
    """failures: with which a delay begins if this attempt fails; 0 if none does."""

    attempt: Attempt
    failures: int


@dataclass(frozen=True)
class Admitted:
    """Tokens for cookies."""

    account: Account
    session: str
    browser: str

    def __repr__(self) -> str:
        return f"Admitted({self.account.name}, <tokens withheld>)"


def by_password(service: Service, typed: Typed, whence: Whence) -> Admitted:
    """Raises NotAuthenticated, TooManyAttempts, ServiceUnavailable."""
    now = service.clock.now()
    name = typed.name.strip().lower()
    name = name if _NAME.fullmatch(name) else ""
    counted = _counted(service, name or typed.name, whence, now)
    with _telling(service, name, counted, now):
        kept = _compared(service, name, typed.password)
        renewed = passwords.hash_password(typed.password, service.source) if passwords.outdated(kept) else None
        with service.database.write() as session:
            account = accounts.prove(session, name, kept, typed.code, now, service.keys.server)
            sign_in_limits.succeeded(session, counted.attempt, now)
            if renewed is not None:
                accounts.set_password(session, name, renewed)
            return admit(session, service, account, whence, "password")


def confirm(service: Service, account: str, password: str, code: str) -> None:
    """Password and code again, within a session. Raises as `by_password`."""
    now = service.clock.now()
    attempt = sign_in_limits.from_inside(account)
    with service.database.write() as session:
        counted = _Counted(attempt, sign_in_limits.begin(session, attempt, now))
    with _telling(service, account, counted, now):
        kept = _compared(service, account, password)
        with service.database.write() as session:
            accounts.prove(session, account, kept, code, now, service.keys.server)
            sign_in_limits.succeeded(session, attempt, now)


def admit(session: Session, service: Service, account: Account, whence: Whence, way: str) -> Admitted:
    """Open a session for whoever proved to be this account's holder, in the transaction of the proof."""
    now = service.clock.now()
    revoke_session(session, whence.session, now)
    accounts.forget_browser(session, whence.browser)
    opened: Opened = account.session
    token = open_session(session, opened, now, service.settings.session_seconds, service.source)
    browser = accounts.remember_browser(session, account.name, now, service.source)
    _log.info("signed-in", account=account.name, way=way)
    return Admitted(account, token, browser)


def _counted(service: Service, name: str, whence: Whence, now: float) -> _Counted:
    """Rule 1."""
    try:
        with service.database.write() as session:
            if accounts.knows_browser(session, name, whence.browser, now):
                attempt = sign_in_limits.from_known_browser(name, whence.browser)
            else:
                attempt = sign_in_limits.from_elsewhere(name, whence.address)
            return _Counted(attempt, sign_in_limits.begin(session, attempt, now))
    except TooManyAttempts:
        _log.warning("sign-in-delayed", address=whence.address)
        raise


@contextmanager
def _telling(service: Service, name: str, counted: _Counted, now: float) -> Iterator[None]:
    """Raise an alarm where a failure begins a delay for an account that there is."""
    try:
        yield
    except NotAuthenticated:
        if counted.failures:
            with service.database.write() as session:
                account = accounts.named(session, name)
                if account is not None:
                    day = time.strftime("%Y-%m-%d", time.gmtime(now))
                    figures: dict[str, Figure] = {"account": name, "day": day, "failures": counted.failures}
                    concerns = None if account.scope == CONSORTIUM else account.scope
                    raise_alarm(session, "locked_out", concerns, figures, int(now))
        raise


def _compared(service: Service, name: str, password: str) -> str:
    """Rule 2: the kept hash that it matches."""
    with service.database.read() as session:
        kept = accounts.password_of(session, name) if name else None
    if not passwords.matches(kept, password) or kept is None:
        raise NotAuthenticated("name, password and code of an account", "others", "try again")
    return kept
