"""Accounts of the console: made by the operator, taken into use by the person, never by strangers.

Rules:
1. An account has one way in: a password with a second factor, or the identity provider (it then has an email or a
   subject, and no password). Role and scope are the operator's word alone.
2. A new account of the first way has neither password nor factor. Its one-time link opens a session that can do
   nothing but set both.
3. Disabling, resetting and a new password end the account's other sessions, in the same transaction; disabling and
   resetting also void links, known browsers and recovery codes.
4. A second factor is in use once a code of it was typed; until then the one before stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from aggregator.storage import second_factor, sign_in_limits
from aggregator.storage.sessions import ROLES, Opened, Role, revoke_all
from aggregator.storage.tables import AccountRow, ConsoleLinkRow, KnownBrowserRow, RecoveryCodeRow
from aggregator.storage.tokens import new_token, token_digest
from privacy.errors import Conflict, NotAuthenticated, NotFound
from privacy.protocol.signing import SigningKey
from privacy.randomness import RandomSource

KNOWN_BROWSER_SECONDS = 180 * 86400

State = Literal["invited", "active", "disabled"]
Way = Literal["password", "provider"]


@dataclass(frozen=True)
class Account:
    """email, subject: of the identity provider; None for an account with a password."""

    name: str
    role: Role
    scope: str
    state: State
    way: Way
    email: str | None
    subject: str | None

    @property
    def session(self) -> Opened:
        return Opened(self.name, self.name, self.role, self.scope)


def create(
    session: Session,
    name: str,
    role: Role,
    scope: str,
    now: float,
    *,
    email: str | None = None,
    subject: str | None = None,
) -> Account:
    """Raises Conflict where the name, the email or the subject is taken."""
    if session.get(AccountRow, name) is not None:
        raise Conflict(
            "a name that no account has", name, f"chorale-server account reset {name}, or choose another"
        )
    email = None if email is None else email.casefold()
    for column, value in ((AccountRow.email, email), (AccountRow.subject, subject)):
        taken = value is not None and session.scalars(select(AccountRow.name).where(column == value)).first()
        if taken:
            raise Conflict("an identity that no account has", f"{value}, of account {taken}", "use that account")
    row = AccountRow(name=name, role=role, scope=scope, email=email, subject=subject, factor_step=0, created=now)
    session.add(row)
    session.flush()
    return _account(row)


def find(session: Session, name: str) -> Account:
    """Raises NotFound."""
    return _account(_row(session, name))


def named(session: Session, name: str) -> Account | None:
    """The account of this name, if there is one."""
    row = session.get(AccountRow, name)
    return None if row is None else _account(row)


def everyone(session: Session) -> list[Account]:
    return [_account(row) for row in session.scalars(select(AccountRow).order_by(AccountRow.name))]


def reset(session: Session, name: str, now: float) -> Account:
    """Back to how it was made, and enabled; whoever was in is out. Raises NotFound."""
    row = _row(session, name)
    _close(session, row, now)
    row.password = row.factor = row.next_factor = row.disabled_at = None
    if row.email is not None:
        row.subject = None
    sign_in_limits.forgive(session, name)
    session.flush()
    return _account(row)


def disable(session: Session, name: str, now: float) -> Account:
    """Raises NotFound."""
    row = _row(session, name)
    _close(session, row, now)
    row.disabled_at = row.disabled_at or now
    session.flush()
    return _account(row)


def offer_factor(session: Session, name: str, key: SigningKey, source: RandomSource) -> None:
    """A new second factor, not yet in use."""
    row = _row(session, name)
    row.next_factor = second_factor.seal_secret(key, name, second_factor.new_secret(source), source)
    session.flush()


def offered_factor(session: Session, name: str, key: SigningKey) -> str:
    """The secret to show. Raises NotFound unless one is offered."""
    row = _row(session, name)
    if row.next_factor is None:
        raise NotFound("a second factor on offer", "none", "begin again from the account's page")
    return second_factor.open_secret(key, name, row.next_factor)


def accept_factor(
    session: Session, name: str, code: str, now: float, key: SigningKey, source: RandomSource
) -> tuple[str, ...]:
    """Take the offered factor into use; gives new recovery codes. Raises NotAuthenticated at a wrong code."""
    row = _row(session, name)
    secret = offered_factor(session, name, key)
    step = second_factor.step_of(secret, second_factor.plain(code), now, 0)
    if step is None:
        raise NotAuthenticated(
            "a code of the new authenticator", "another", "wait for its next code, and type that"
        )
    row.factor, row.factor_step, row.next_factor = row.next_factor, step, None
    session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.account == name))
    codes = second_factor.new_recovery_codes(source)
    session.add_all(RecoveryCodeRow(account=name, digest=_digest(code)) for code in codes)
    session.flush()
    return codes


def set_password(session: Session, name: str, hashed: str) -> None:
    _row(session, name).password = hashed
    session.flush()


def password_of(session: Session, name: str) -> str | None:
    """The kept hash; None for an unknown or disabled account, or one without a password."""
    row = session.get(AccountRow, name)
    return None if row is None or row.disabled_at is not None else row.password


def prove(session: Session, name: str, verified: str, code: str, now: float, key: SigningKey) -> Account:
    """Whose password was verified types a code, in a write transaction: the code is used up.

    verified: the kept hash that the password matched. Raises NotAuthenticated if anything changed since, or the
    code is none.
    """
    row = session.get(AccountRow, name)
    if row is not None and row.disabled_at is None and row.password == verified and row.factor is not None:
        typed = second_factor.plain(code)
        if len(typed) == second_factor.RECOVERY_LENGTH:
            gone = delete(RecoveryCodeRow).where(
                RecoveryCodeRow.account == name, RecoveryCodeRow.digest == _digest(typed)
            )
            if session.execute(gone.returning(RecoveryCodeRow.digest)).all():
                return _account(row)
        secret = second_factor.open_secret(key, name, row.factor)
        step = second_factor.step_of(secret, typed, now, row.factor_step)
        if step is not None:
            row.factor_step = step
            session.flush()
            return _account(row)
    raise NotAuthenticated("name, password and code of an account", "others", "try again")


def by_provider(session: Session, subject: str, verified_email: str | None) -> Account:
    """The account for which the operator named this subject, or (once, then bound to the subject) this email.

    In a write transaction. Raises NotAuthenticated: who has no account gets none.
    """
    row = session.scalars(select(AccountRow).where(AccountRow.subject == subject)).first()
    if row is None and verified_email is not None:
        unbound = (AccountRow.email == verified_email.casefold(), AccountRow.subject.is_(None))
        row = session.scalars(select(AccountRow).where(*unbound)).first()
        if row is not None and row.disabled_at is None:
            row.subject = subject
            session.flush()
    if row is None or row.disabled_at is not None:
        raise NotAuthenticated("an account for this identity", "none", "ask the operator for one")
    return _account(row)


def recovery_codes_left(session: Session, name: str) -> int:
    count = select(func.count()).select_from(RecoveryCodeRow).where(RecoveryCodeRow.account == name)
    return session.scalar(count) or 0


def remember_browser(session: Session, name: str, now: float, source: RandomSource) -> str:
    """A token for a cookie: tries from there are counted apart."""
    token = new_token(source)
    session.add(
        KnownBrowserRow(token_digest=token_digest(token), account=name, expires=now + KNOWN_BROWSER_SECONDS)
    )
    session.flush()
    return token


def knows_browser(session: Session, name: str, token: str, now: float) -> bool:
    row = session.get(KnownBrowserRow, token_digest(token))
    return row is not None and row.account == name and row.expires > now


def forget_browser(session: Session, token: str) -> None:
    session.execute(delete(KnownBrowserRow).where(KnownBrowserRow.token_digest == token_digest(token)))


def purge(session: Session, now: float) -> None:
    session.execute(delete(KnownBrowserRow).where(KnownBrowserRow.expires < now))


def _close(session: Session, row: AccountRow, now: float) -> None:
    revoke_all(session, row.name, now)
    session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.account == row.name))
    session.execute(delete(KnownBrowserRow).where(KnownBrowserRow.account == row.name))
    session.execute(
        update(ConsoleLinkRow)
        .where(ConsoleLinkRow.account == row.name, ConsoleLinkRow.used_at.is_(None))
        .values(used_at=now)
    )


def _row(session: Session, name: str) -> AccountRow:
    row = session.get(AccountRow, name)
    if row is None:
        raise NotFound("an account of this name", name, "chorale-server account list")
    return row


def _account(row: AccountRow) -> Account:
    way: Way = "password" if row.email is None and row.subject is None else "provider"
    ready = row.factor is not None if way == "password" else True
    state: State = "disabled" if row.disabled_at is not None else "active" if ready else "invited"
    role = next(role for role in ROLES if role == row.role)
    return Account(row.name, role, row.scope, state, way, row.email, row.subject)


def _digest(code: str) -> str:
    return token_digest(second_factor.plain(code))
