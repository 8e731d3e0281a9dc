"""Officers' sign-in links and sessions: a person, and what that person may see.

Rules:
1. A link is redeemed once, before it expires; redeeming it makes a session in the same transaction.
2. A session ends when it expires or is revoked. Tokens are stored as digests.
3. A scope is "consortium" or one partner's id; what a scope may see is the console's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from aggregator.storage.tables import OfficerLinkRow, OfficerSessionRow
from aggregator.storage.tokens import new_token, token_digest
from privacy.errors import NotAuthenticated
from privacy.randomness import RandomSource

CONSORTIUM = "consortium"


@dataclass(frozen=True)
class OfficerSession:
    """Who is signed in, for what, until when (seconds since 1970)."""

    officer: str
    scope: str
    expires: float

    @property
    def whole_consortium(self) -> bool:
        return self.scope == CONSORTIUM


def create_link(session: Session, officer: str, scope: str, expires: float, source: RandomSource) -> str:
    """A new single-use link's token."""
    token = new_token(source)
    session.add(
        OfficerLinkRow(
            token_digest=token_digest(token), officer=officer, scope=scope, expires=expires, used_at=None
        )
    )
    return token


def redeem_link(
    session: Session, token: str, now: float, session_seconds: int, source: RandomSource
) -> tuple[str, OfficerSession]:
    """(session token, session), in a write transaction. Raises NotAuthenticated unless the link is new."""
    link = token_digest(token)
    taken = session.execute(
        update(OfficerLinkRow)
        .where(OfficerLinkRow.token_digest == link, OfficerLinkRow.used_at.is_(None), OfficerLinkRow.expires > now)
        .values(used_at=now)
        .returning(OfficerLinkRow.token_digest)
    ).all()
    row = session.get(OfficerLinkRow, link)
    if not taken or row is None:
        raise NotAuthenticated(
            "a sign-in link that is new",
            "one that was used, has expired, or is unknown",
            "ask the operator for another",
        )
    session_token = new_token(source)
    created = OfficerSession(row.officer, row.scope, now + session_seconds)
    session.add(
        OfficerSessionRow(
            token_digest=token_digest(session_token),
            officer=created.officer,
            scope=created.scope,
            created=now,
            expires=created.expires,
            revoked_at=None,
        )
    )
    return session_token, created


def find_session(session: Session, token: str, now: float) -> OfficerSession:
    """The session behind a token. Raises NotAuthenticated unless it is there, unexpired and not revoked."""
    row = session.get(OfficerSessionRow, token_digest(token))
    if row is None or row.revoked_at is not None or row.expires <= now:
        raise NotAuthenticated("an officer's session", "none, or one that has ended", "sign in with a new link")
    return OfficerSession(row.officer, row.scope, row.expires)


def revoke_session(session: Session, token: str, now: float) -> None:
    """Sign out; a session that has ended stays ended."""
    session.execute(
        update(OfficerSessionRow)
        .where(OfficerSessionRow.token_digest == token_digest(token), OfficerSessionRow.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def purge(session: Session, now: float) -> None:
    """Forget links and sessions that ended more than a day ago."""
    session.execute(delete(OfficerLinkRow).where(OfficerLinkRow.expires < now - 86400))
    session.execute(delete(OfficerSessionRow).where(OfficerSessionRow.expires < now - 86400))
