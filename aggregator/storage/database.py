"""The database: transactions, and the news that each commit brings to those who wait.

Rules:
1. Two kinds of transaction: `read` sees one snapshot, and `write` is alone: one writer at a time, in whatever
   process. SQLite begins it with BEGIN IMMEDIATE, PostgreSQL with an advisory lock (docs/decisions/0009).
2. SQLite runs in WAL mode with foreign keys on. A commit is on disk before an answer leaves: synchronous FULL on
   SQLite, and on PostgreSQL a `synchronous_commit` that is off is turned on.
3. Topics announced in a transaction are published after its commit, never before.
It knows no table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

_WRITE = "chorale_write"
_TOPICS = "chorale_topics"
BUSY_MILLISECONDS = 15_000
_WRITERS = 0x63686F72616C65  # "chorale"


def announce(session: Session, *topics: str) -> None:
    """Wake, once this transaction is committed, those who wait on these topics."""
    session.info.setdefault(_TOPICS, set()).update(topics)


class Database:
    """An engine with the two kinds of transaction; `publish` is called with each committed topic."""

    def __init__(self, url: str, publish: Callable[[str], None]) -> None:
        # Pre-ping: a connection that a restart of the database cut off is replaced before it is used.
        # Hidden parameters: an error's text, and what its trace logs, would hold the values of the statement.
        self.engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        self._publish = publish
        # In one process writers queue here in turn: SQLite's own busy handler sleeps and is not fair, and on
        # PostgreSQL those who wait would hold connections that readers need.
        self._turn = threading.Lock()
        options: dict[str, Any] = {}
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "connect", _prepare_postgresql)
            event.listen(self.engine, "begin", _begin_postgresql)
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._read_engine = self.engine.execution_options(**options)
        self._write_engine = self.engine.execution_options(**{_WRITE: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._read_engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Commits at the end of the block, rolls back if it raises."""
        with self._turn:
            with Session(self._write_engine, expire_on_commit=False) as session, session.begin():
                yield session
        for topic in sorted(session.info.get(_TOPICS, ())):
            self._publish(topic)

    def migrate(self) -> None:
        """Bring the schema to the newest revision."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._write_engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        self.engine.dispose()


def _prepare_sqlite(connection: Any, record: object) -> None:
    del record
    # The driver's own transaction handling would begin a deferred transaction before ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: Any, record: object) -> None:
    del record
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITE, False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


__all__ = ["Database", "Engine", "announce"]
