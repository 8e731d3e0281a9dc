"""The operator's folder and its record of signed plans: what a crash, another process or a stranger may find."""

import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aggregator.operator import durable
from aggregator.operator import folder as operator_folder
from aggregator.operator.folder import (
    KEY_FILE,
    PASSPHRASE_VARIABLE,
    create_operator_key,
    open_operator_folder,
    read_passphrase,
    write_settings,
)
from aggregator.operator.plan_record import PlanRecord
from aggregator.operator.planning import Phases, signed_plan, vector_layout
from privacy.errors import ConfigurationError, Conflict, FolderInUse, KeystoreLocked, StorageFull
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.signing import Verifier, countersign
from tests.aggregator.operator.paper_consortium import ROW
from tests.consortium import SeededSource


def plan(consortium, number=1, attempt=1, now=0.0):
    campaign = countersign(consortium.campaign, OPERATOR, consortium.operator)
    return signed_plan(
        consortium.charter,
        campaign,
        ROW,
        vector_layout(consortium.charter, campaign.body, ROW, None),
        number=number,
        attempt=attempt,
        base_state=campaign.body.genesis,
        deadlines=Phases(60, 60, 60).deadlines(now),
        key=consortium.operator,
        verifier=Verifier(),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plans.jsonl"


def test_a_record_reads_back_what_was_signed_and_what_was_posted(consortium, path):
    first, second = plan(consortium), plan(consortium, number=2)
    record = PlanRecord(path)
    record.add(first)
    record.mark_posted(first.digest)
    record.mark_posted(first.digest)
    record.add(second)
    found = PlanRecord(path).of_campaign(consortium.campaign.digest)
    assert [(held.plan.canonical_bytes, held.posted) for held in found] == [
        (first.canonical_bytes, True),
        (second.canonical_bytes, False),
    ]
    assert path.read_bytes().count(b"\n") == 3
    assert PlanRecord(path).of_campaign("0" * 64) == ()


def test_an_attempt_is_signed_once_also_after_a_restart(consortium, path):
    PlanRecord(path).add(plan(consortium))
    again = PlanRecord(path)
    with pytest.raises(Conflict, match="never signed"):
        again.add(plan(consortium, now=50.0))
    again.add(plan(consortium, attempt=2))


def test_a_line_cut_short_by_a_crash_is_cut_off(consortium, path):
    record = PlanRecord(path)
    record.add(plan(consortium))
    whole = path.read_bytes()
    record.add(plan(consortium, number=2))
    torn = path.read_bytes()[: len(whole) + 700]
    path.write_bytes(torn)
    record = PlanRecord(path)
    assert path.read_bytes() == whole
    record.add(plan(consortium, number=2))
    assert len(PlanRecord(path).of_campaign(consortium.campaign.digest)) == 2


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b'{"posted":"00"}', b'{"signed":{}}', b"[]", b"1"])
def test_a_record_that_was_meddled_with_stops_everything(consortium, path, line):
    PlanRecord(path).add(plan(consortium))
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        PlanRecord(path)


def test_a_full_disk_signs_nothing(consortium, path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(StorageFull):
        PlanRecord(path).add(plan(consortium))


@pytest.fixture
def folder(tmp_path, consortium):
    keys = create_operator_key(tmp_path / "operator", "pass", SeededSource("source"))
    return keys, write_settings(tmp_path / "operator", "http://host:1", consortium.server.public)


def test_a_folder_opens_under_its_passphrase(folder):
    keys, made = folder
    found = open_operator_folder(made.path)
    assert found.settings == made.settings
    assert found.load_key("pass").public == keys
    with pytest.raises(KeystoreLocked):
        found.load_key("Pass")
    assert stat.S_IMODE((made.path / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.stat().st_mode) & 0o077 == 0


def test_a_key_is_never_made_over(folder):
    with pytest.raises(ConfigurationError, match="without an operator key"):
        create_operator_key(folder[1].path, "pass", SeededSource("source"))


def test_approvals_are_remembered(folder):
    made = folder[1]
    assert made.approvals() == {}
    made.remember_approval("ash", "00" * 32)
    made.remember_approval("birch", "11" * 32)
    assert open_operator_folder(made.path).approvals() == {"ash": "00" * 32, "birch": "11" * 32}
    (made.path / "approvals.json").write_text('{"ash": 1}')
    with pytest.raises(ConfigurationError):
        made.approvals()


def test_approvals_at_once_are_all_remembered(folder, monkeypatch):
    made = folder[1]
    honest = operator_folder.write_whole

    def slow(path, content):
        time.sleep(0.02)
        honest(path, content)

    monkeypatch.setattr(operator_folder, "write_whole", slow)
    names = [f"partner-{place}" for place in range(6)]
    with ThreadPoolExecutor(6) as commands:
        list(commands.map(lambda name: made.remember_approval(name, "00" * 32), names))
    assert sorted(made.approvals()) == names


def test_one_conductor_a_folder(folder):
    made = folder[1]
    with made.conducting(), pytest.raises(FolderInUse), made.conducting():
        pass
    with made.conducting():
        pass


@pytest.mark.parametrize("text", ["", "url = 1", 'url = "u"', "url", 'url="u"\nserver_keys="x"', "\udcff"])
def test_settings_that_cannot_be_used_are_named(folder, text):
    made = folder[1]
    (made.path / "operator.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError):
        open_operator_folder(made.path)


def test_a_passphrase_comes_from_the_file_or_a_person(tmp_path, monkeypatch):
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    assert read_passphrase(lambda: "typed") == "typed"
    with pytest.raises(KeystoreLocked):
        read_passphrase(None)
    file = tmp_path / "passphrase"
    file.write_text("in a file\r\nand a note\n")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(file))
    assert read_passphrase(lambda: "typed") == "in a file"
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError):
        read_passphrase(None)
