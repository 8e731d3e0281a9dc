"""One-time links into the console.

Rules:
1. A link is redeemed once, before it expires, in the transaction that opens its session.
2. A link without an account is a visit: its session reads, under the name and scope that the operator gave it.
3. A link with an account opens the session in which its holder sets password and second factor.
4. Tokens are stored as digests.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from aggregator.storage import accounts
from aggregator.storage.accounts import Account
from aggregator.storage.sessions import Opened
from aggregator.storage.tables import ConsoleLinkRow
from aggregator.storage.tokens import new_token, token_digest
from privacy.errors import NotAuthenticated
from privacy.randomness import RandomSource


def create_link(session: Session, name: str, scope: str, expires: float, source: RandomSource) -> str:
    """A new single-use link's token, for a visit."""
    token = new_token(source)
    session.add(
        ConsoleLinkRow(
            token_digest=token_digest(token), name=name, account=None, scope=scope, expires=expires, used_at=None
        )
    )
    return token


def create_account_link(session: Session, account: Account, expires: float, source: RandomSource) -> str:
    """A new single-use link's token, to take an account into use."""
    token = new_token(source)
    session.add(
        ConsoleLinkRow(
            token_digest=token_digest(token),
            name=account.name,
            account=account.name,
            scope=account.scope,
            expires=expires,
            used_at=None,
        )
    )
    return token


def redeem_link(session: Session, token: str, now: float) -> Opened:
    """Whose session to open, in a write transaction. Raises NotAuthenticated unless the link is new."""
    link = token_digest(token)
    taken = session.execute(
        update(ConsoleLinkRow)
        .where(ConsoleLinkRow.token_digest == link, ConsoleLinkRow.used_at.is_(None), ConsoleLinkRow.expires > now)
        .values(used_at=now)
        .returning(ConsoleLinkRow.token_digest)
    ).all()
    row = session.get(ConsoleLinkRow, link)
    if not taken or row is None:
        raise NotAuthenticated(
            "a sign-in link that is new",
            "one that was used, has expired, or is unknown",
            "ask the operator for another",
        )
    if row.account is None:
        return Opened(row.name, None, "auditor", row.scope)
    return replace(accounts.find(session, row.account).session, setting_up=True)


def purge(session: Session, now: float) -> None:
    """Forget links that ended more than a day ago."""
    session.execute(delete(ConsoleLinkRow).where(ConsoleLinkRow.expires < now - 86400))
