"""A database at one moment as one SQLite file, and such a file back into an empty database.

Rules:
1. The moment is one transaction's: SQLite's online backup in a single step, or a REPEATABLE READ snapshot on
   PostgreSQL whose rows are written into a new SQLite file of the same schema. Neither holds up a writer.
2. The file is the same whatever the database was, so a service may also move from one kind to the other.
3. Only a schema of this release is read, and only an empty database is filled, in one transaction. Filling it again
   with the same rows is no error: a crash after the commit may be followed by another try.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from aggregator.storage.database import Database
from aggregator.storage.tables import LedgerHeadRow, Table
from privacy.errors import ConfigurationError, Conflict, LedgerBroken, StorageFull, WrongState

_ROWS = 500


def revision_of_release() -> str:
    """The newest revision of the schema that this release knows."""
    return _scripts().get_current_head() or ""


def is_known(revision: str) -> bool:
    """Whether a schema of this revision can be brought to this release's."""
    return any(script.revision == revision for script in _scripts().walk_revisions())


@contextmanager
def database_at(url: str) -> Iterator[Database]:
    """A database that nobody is waiting for news of. Raises ConfigurationError where none answers, StorageFull."""
    database = Database(url, _nobody_waits)
    try:
        yield database
    except OperationalError as error:
        said = str(error.orig).strip().splitlines()[0]
        if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_FULL":
            raise StorageFull("room for the database", said, "free some space and run again") from error
        shown = database.engine.url.render_as_string(hide_password=True)
        raise ConfigurationError(
            f"a database that answers at {shown}", said, "start it, or correct database_url"
        ) from error
    finally:
        database.close()


@contextmanager
def opened(file: Path, *, migrate: bool = False) -> Iterator[Database]:
    """A database file of one's own, which is whole on disk again, without a log beside it, once this ends."""
    try:
        with database_at(f"sqlite:///{file}") as database:
            if migrate:
                database.migrate()
            yield database
    finally:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")


def take(source: Database, file: Path) -> None:
    """Write what `source` holds now into `file`, which must not exist. Raises WrongState (rule 3)."""
    path = Path(str(source.engine.url.database))
    if source.engine.dialect.name == "sqlite" and not path.exists():
        raise WrongState("a database", f"none at {path}", "serve this folder once: there is nothing to back up yet")
    with source.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != revision_of_release():
        raise WrongState(
            f"a database of revision {revision_of_release()}, as this release has it",
            f"revision {found}",
            "run this with the release that serves it, or start the service of this release once",
        )
    if source.engine.dialect.name == "sqlite":
        _take_sqlite(path, file)
    else:
        with source.read() as reading, opened(file, migrate=True) as target:
            _fill(reading, target)


def put(file: Path, target: Database) -> None:
    """Fill an empty database from a file that `take` wrote. Raises Conflict where other rows stand in it."""
    target.migrate()
    with opened(file) as source, source.read() as reading:
        with target.read() as there:
            empty = _is_empty(there)
            if not empty and not _same(reading, there):
                raise Conflict(
                    "an empty database, or one with the very rows of this backup",
                    "one with other rows",
                    "name another database in the settings: nothing in this one was touched",
                )
        if empty:
            _fill(reading, target)


def check(file: Path) -> None:
    """Whether the file is a sound database. Raises LedgerBroken."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            found += [f"a broken reference in {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise LedgerBroken(0, "a sound database", "; ".join(found), "use another backup")


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def _nobody_waits(topic: str) -> None:
    del topic


def _take_sqlite(path: Path, file: Path) -> None:
    file.touch(mode=0o600, exist_ok=False)
    # Not `mode=ro`: a reader of a write-ahead log needs the shared memory beside it.
    with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target, pages=-1)
        target.execute("PRAGMA journal_mode = DELETE")


def _fill(reading: Session, target: Database) -> None:
    with target.write() as writing:
        writing.execute(sa.delete(LedgerHeadRow))  # the migrations' own, of an empty chain
        for table in Table.metadata.sorted_tables:
            for rows in _pages(reading, table):
                writing.execute(sa.insert(table), rows)


def _pages(session: Session, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    for page in _ordered(session, table).partitions(_ROWS):
        yield [dict(row._mapping) for row in page]


def _ordered(session: Session, table: sa.Table) -> sa.Result[Any]:
    # By key: the ledger's triggers take no entry but the next.
    query = sa.select(table).order_by(*table.primary_key.columns)
    return session.execute(query.execution_options(yield_per=_ROWS))


def _is_empty(session: Session) -> bool:
    counts = {
        table.name: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        for table in Table.metadata.sorted_tables
    }
    return not any(count for name, count in counts.items() if name != LedgerHeadRow.__tablename__)


def _same(one: Session, other: Session) -> bool:
    for table in Table.metadata.sorted_tables:
        pairs = itertools.zip_longest(_rows(one, table), _rows(other, table))
        if any(left != right for left, right in pairs):
            return False
    return True


def _rows(session: Session, table: sa.Table) -> Iterator[dict[str, Any]]:
    # By rows in a set order that both kinds of database share: text sorts by locale on one of them.
    yield from sorted((row for page in _pages(session, table) for row in page), key=repr)
