"""Migrations, the append-only ledger, blobs, tokens and the server's folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from aggregator.settings import Settings
from aggregator.storage.blobs import LocalBlobs, write_blob
from aggregator.storage.database import Database, announce
from aggregator.storage.folder import SERVER_KEY_FILE, create_server_folder, load_keys
from aggregator.storage.ledger import head, lines, record_action
from aggregator.storage.links import create_link, redeem_link
from aggregator.storage.sessions import find_session, open_session, revoke_session, touch_session
from aggregator.storage.tables import Table
from privacy.errors import ConfigurationError, NotAllowed, NotAuthenticated, NotFound
from privacy.ledger.chain import verify_lines
from privacy.protocol.signing import SigningKey
from tests.consortium import SeededSource
from tests.postgresql import Cluster


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    heard: list[str] = []
    database = Database(database_url, heard.append)
    database.migrate()
    database.migrate()
    yield database
    database.close()


def test_the_migrations_make_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


_FORGED = """INSERT INTO ledger_entries ("index", digest, at, charter, kind, entry)
    VALUES ({index}, 'ab', 0, 'ab', 'action', '')"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET at = 0",
        'UPDATE ledger_entries SET at = 0 WHERE "index" = 2',
        "DELETE FROM ledger_entries",
        'DELETE FROM ledger_entries WHERE "index" = 2',
        _FORGED.format(index=1),
        _FORGED.format(index=4),
        _FORGED.format(index=0),
        "TRUNCATE ledger_entries",
        _FORGED.format(index=2).replace("INSERT", "INSERT OR REPLACE"),
        _FORGED.format(index=2) + ' ON CONFLICT ("index") DO UPDATE SET at = 9',
    ],
)
def test_the_ledger_can_only_grow(database: Database, statement: str) -> None:
    other = {"TRUNCATE": "sqlite", "INSERT OR": "postgresql"}
    if database.engine.dialect.name in [name for start, name in other.items() if statement.startswith(start)]:
        return  # not that database's language
    with database.write() as session:
        record_action(session, "ab" * 32, 1, None, "first")
        record_action(session, "ab" * 32, 2, "partner-01", "second")
    with pytest.raises(DatabaseError, match="append-only"), database.write() as session:
        session.execute(text(statement))
    with database.read() as session:
        chain = verify_lines(list(lines(session, 0, 10)))
        assert chain.head == head(session)
        assert chain.head.count == 2


@pytest.mark.full
def test_no_session_of_postgresql_goes_round_the_triggers(postgresql: Cluster) -> None:
    database = Database(postgresql.database(), lambda topic: None)
    database.migrate()
    with database.write() as session:
        record_action(session, "ab" * 32, 1, None, "first")
    with database.write() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        with pytest.raises(DatabaseError, match="append-only"):
            session.execute(text("DELETE FROM ledger_entries"))
        session.rollback()
    database.close()


def test_a_read_sees_one_moment(database: Database) -> None:
    with database.read() as session:
        assert head(session).count == 0
        with database.write() as other:
            record_action(other, "ab" * 32, 1, None, "meanwhile")
        assert list(lines(session, 0, 10)) == []
    with database.read() as session:
        assert head(session).count == 1


def test_writers_of_two_processes_take_turns(database_url: str) -> None:
    """Two engines stand for two processes: each read-modify-write sees what the other committed."""
    databases = [Database(database_url, lambda topic: None) for _ in range(2)]
    databases[0].migrate()

    def add(number: int) -> None:
        with databases[number % 2].write() as session:
            record_action(session, "ab" * 32, number, None, f"number {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    with databases[0].read() as session:
        assert verify_lines(list(lines(session, 0, 100))).head == head(session)
        assert head(session).count == 40
    for database in databases:
        database.close()


def test_what_fails_writes_nothing_and_announces_nothing(database_url: str) -> None:
    heard: list[str] = []
    database = Database(database_url, heard.append)
    database.migrate()

    def fail() -> None:
        with database.write() as session:
            record_action(session, "ab" * 32, 1, None, "first")
            announce(session, "news")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert heard == []
    with database.write() as session:
        assert head(session).count == 0
        announce(session, "news")
    assert heard == ["news"]
    database.close()


def test_a_blob_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    name = f"rounds/{'ab' * 32}/sum/0"
    with blobs.writer(name) as writer:
        writer.write(b"half")
    with pytest.raises(NotFound):
        blobs.path(name)
    write_blob(blobs, name, b"whole")
    assert blobs.read(name, 1, 3) == b"hol"
    with pytest.raises(NotFound):
        blobs.read(name, 1, 9)
    for _ in range(2):
        blobs.delete(f"rounds/{'ab' * 32}")
    with pytest.raises(NotFound):
        blobs.path(name)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "rounds/..", "rounds//x", "incoming/x", "Up", "a/.b", ""])
def test_no_path_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a blob"):
        LocalBlobs(tmp_path).writer(name)


def test_links_are_used_once_and_sessions_end(database: Database) -> None:
    source = SeededSource("officers")
    with database.write() as session:
        link = create_link(session, "Ada", "partner-01", 100.0, source)
        late = create_link(session, "Ada", "partner-01", 10.0, source)
    with database.write() as session:
        token = open_session(session, redeem_link(session, link, 50.0), 50.0, 600, source)
    for used in (link, late, "unknown"):
        with pytest.raises(NotAuthenticated), database.write() as session:
            redeem_link(session, used, 50.0)
    with database.read() as session:
        viewer, due = find_session(session, token, 100.0, 60)
        assert (viewer.name, viewer.account, viewer.role, viewer.scope) == ("Ada", None, "auditor", "partner-01")
        assert (viewer.expires, due) == (650.0, False)
        assert find_session(session, token, 111.0, 3600)[1]
        for now, idle in ((650.0, 3600), (111.0, 60)):
            with pytest.raises(NotAuthenticated):
                find_session(session, token, now, idle)
        with pytest.raises(NotAuthenticated):
            find_session(session, link, 50.0, 60)
        with pytest.raises(NotAllowed):
            find_session(session, token, 50.0, 60, setting_up=True)
    with database.write() as session:
        touch_session(session, token, 105.0)
        assert find_session(session, token, 160.0, 60)[0] == viewer
        revoke_session(session, token, 160.0)
    with database.read() as session, pytest.raises(NotAuthenticated):
        find_session(session, token, 161.0, 60)


def test_the_folder_keeps_the_online_key_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = SigningKey.generate(SeededSource("operator")).public
    public = create_server_folder(tmp_path / "s", operator, SeededSource("server"), port=9000, shard_bytes=32768)
    key_file = tmp_path / "s" / SERVER_KEY_FILE
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    keys = load_keys(tmp_path / "s")
    assert (keys.server.public, keys.operator) == (public, operator)
    settings = Settings.load(tmp_path / "s")
    assert (settings.port, settings.shard_bytes, settings.url) == (9000, 32768, "http://127.0.0.1:9000")
    monkeypatch.setenv("CHORALE_PORT", "9001")
    assert Settings.load(tmp_path / "s").port == 9001
    monkeypatch.setenv("CHORALE_SHARD_BYTES", "40000")
    with pytest.raises(ConfigurationError, match="32768"):
        Settings.load(tmp_path / "s")
    with pytest.raises(ConfigurationError):
        create_server_folder(tmp_path / "s", operator, SeededSource("again"))
    key_file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="0640"):
        load_keys(tmp_path / "s")
