"""One partner folder: settings, lock, keystore, round keys, journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import client_sdk.round_keys
from client_sdk.durable import FolderLock, write_durably
from client_sdk.journal import Journal
from client_sdk.keystore import PASSPHRASE_VARIABLE, create_keys, load_keys
from client_sdk.round_keys import RoundKeys
from client_sdk.settings import load_settings
from client_sdk.shards import ShardFolder
from privacy.errors import ConfigurationError, Conflict, FolderInUse, KeystoreLocked, StorageFull
from privacy.he.boxes import BoxKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import SETTINGS
from tests.consortium import SeededSource

R = "ab" * 32
OTHER = "cd" * 32


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "partner.toml"
    path.write_text(text)
    return path


GOOD = SETTINGS.format(name="alder", title="Alder", url="http://127.0.0.1:1", patience=1.0)


# --- settings -------------------------------------------------------------------------------------------


def test_settings_are_read_and_the_folder_is_the_files_own(tmp_path: Path) -> None:
    loaded = load_settings(settings_file(tmp_path, GOOD))
    assert loaded.settings.partner.id == "alder"
    assert loaded.settings.policy.max_void_attempts == 2
    assert loaded.folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("[caps]", "[cups]"), "caps"),
        (("delta = 1e-5", "delta = 1.5"), "delta"),
        (('id = "alder"', 'id = "Alder!"'), "id"),
        (("http://", "ftp://"), "http"),
        (("[partner]", "[partner"), "TOML"),
        (("records = 1000", "records = 1000\nmax_void = 1"), "max_void"),
        (('"http://127', '"http://[127'), "http"),
        (("http://", "http:////"), "http"),
        (("records = 1000", "records = " + "[" * 20_000), "nested"),
        (("records = 1000", "records = " + "9" * 5_000), "digits"),
    ],
)
def test_settings_that_cannot_be_used_say_where(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load_settings(settings_file(tmp_path, GOOD.replace(*change)))


def test_absent_settings_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"partner\.toml"):
        load_settings(tmp_path / "partner.toml")


# --- the folder -----------------------------------------------------------------------------------------


def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from client_sdk.durable import FolderLock;"
        " lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(FolderInUse, match="stop the other process"):
        FolderLock(tmp_path)
    holder.kill()
    holder.wait()
    with FolderLock(tmp_path):
        pass


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_durably(path, b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="full disk"):
        write_durably(path, b"after")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_memory_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As is one on which a sum comes in: neither is a stack trace to whoever runs the partner."""
    keys = RoundKeys(b"owner", tmp_path)

    def full(path: object, flags: int, mode: int = 0o777) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client_sdk.round_keys.os, "open", full)
    with pytest.raises(StorageFull, match="full disk"):
        keys.keep("0" * 64, BoxKey.generate())
    monkeypatch.undo()
    assert keys.find("0" * 64) is None

    def no_room(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(StorageFull, match="full disk"):
        ShardFolder(tmp_path / "sums").write([b"shard"], durable=False)


def test_a_full_disk_is_said_by_the_journal_with_what_had_no_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal._database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageFull, match="a decision"), journal.transaction("a decision") as database:
        database.execute("INSERT INTO fact VALUES ('large', zeroblob(1000000))")
    assert journal.fact("large") is None
    journal.close()


# --- keys -----------------------------------------------------------------------------------------------


def test_keys_come_back_under_their_passphrase_alone(tmp_path: Path) -> None:
    made = create_keys(tmp_path, lambda: "one two three", SystemRandom())
    found = load_keys(tmp_path, lambda: "one two three")
    assert found.signing.public == made.signing.public
    assert found.result.public_bytes == made.result.public_bytes
    assert found.device_secret == made.device_secret
    with pytest.raises(KeystoreLocked):
        load_keys(tmp_path, lambda: "one two four")
    with pytest.raises(ConfigurationError, match="without keys"):
        create_keys(tmp_path, lambda: "one two three", SystemRandom())


def test_the_passphrase_comes_from_the_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("one two three\n")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(secret))
    create_keys(tmp_path, None, SystemRandom())
    assert load_keys(tmp_path, None).device_secret
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    with pytest.raises(KeystoreLocked, match=PASSPHRASE_VARIABLE):
        load_keys(tmp_path, None)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    keys = create_keys(tmp_path, lambda: "one two three", SeededSource("keys"))
    shown = repr(keys) + repr(keys.signing) + repr(keys.result) + repr(RoundKeys(b"x", None))
    for secret in (keys.signing.private_bytes(), keys.result.private_bytes, keys.device_secret):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert (tmp_path / "keys.sealed").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_round_key_can_be_claimed_once(tmp_path: Path, on_disk: bool) -> None:
    keys = RoundKeys(b"owner", tmp_path if on_disk else None)
    key = BoxKey.generate()
    public = key.public_bytes
    keys.keep(R, key)
    found = keys.find(R)
    assert found is not None
    assert found.public_bytes == public
    assert keys.claim(R)
    assert keys.find(R) is None
    assert not keys.claim(R)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("mode", [0o777, 0o750])
def test_round_keys_go_into_no_folder_that_others_may_enter(tmp_path: Path, mode: int) -> None:
    made = tmp_path / f"chorale-{os.getuid()}"
    made.mkdir()
    made.chmod(mode)
    with pytest.raises(ConfigurationError, match="this user alone"):
        RoundKeys(b"owner", tmp_path)


def test_round_keys_follow_no_link_that_someone_laid(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / f"chorale-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="this user alone"):
        RoundKeys(b"owner", disk)


def test_a_dead_process_finds_its_round_key_and_old_ones_go(tmp_path: Path) -> None:
    first = RoundKeys(b"owner", tmp_path)
    first.keep(R, BoxKey.generate())
    first.keep(OTHER, BoxKey.generate())
    again = RoundKeys(b"owner", tmp_path)
    assert again.find(R) is not None
    assert RoundKeys(b"another owner", tmp_path).find(R) is None
    again.wipe_all_but({R})
    assert again.find(R) is not None
    assert again.find(OTHER) is None
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))


# --- the journal ----------------------------------------------------------------------------------------


def test_nothing_of_a_journal_is_for_other_users(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        journal = Journal(tmp_path / "journal.sqlite")
        journal.set_fact("name", b"value")
        assert len(list(tmp_path.iterdir())) > 1
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
        journal.close()
    finally:
        os.umask(before)


def test_what_is_written_once_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.met(R, "campaign", 1, 10, b"plan")
    journal.write_once("opening", R, {"opening": b"first", "opened_set": "u"})
    journal.write_once("opening", R, {"opening": b"first", "opened_set": "u"})
    with pytest.raises(Conflict, match="opening"):
        journal.write_once("opening", R, {"opening": b"second", "opened_set": "u"})
    with pytest.raises(Conflict, match="opened set"):
        journal.write_once("opening", R, {"opened_set": "another"})
    journal.close()
    again = Journal(tmp_path / "journal.sqlite")
    record = again.record(R)
    assert record is not None
    assert (record.opening, record.opened_set) == (b"first", "u")


def test_one_cohort_is_accepted_for_an_attempt_and_nothing_of_a_second_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.met(R, "campaign", 1, 10, b"plan")
    journal.accept_cohort(R, "j1", b"cohort", {"alder": b"join"}, {"alder": 3}, None)
    with pytest.raises(Conflict, match="cohort"):
        journal.accept_cohort(R, "j2", b"other", {"alder": b"join"}, {"alder": 9}, None)
    assert journal.seen_counts() == {"alder": 3}
    record = journal.record(R)
    assert record is not None
    assert record.join_messages() == {"alder": b"join"}


def test_a_file_that_is_no_journal_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(ConfigurationError, match="restore the folder"):
        Journal(path)
