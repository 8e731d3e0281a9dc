"""What comes back from a backup, what does not, and that it is the same from either database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.app import create_app
from aggregator.backup.contents import blobs
from aggregator.backup.making import make_backup
from aggregator.backup.recovering import declare_whole
from aggregator.backup.reentering import follow_action
from aggregator.backup.restoring import restore
from aggregator.backup.verifying import check_session
from aggregator.rounds import oversight
from aggregator.settings import Settings
from aggregator.storage import ledger, snapshot
from aggregator.storage.folder import load_keys, serving
from aggregator.storage.sessions import Viewer
from aggregator.storage.tables import ConsoleSessionRow, HoldingRow, SuspensionRow, TightenedCapRow, UploadRow
from privacy.errors import ChoraleError, LedgerBroken, RolledBack, WrongState
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Deadlines
from tests.aggregator.backup.scene import ROOT, again, backed_up, key_of, quiet
from tests.aggregator.conftest import Constituted, Running
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.consortium import ManualClock, SeededSource, done
from tests.postgresql import Cluster


def test_a_round_goes_on_where_the_backup_was_made(
    running: Running, driver: RoundDriver, constituted: Constituted, tmp_path: Path
) -> None:
    done(driver.abort("a longer one follows"))
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
