"""What a newcomer types, and what the commands say to it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator import cli
from aggregator.operator import screens
from client_sdk.cli import app as partner_app
from privacy.errors import ConfigurationError
from privacy.typed_paths import beside, reading, writing


@pytest.mark.parametrize("app", [cli.app, partner_app])
@pytest.mark.parametrize("words", [("report", "verify"), ("ledger", "verify")])
@pytest.mark.parametrize("path", [".", "..", "/", "nowhere/q.json"])
def test_a_file_that_cannot_be_read_is_refused_plainly(app, words, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, [*words, path])
    assert isinstance(refused.exception, ConfigurationError)


@pytest.mark.parametrize("path", [".", "..", "/", "file/under.json", "/proc/none.json"])
def test_a_file_that_cannot_be_written_is_refused_plainly(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    with pytest.raises(ConfigurationError), writing(Path(path)):
        Path(path).write_bytes(b"x")


def test_a_folder_that_is_not_there_is_made_for_what_is_written(choir):
    choir.constitute()
    for words, name in ((("ledger", "export"), "a/ledger.jsonl"), (("report", "--out"), "b/report.json")):
        file = choir.folder / name
        assert choir.run(*words, str(file)).exit_code == 0
        assert file.is_file()
    assert isinstance(choir.run("ledger", "export", str(choir.folder)).exception, ConfigurationError)


def test_a_signature_lies_beside_a_name_alone():
    assert beside(Path("a/b.pdf"), ".sig.json") == Path("a/b.pdf.sig.json")
    with pytest.raises(ConfigurationError), reading(Path()):
        beside(Path(), ".sig.json")


def test_what_is_copied_from_the_screen_is_one_line(capsys):
    long = "https://choir.example.org/console/sign-in?link=" + "a" * 200
    screens.screen.print(screens.facts([("url", long), ("expires", "tomorrow")]))
    assert capsys.readouterr().out.splitlines() == [f"url      {long}", "expires  tomorrow"]
