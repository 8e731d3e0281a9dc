"""Sessions of the console: who is signed in, and the one place that decides what a role may do.

Rules:
1. A role says what one may do, a scope on whose behalf: one partner's, or the consortium's. RIGHTS is the whole
   table. Officers decide about budgets; operators may stop, but what sets going again is an officer's; auditors
   read.
2. A session is opened by a link or an account, in the transaction that proves it. It ends when it expires, when
   nobody used it for the idle time, or when it is revoked.
3. A session without an account (from a link alone) reads, and no more: whoever acts has a name that lasts.
4. Tokens are stored as digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from aggregator.storage.tables import ConsoleSessionRow
from aggregator.storage.tokens import new_token, token_digest
from privacy.errors import NotAllowed, NotAuthenticated
from privacy.randomness import RandomSource

CONSORTIUM = "consortium"
TOUCH_SECONDS = 60.0

Role = Literal["officer", "operator", "auditor"]
Action = Literal["acknowledge", "suspend", "resume", "tighten"]
ROLES: Final[tuple[Role, ...]] = ("officer", "operator", "auditor")
RIGHTS: Final[dict[Role, frozenset[Action]]] = {
    "officer": frozenset({"acknowledge", "suspend", "resume", "tighten"}),
    "operator": frozenset({"acknowledge", "suspend"}),
    "auditor": frozenset(),
}


@dataclass(frozen=True)
class Viewer:
    """Who is signed in, for what, until when (seconds since 1970). account: None for a visit by link."""

    name: str
    account: str | None
    role: Role
    scope: str
    expires: float

    @property
    def whole_consortium(self) -> bool:
        return self.scope == CONSORTIUM

    def may_see(self, participant: str) -> bool:
        return self.whole_consortium or self.scope == participant

    def may_act(self, action: Action, participant: str | None) -> bool:
        """Whether this is the viewer's to do; participant None: what concerns the consortium as a whole."""
        covered = self.whole_consortium if participant is None else self.may_see(participant)
        return self.account is not None and action in RIGHTS[self.role] and covered

    def require(self, action: Action, participant: str | None) -> None:
        """Raises NotAllowed unless `may_act`."""
        if not self.may_act(action, participant):
            raise NotAllowed(
                f"someone who may {action} for {participant or 'the consortium'}",
                f"{self.role}, scope {self.scope}" if self.account else "a visit by link",
                "have somebody with that role and scope do this",
            )


@dataclass(frozen=True)
class Opened:
    """What a session is opened with; `setting_up` sessions can do nothing but finish their account."""

    name: str
    account: str | None
    role: Role
    scope: str
    setting_up: bool = False


def open_session(session: Session, who: Opened, now: float, seconds: int, source: RandomSource) -> str:
    """A new session's token, in a write transaction."""
    token = new_token(source)
    session.add(
        ConsoleSessionRow(
            token_digest=token_digest(token),
            name=who.name,
            account=who.account,
            role=who.role,
            scope=who.scope,
            setting_up=who.setting_up,
            created=now,
            seen=now,
            expires=now + seconds,
            revoked_at=None,
        )
    )
    session.flush()
    return token


def find_session(
    session: Session, token: str, now: float, idle_seconds: int, *, setting_up: bool = False
) -> tuple[Viewer, bool]:
    """(viewer, whether it is time to `touch`). Raises NotAuthenticated; NotAllowed if of the other kind."""
    row = session.get(ConsoleSessionRow, token_digest(token))
    if row is None or row.revoked_at is not None or row.expires <= now or now - row.seen > idle_seconds:
        raise NotAuthenticated("a session of the console", "none, or one that has ended", "sign in again")
    if row.setting_up != setting_up:
        raise NotAllowed(
            "a session that sets an account up" if setting_up else "an account that is set up",
            "another session" if setting_up else "one that is not yet",
            "open the account's page" if setting_up else "finish setting it up: /console/set-up",
        )
    role = next(role for role in ROLES if role == row.role)
    return Viewer(row.name, row.account, role, row.scope, row.expires), now - row.seen > TOUCH_SECONDS


def touch_session(session: Session, token: str, now: float) -> None:
    """It was used; kept to TOUCH_SECONDS, so that reading pages seldom writes."""
    session.execute(
        update(ConsoleSessionRow)
        .where(ConsoleSessionRow.token_digest == token_digest(token), ConsoleSessionRow.seen < now)
        .values(seen=now)
    )


def revoke_session(session: Session, token: str, now: float) -> None:
    """Sign out; a session that has ended stays ended."""
    session.execute(
        update(ConsoleSessionRow)
        .where(ConsoleSessionRow.token_digest == token_digest(token), ConsoleSessionRow.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def revoke_all(session: Session, account: str, now: float, but: str = "") -> None:
    """Sign an account out everywhere; `but`: the token of the session that stays."""
    session.execute(
        update(ConsoleSessionRow)
        .where(
            ConsoleSessionRow.account == account,
            ConsoleSessionRow.revoked_at.is_(None),
            ConsoleSessionRow.token_digest != token_digest(but),
        )
        .values(revoked_at=now)
    )


def purge(session: Session, now: float) -> None:
    """Forget sessions that ended more than a day ago."""
    session.execute(delete(ConsoleSessionRow).where(ConsoleSessionRow.expires < now - 86400))
