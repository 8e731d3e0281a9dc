"""Backups: made beside a service that works, whole or not there, and refused where one byte is another."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.app import create_app
from aggregator.backup.contents import BackupManifest, Blob, blobs, file_digest
from aggregator.backup.making import TRIES, make_backup
from aggregator.backup.recovering import declare_whole
from aggregator.backup.reentering import follow_action
from aggregator.backup.restoring import restore
from aggregator.backup.verifying import check_session
from aggregator.rounds import oversight
from aggregator.rounds.upload import shard_name
from aggregator.settings import SETTINGS_FILE, Settings
from aggregator.storage import ledger, snapshot
from aggregator.storage.folder import load_keys, serving
from aggregator.storage.sessions import Viewer
from aggregator.storage.tables import ConsoleSessionRow, HoldingRow, SuspensionRow, TightenedCapRow, UploadRow
from privacy.errors import (
    ChoraleError,
    ConfigurationError,
    FolderInUse,
    LedgerBroken,
    NotFound,
    RolledBack,
    WrongState,
)
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Abort, Deadlines, parse_signed
from privacy.protocol.signing import sign
from tests.aggregator.conftest import Constituted, Running
from tests.aggregator.driver import SHARD_BYTES, STATE, RoundDriver
from tests.consortium import ManualClock, SeededSource, done

ROOT = Path(__file__).parents[2]


def quiet(done_: int, of: int) -> None:
    del done_, of


def backed_up(running: Running, target: Path, told: Callable[[int, int], None] = quiet) -> Path:
    make_backup(running.settings, target, running.consortium.clock, told, sleep=lambda seconds: None)
    return target


def key_of(running: Running) -> Path:
    return running.settings.folder / "server.key"


@contextmanager
def again(running: Running, driver: RoundDriver, folder: Path) -> Iterator[tuple[TestClient, RoundDriver]]:
    """The service of a restored folder, and the same round driven on there."""
    settings = Settings.load(folder).model_copy(update={"shard_bytes": SHARD_BYTES, "sum_workers": 1})
    with ThreadPoolExecutor(1) as pool:
        with TestClient(create_app(settings, running.consortium.clock, SeededSource("again"), pool)) as http:
            # Past the time in which a service without its nonces takes nothing.
            running.consortium.clock.seconds += 301
            driver.http = http
            yield http, driver


def test_a_round_goes_on_where_the_backup_was_made(
    running: Running, driver: RoundDriver, constituted: Constituted, tmp_path: Path
) -> None:
    abort = Abort(charter=driver.charter.digest, plan=driver.plan.digest, reason="a longer one follows")
    done(driver.client(OPERATOR).post(f"{driver.base}/abort", running.consortium.by_operator(abort)))
    now = int(running.consortium.clock.now())
    driver = RoundDriver(
        running.consortium,
        running.http,
        constituted.charter,
        constituted.campaign,
        attempt=2,
        deadlines=Deadlines(join=now + 600, upload=now + 1200, open=now + 1800),
    )
    driver.join_all()
    driver.upload(driver.names[0])
    missing = driver.announce(driver.names[1])
    done(driver.put(driver.names[1], missing[0]), 201)
    backup = backed_up(running, tmp_path / "backup")
    head = done(driver.client(OPERATOR).get("/v1/ledger/checkpoint"))["body"]["chain"]
    restore(backup, tmp_path / "restored", key_of(running), quiet)
    settings = Settings.load(tmp_path / "restored")
    with pytest.raises(RolledBack, match="nobody has said yet"):
        create_app(settings, running.consortium.clock, SeededSource("too early"))
    assert declare_whole(settings, running.consortium.clock).count == head["count"] + 1
    with pytest.raises(WrongState, match="nobody restored"):
        declare_whole(settings, running.consortium.clock)
    with again(running, driver, tmp_path / "restored"):
        assert driver.announce(driver.names[1]) == missing[1:]
        for name in driver.names[1:]:
            driver.upload(name)
        driver.wait_for("opening")
        for name in driver.names:
            done(driver.open(name), 201)
            done(driver.confirm(name), 201)
        assert driver.wait_for("confirmed")["state"] == "confirmed"


def test_backups_while_uploads_run_are_each_whole(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    driver.join_all()
    frames = {name: driver.manifest(name) for name in driver.names}
    driver.frames.update(frames)
    made = []
    with ThreadPoolExecutor(len(driver.names)) as pool:
        under_way = [pool.submit(driver.upload, name) for name in driver.names]
        while len(made) < 3 or not all(upload.done() for upload in under_way):
            made.append(backed_up(running, tmp_path / f"backup-{len(made)}"))
        for upload in under_way:
            upload.result()
    driver.wait_for("opening")
    made.append(backed_up(running, tmp_path / "last"))
    counts = []
    for place, backup in enumerate(made):
        counts.append(restore(backup, tmp_path / f"restored-{place}", key_of(running), quiet).body.blobs)
    assert counts == sorted(counts)
    # A box file of each partner, its shards, and the sum's.
    shards = len(driver.shards(driver.names[0]))
    assert counts[-1] == len(driver.names) * (1 + shards) + shards


def test_what_is_deleted_meanwhile_is_no_part_of_it(
    running: Running, driver: RoundDriver, constituted: Constituted, tmp_path: Path
) -> None:
    driver.to_confirmed()
    later = RoundDriver(
        running.consortium, running.http, constituted.charter, constituted.campaign, round=2, base_state=STATE
    )
    uploads = running.settings.blobs / "rounds" / driver.plan.digest / "uploads"
    looks = []

    def told(place: int, of: int) -> None:
        if place == 0:
            looks.append(of)
        if len(looks) == 1 and place == 1:
            later.to_confirmed("ab" * 32)
            for _ in range(200):
                if not uploads.exists():
                    break
                later.document()
            assert not uploads.exists()

    backup = backed_up(running, tmp_path / "backup", told)
    assert len(looks) == 2
    kept = {path.relative_to(backup / "blobs").parts[1] for path in (backup / "blobs").rglob("*") if path.is_file()}
    assert kept == {later.plan.digest}
    restore(backup, tmp_path / "restored", key_of(running), quiet)


def test_a_blob_that_is_lost_is_no_backup(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    driver.join_all()
    driver.upload(driver.names[0])
    lost = shard_name(driver.plan.digest, driver.names[0], 1)
    (running.settings.blobs / lost).unlink()
    with pytest.raises(NotFound, match=f"{lost}, in {TRIES} looks"):
        backed_up(running, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    with pytest.raises(ConfigurationError, match="No such file"):
        restore(tmp_path / "backup.part", tmp_path / "restored", key_of(running), quiet)


KILLED = """
import os, signal, sys
from pathlib import Path
from aggregator.backup.making import make_backup
from aggregator.backup.reentering import follow_action
from aggregator.backup.restoring import restore
from aggregator.backup.verifying import check_session
from aggregator.rounds import oversight
from aggregator.settings import Settings
from privacy.clock import SystemClock
what, source, target, at = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
def told(place, of):
    if place == at:
        os.kill(os.getpid(), signal.SIGKILL)
if what == "backup":
    make_backup(Settings.load(source), target, SystemClock(), told)
else:
    restore(source, target, Path(sys.argv[5]), told)
"""


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_a_kill_leaves_nothing_that_looks_whole(
    what: str, running: Running, driver: RoundDriver, tmp_path: Path
) -> None:
    driver.join_all()
    for name in driver.names[:2]:
        driver.upload(name)
    whole = backed_up(running, tmp_path / "whole")
    count = parse_signed(BackupManifest, (whole / "backup.json").read_bytes().strip()).body.blobs
    source = running.settings.folder if what == "backup" else whole
    for at in (count // 2, count):
        command = [sys.executable, "-c", KILLED, what, str(source), str(tmp_path / "target"), str(at)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run([*command, str(key_of(running))], env=environment, check=False)
        assert ended.returncode == -signal.SIGKILL
        assert not (tmp_path / "target").exists()
        assert (tmp_path / "target.part").is_dir()
    if what == "backup":
        backed_up(running, tmp_path / "target")
        restore(tmp_path / "target", tmp_path / "restored", key_of(running), quiet)
    else:
        restore(whole, tmp_path / "target", key_of(running), quiet)
    assert not (tmp_path / "target.part").exists()


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


def test_what_officers_did_since_comes_back_with_its_entries(
    running: Running, driver: RoundDriver, tmp_path: Path
) -> None:
    service, names = running.service, driver.names
    kim, lee = (Viewer(name, name, "officer", "consortium", 2e9) for name in ("kim", "lee"))
    oversight.suspend(service, kim, names[2], "suspended before the backup")
    backup = backed_up(running, tmp_path / "backup")
    with service.database.read() as session:
        before = ledger.head(session).count
    oversight.suspend(service, kim, names[0], "a doubt")
    oversight.suspend(service, kim, names[1], "another doubt")
    oversight.resume(service, kim, names[1], "no doubt left")
    oversight.resume(service, kim, names[2], "it is well")
    oversight.resume(service, lee, names[2], "I saw it too")
    caps = driver.charter.entry(names[1]).caps
    oversight.tighten_caps(service, lee, names[1], caps.epsilon_in_sum / 2, caps.epsilon_alone, "less than agreed")

    def decided(session: Session) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        suspended, tightened = session.scalars(select(SuspensionRow)), session.scalars(select(TightenedCapRow))
        return (
            sorted((row.participant, row.reason, row.proposed_by) for row in suspended),
            sorted((row.participant, row.officer, row.caps, row.limits) for row in tightened),
        )

    with service.database.read() as session:
        expected = decided(session)
        lost = list(ledger.lines(session, before, 100))
    assert len(lost) == 6
    assert [name for name, _, _ in expected[0]] == names[:2]
    restore(backup, tmp_path / "restored", key_of(running), quiet)
    settings = Settings.load(tmp_path / "restored")
    with snapshot.database_at(settings.database) as database, database.write() as session:
        assert decided(session) != expected
        for line in lost:
            follow_action(session, ledger.replay(session, line))
        check_session(session, load_keys(settings.folder))
        assert decided(session) == expected
        with pytest.raises(LedgerBroken):
            ledger.replay(session, lost[0])


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


def test_two_that_write_one_backup(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    driver.join_all()
    driver.upload(driver.names[0])

    def told(place: int, of: int) -> None:
        if place == 0:
            with pytest.raises(FolderInUse):
                backed_up(running, tmp_path / "backup")

    backed_up(running, tmp_path / "backup", told)


def test_sessions_and_links_do_not_come_back(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    link = done(driver.client(OPERATOR).post("/v1/officer-links", {"officer": "kim", "scope": "consortium"}), 201)
    token = link["url"].rsplit("/", 1)[-1].split("=")[-1].split("#")[-1]
    assert token
    with running.service.database.write() as session:
        session.add(
            ConsoleSessionRow(
                token_digest="ab" * 32,
                name="kim",
                account=None,
                role="officer",
                scope="consortium",
                setting_up=False,
                created=0.0,
                seen=0.0,
                expires=9e9,
                revoked_at=None,
            )
        )
    restore(backed_up(running, tmp_path / "backup"), tmp_path / "restored", key_of(running), quiet)
    with closing(sqlite3.connect(tmp_path / "restored" / "chorale.db")) as database:
        for table in ("console_sessions", "console_links"):
            assert database.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)


@pytest.mark.full
def test_the_commands(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from aggregator.cli import main; main()", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)

    with serving(running.settings.folder):  # as the service itself does
        made = run("backup", "kept", "--service", str(running.settings.folder), "--json")
    assert made.returncode == 0, made.stderr
    restored = run("restore", "kept", "new", "--server-key", str(key_of(running)))
    assert restored.returncode == 0, restored.stderr
    refused = run("serve", "new")
    assert refused.returncode == 1
    assert "recover" in refused.stderr
    assert run("recover", "new", "--nothing-lost", "--yes").returncode == 0
    again_ = run("backup", "kept", "--service", "new")
    assert again_.returncode == 1
    assert "free" in again_.stderr
    nothing = run("backup", "other", "--service", str(tmp_path / "nowhere"))
    assert nothing.returncode == 1
    assert "Traceback" not in nothing.stderr


@pytest.mark.full
def test_a_backup_of_either_database_fills_either(
    database_url: str,
    constituted: Constituted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A round under way on `database_url`, whose backup is restored on SQLite, and on PostgreSQL."""
    folder = tmp_path / "server"
    shutil.copytree(constituted.folder, folder)
    settings = Settings(folder=folder, shard_bytes=SHARD_BYTES, sum_workers=1, database_url=database_url)
    with snapshot.database_at(database_url) as filled:
        snapshot.put(folder / "chorale.db", filled)
    consortium = constituted.consortium
    clock = ManualClock()
    monkeypatch.setattr(consortium, "clock", clock)
    with ThreadPoolExecutor(1) as pool:
        with TestClient(create_app(settings, clock, SeededSource("either"), pool)) as http:
            driver = RoundDriver(consortium, http, constituted.charter, constituted.campaign)
            driver.join_all()
            driver.upload(driver.names[0])
            make_backup(settings, tmp_path / "backup", clock, quiet)
            with snapshot.database_at(database_url) as database, database.read() as session:
                expected = sorted(blob.name for blob in blobs(session))
                holdings = [(row.participant, row.state) for row in session.scalars(select(HoldingRow))]
    from tests.postgresql import Cluster

    cluster: Cluster = request.getfixturevalue("postgresql")
    for url in (f"sqlite:///{tmp_path / 'elsewhere.db'}", cluster.database()):
        monkeypatch.setenv("CHORALE_DATABASE_URL", url)
        target = tmp_path / f"restored-{url[:6]}"
        restore(tmp_path / "backup", target, folder / "server.key", quiet)
        with snapshot.database_at(url) as database, database.read() as session:
            assert sorted(blob.name for blob in blobs(session)) == expected
            assert sorted((r.participant, r.state) for r in session.scalars(select(HoldingRow))) == sorted(holdings)
        # After a crash between the database's commit and the folder's name, it is done again.
        shutil.rmtree(target)
        restore(tmp_path / "backup", target, folder / "server.key", quiet)
        with snapshot.database_at(url) as database, database.write() as session:
            session.scalars(select(UploadRow)).one().in_seal = True
        shutil.rmtree(target)
        with pytest.raises(ChoraleError, match="with other rows"):
            restore(tmp_path / "backup", target, folder / "server.key", quiet)
        assert not target.exists()


def test_a_blob_is_checked_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"aabb")
    from privacy.protocol.canonical import digest

    with path.open("rb") as file:
        assert Blob("x", (digest(b"aa"), digest(b"bb")), 2).copy(file) == 4
