"""Backups are refused where one byte is another, and beside a key, a name or a database that is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aggregator.backup.contents import BackupManifest, Blob, file_digest
from aggregator.backup.making import make_backup
from aggregator.backup.restoring import restore
from aggregator.rounds.upload import shard_name
from aggregator.settings import SETTINGS_FILE
from aggregator.storage import snapshot
from aggregator.storage.folder import load_keys
from privacy.errors import ChoraleError, ConfigurationError, WrongState
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import parse_signed
from privacy.protocol.signing import sign
from tests.aggregator.backup.scene import backed_up, key_of, quiet
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def sign_again(backup: Path, running: Running) -> None:
    """As somebody with the online key could: digests and signature fit whatever the files say now."""
    manifest = parse_signed(BackupManifest, (backup / "backup.json").read_bytes().strip()).body
    files = tuple(file.model_copy(update={"digest": file_digest(backup / file.name)}) for file in manifest.files)
    key = load_keys(running.settings.folder).server
    signed = sign(manifest.model_copy(update={"files": files}), SERVER, key)
    (backup / "backup.json").write_bytes(signed.canonical_bytes)


def alter(backup: Path, statement: str) -> None:
    with closing(sqlite3.connect(backup / "database.sqlite", isolation_level=None)) as database:
        for name in ("append_only_update", "append_only_delete", "append_only", "next"):
            database.execute(f"DROP TRIGGER IF EXISTS ledger_entries_{name}")
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f"DROP TRIGGER {name}")
        assert database.execute(statement).rowcount > 0


def test_whatever_is_altered_is_refused(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    driver.join_all()
    driver.upload(driver.names[0])
    whole = backed_up(running, tmp_path / "whole")
    shard = whole / "blobs" / shard_name(driver.plan.digest, driver.names[0], 0)
    box = next((whole / "blobs").rglob("boxes/*"))

    def by_statement(statement: str) -> Callable[[Path], None]:
        def change(backup: Path) -> None:
            alter(backup, statement)
            sign_again(backup, running)

        return change

    def of(path: Path) -> Callable[[Path], Path]:
        return lambda backup: backup / path.relative_to(whole)

    changes: dict[str, Callable[[Path], object]] = {
        "a flipped bit in the manifest": lambda backup: flip(backup / "backup.json"),
        "no manifest": lambda backup: (backup / "backup.json").unlink(),
        "a flipped bit in the database": lambda backup: flip(backup / "database.sqlite"),
        "other settings": lambda backup: (backup / SETTINGS_FILE).write_text("port = 1\n"),
        "another operator": lambda backup: flip(backup / "operator.pub"),
        "a flipped bit in a shard": lambda backup: flip(of(shard)(backup)),
        "a shard too short": lambda backup: os.truncate(of(shard)(backup), 100),
        "a shard too long": lambda backup: of(shard)(backup).write_bytes(shard.read_bytes() + b"\0"),
        "no shard": lambda backup: of(shard)(backup).unlink(),
        "a flipped bit in a box": lambda backup: flip(of(box)(backup)),
        "a charge that is gone": by_statement("UPDATE holdings SET state = 'lapsed' WHERE state = 'charged'"),
        "a holding that is gone": by_statement("DELETE FROM holdings"),
        "an entry that is gone": by_statement(
            'DELETE FROM ledger_entries WHERE "index" = (SELECT MAX("index") FROM ledger_entries)'
        ),
        "an altered entry": by_statement(
            "UPDATE ledger_entries SET entry = CAST(replace(CAST(entry AS TEXT), '1', '2') AS BLOB)"
        ),
        "another head": by_statement("UPDATE ledger_heads SET count = count - 1"),
    }
    for what, change in changes.items():
        backup = tmp_path / "altered"
        shutil.copytree(whole, backup)
        change(backup)
        with pytest.raises(ChoraleError):
            restore(backup, tmp_path / "restored", key_of(running), quiet)
        assert not (tmp_path / "restored").exists(), what
        shutil.rmtree(backup)
    restore(whole, tmp_path / "restored", key_of(running), quiet)


def test_a_key_or_a_name_that_is_wrong(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    backup = backed_up(running, tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="a name that is free"):
        backed_up(running, backup)
    other = tmp_path / "other.key"
    other.write_bytes(bytes(64))
    other.chmod(0o644)
    with pytest.raises(ConfigurationError, match="readable by its owner alone"):
        restore(backup, tmp_path / "restored", other, quiet)
    other.chmod(0o600)
    with pytest.raises(ConfigurationError, match="that the service had"):
        restore(backup, tmp_path / "restored", other, quiet)
    with pytest.raises(ConfigurationError, match="a name that is free"):
        restore(backup, running.settings.folder, key_of(running), quiet)
    assert driver.document()["state"] == "joining"
    assert not any(path.name == "server.key" for path in backup.rglob("*"))
    for path in [backup, *backup.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_backup_of_a_later_release_is_refused(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    backup = backed_up(running, tmp_path / "backup")
    manifest = parse_signed(BackupManifest, (backup / "backup.json").read_bytes().strip()).body
    key = load_keys(running.settings.folder).server
    later = sign(manifest.model_copy(update={"revision": "9999"}), SERVER, key)
    (backup / "backup.json").write_bytes(later.canonical_bytes)
    with pytest.raises(ConfigurationError, match="revision 9999"):
        restore(backup, tmp_path / "restored", key_of(running), quiet)


def test_a_database_that_does_not_answer_is_said_so(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nowhere' / 'chorale.db'}"
    with pytest.raises(ConfigurationError, match="a database that answers"):
        with snapshot.database_at(url) as database:
            database.migrate()
    settings = running.settings.model_copy(update={"database_url": url})
    with pytest.raises(WrongState, match="serve this folder once"):
        make_backup(settings, tmp_path / "backup", running.consortium.clock, quiet)
    assert not (tmp_path / "backup").exists()


def test_a_blob_is_checked_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"aabb")
    with path.open("rb") as file:
        assert Blob("x", (digest(b"aa"), digest(b"bb")), 2).copy(file) == 4
