"""Who signs in to the console: people, what proves that it is they, their sessions, and failed attempts."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from aggregator.storage.tables.base import DIGEST, NAME, Table


class ConsoleLinkRow(Table):
    __tablename__ = "console_links"
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    account: Mapped[str | None] = mapped_column(NAME)
    scope: Mapped[str] = mapped_column(NAME)
    expires: Mapped[float]
    used_at: Mapped[float | None]


class ConsoleSessionRow(Table):
    __tablename__ = "console_sessions"
    __table_args__ = (Index("ix_console_sessions_account", "account"),)
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    account: Mapped[str | None] = mapped_column(NAME)
    role: Mapped[str] = mapped_column(String(16))
    scope: Mapped[str] = mapped_column(NAME)
    setting_up: Mapped[bool]
    created: Mapped[float]
    seen: Mapped[float]
    expires: Mapped[float]
    revoked_at: Mapped[float | None]


class AccountRow(Table):
    """A person who signs in: by password and second factor, or (email or subject) by the identity provider."""

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    scope: Mapped[str] = mapped_column(NAME)
    email: Mapped[str | None] = mapped_column(String(254), unique=True)
    subject: Mapped[str | None] = mapped_column(String(255), unique=True)
    password: Mapped[str | None] = mapped_column(String(256))
    factor: Mapped[bytes | None]
    factor_step: Mapped[int]
    next_factor: Mapped[bytes | None]
    created: Mapped[float]
    disabled_at: Mapped[float | None]


class RecoveryCodeRow(Table):
    __tablename__ = "recovery_codes"
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)


class KnownBrowserRow(Table):
    """A browser that an account signed in from; see storage/sign_in_limits.py."""

    __tablename__ = "known_browsers"
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    expires: Mapped[float]
    __table_args__ = (Index("ix_known_browsers_account", "account"),)


class AttemptLimitRow(Table):
    """Failures counted under a digest of whose they are; see storage/sign_in_limits.py."""

    __tablename__ = "attempt_limits"
    key: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    failures: Mapped[int]
    last: Mapped[float]
    until: Mapped[float]
