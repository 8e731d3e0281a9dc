"""The record of nonces: refused once seen, through kills, reboots and restored folders."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aggregator.app import create_app
from aggregator.storage.nonces import KEPT_SECONDS, STEP_SECONDS, NonceStore, boot_id
from privacy.errors import ReplayedRequest, ServiceUnavailable, StorageFull
from privacy.protocol.http_contract import MAX_SKEW_SECONDS
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import START, SeededSource, done, refused

NOW = 1_000_000


def store(path: Path, boot: str = "this-boot", now: float = NOW, *, first_start: bool = False) -> NonceStore:
    return NonceStore(path / "nonces.db", boot, now, first_start=first_start)


def test_one_time_each_and_forgotten_late(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    nonces.take("a", "1", NOW, NOW)
    nonces.take("b", "1", NOW, NOW)
    nonces.purge(NOW + KEPT_SECONDS)
    with pytest.raises(ReplayedRequest):
        nonces.take("a", "1", NOW, NOW + MAX_SKEW_SECONDS)
    nonces.purge(NOW + KEPT_SECONDS + 1)
    nonces.take("a", "1", NOW + 1, NOW + 1)


def test_what_was_forgotten_is_not_taken_again_by_a_clock_that_is_set_back(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    nonces.take("a", "1", NOW, NOW)
    nonces.take("a", "2", NOW + 200, NOW)
    nonces.take("b", "1", NOW - 100, NOW)
    nonces.purge(NOW + KEPT_SECONDS + 1)
    for again in (nonces, store(tmp_path)):
        for nonce, signed in (("1", NOW), ("2", NOW + 200), ("3", NOW + 199)):
            with pytest.raises(ServiceUnavailable, match=f"signed after {NOW + 200}"):
                again.take("a", nonce, signed, NOW)
        with pytest.raises(ServiceUnavailable):
            again.take("b", "1", NOW - 100, NOW)
    nonces.take("a", "1", NOW + 201, NOW)
    nonces.take("b", "1", NOW - 99, NOW)


def test_a_file_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    nonces.take("a", "1", NOW, NOW)
    nonces.close()
    with sqlite3.connect(tmp_path / "nonces.db") as connection:
        connection.executescript("ALTER TABLE nonces DROP COLUMN signed; DROP TABLE forgotten;")
    for _ in range(2):
        nonces = store(tmp_path)
        with pytest.raises(ReplayedRequest):
            nonces.take("a", "1", NOW, NOW)
    nonces.purge(NOW + KEPT_SECONDS + 1)
    with pytest.raises(ServiceUnavailable):
        nonces.take("a", "1", NOW + MAX_SKEW_SECONDS, NOW)
    nonces.take("a", "1", NOW + MAX_SKEW_SECONDS + 1, NOW + 1)


def test_of_many_at_once_one_passes(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    passed: list[int] = []

    def take(place: int) -> None:
        try:
            nonces.take("a", "1", NOW, NOW)
        except ReplayedRequest:
            return
        passed.append(place)

    threads = [threading.Thread(target=take, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 1


def test_a_killed_process_loses_none(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from aggregator.storage.nonces import NonceStore, boot_id\n"
        f"store = NonceStore(Path(sys.argv[1]), boot_id(), {NOW}, first_start=True)\n"
        f"for place in range(50): store.take('a', str(place), {NOW}, {NOW})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "nonces.db")], check=False)
    assert killed.returncode == -signal.SIGKILL
    nonces = store(tmp_path, boot_id())
    assert nonces.lost_until == -1
    for place in range(50):
        with pytest.raises(ReplayedRequest):
            nonces.take("a", str(place), NOW, NOW)


def test_after_a_reboot_all_that_can_be_lost_is_refused_for_good(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    ahead = NOW + MAX_SKEW_SECONDS
    nonces.take("a", "1", ahead, NOW)
    # What the disk would hold had the machine stopped now: every synced mark, and at the worst no nonce at all.
    with sqlite3.connect(tmp_path / "nonces.db") as connection:
        connection.execute("DELETE FROM nonces")
    for start in ("second-boot", "second-boot", "third-boot"):
        nonces = store(tmp_path, start)
        assert ahead <= nonces.lost_until <= ahead + STEP_SECONDS
        with pytest.raises(ServiceUnavailable):
            nonces.take("a", "1", ahead, NOW)
    nonces.take("a", "1", nonces.lost_until + 1, NOW)


def test_the_mark_is_ahead_of_every_request_that_is_taken(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    for later in range(0, 4 * STEP_SECONDS, 7):
        nonces.take("a", str(later), NOW + later, NOW + later)
        with sqlite3.connect(tmp_path / "nonces.db") as connection:
            (mark,) = connection.execute("SELECT until FROM mark").fetchone()
        assert NOW + later <= mark <= NOW + later + STEP_SECONDS


def test_a_quiet_end_refuses_nothing_after_a_reboot(tmp_path: Path) -> None:
    nonces = store(tmp_path, first_start=True)
    nonces.take("a", "1", NOW + 40, NOW + 40)
    nonces.close()
    nonces = store(tmp_path, "next-boot", NOW + 41)
    assert nonces.lost_until == -1
    with pytest.raises(ReplayedRequest):
        nonces.take("a", "1", NOW + 40, NOW + 41)


def test_a_folder_restored_without_the_file(running: Running, driver: RoundDriver, tmp_path: Path) -> None:
    client = driver.client(driver.names[0])
    headers = client.headers("GET", driver.base, b"")
    done(running.http.get(driver.base, headers=headers))
    restored = tmp_path / "restored"
    shutil.copytree(running.settings.folder, restored, ignore=shutil.ignore_patterns("nonces.db*"))
    settings = running.settings.model_copy(update={"folder": restored})
    app = create_app(settings, running.consortium.clock, SeededSource("restored"))
    assert app.state.service.nonces.lost_until == START + MAX_SKEW_SECONDS


def test_a_record_that_cannot_be_written(running: Running, driver: RoundDriver) -> None:
    client = driver.client(driver.names[0])
    nonces = running.service.nonces
    connection = nonces._connection
    connection.execute("PRAGMA max_page_count = 1")
    for place in range(2000):
        try:
            nonces.take("a", f"{place:032x}", START, START)
        except StorageFull:
            break
    refused(client.get(driver.base), 507, "storage-full")
    connection.execute("PRAGMA max_page_count = 1000000")
    done(client.get(driver.base))


def test_the_boot_has_a_name() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
    assert os.sep not in boot_id()
