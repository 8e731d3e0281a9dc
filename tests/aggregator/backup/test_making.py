"""Backups, made beside a service that works: whole, or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aggregator.backup.contents import BackupManifest
from aggregator.backup.making import TRIES
from aggregator.backup.restoring import restore
from aggregator.rounds.upload import shard_name
from privacy.errors import ConfigurationError, FolderInUse, NotFound
from privacy.protocol.messages import parse_signed
from tests.aggregator.backup.scene import ROOT, backed_up, key_of, quiet
from tests.aggregator.conftest import Constituted, Running
from tests.aggregator.driver import STATE, RoundDriver


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
                time.sleep(0.05)  # it is swept away within a second
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
from aggregator.backup.restoring import restore
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


def test_two_that_write_one_backup(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    driver.join_all()
    driver.upload(driver.names[0])

    def told(place: int, of: int) -> None:
        if place == 0:
            with pytest.raises(FolderInUse):
                backed_up(running, tmp_path / "backup")

    backed_up(running, tmp_path / "backup", told)
