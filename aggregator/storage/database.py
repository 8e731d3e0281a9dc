"""The database: transactions, and the news that each commit brings to those who wait.

Rules:
1. Two kinds of transaction: `read`, and `write`. On SQLite a write begins with BEGIN IMMEDIATE, so it never has to
   upgrade half-way; on PostgreSQL the rows that decide are locked FOR UPDATE by those who read them.
2. SQLite runs in WAL mode with foreign keys on; a commit is on disk before an answer leaves (synchronous FULL).
3. Topics announced in a transaction are published after its commit, never before.
It knows no table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

_WRITE = "chorale_write"
_TOPICS = "chorale_topics"
BUSY_MILLISECONDS = 15_000


def announce(session: Session, *topics: str) -> None:
    """Wake, once this transaction is committed, those who wait on these topics."""
    session.info.setdefault(_TOPICS, set()).update(topics)


class Database:
    """An engine with the two kinds of transaction; `publish` is called with each committed topic."""

    def __init__(self, url: str, publish: Callable[[str], None]) -> None:
        self.engine = create_engine(url)
        self._publish = publish
        self._sqlite = self.engine.dialect.name == "sqlite"
        # In one process writers queue here in turn; SQLite's own busy handler sleeps and is not fair.
        self._turn = threading.Lock()
        if self._sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._write_engine = self.engine.execution_options(**{_WRITE: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Commits at the end of the block, rolls back if it raises."""
        with self._turn if self._sqlite else nullcontext():
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


__all__ = ["Database", "Engine", "announce"]
