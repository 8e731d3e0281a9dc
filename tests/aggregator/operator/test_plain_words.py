"""What a newcomer types, and what the commands say to it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator import cli
from aggregator.operator import screens
from aggregator.operator.folder import PASSPHRASE_VARIABLE, SETTINGS_FILE, open_operator_folder
from aggregator.operator.names import check_account, check_partners, service_address
from client_sdk.cli import app as partner_app
from privacy.errors import ChoraleError, ConfigurationError
from privacy.typed_paths import beside, reading, writing
from privacy.web_address import is_web_address
from tests.aggregator.operator.choir import DRAFT


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


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("https://choir.example.org", True),
        ("https://choir.example.org/", True),
        ("http://127.0.0.1:8470", True),
        ("http://[::1]:8470", True),
        ("choir.example.org", False),
        ("ftp://choir.example.org", False),
        ("https://", False),
        ("https://choir.example.org/chorale", False),
        ("https://choir.example.org?a=b", False),
        ("https://choir.example.org/#a", False),
        ("https://kim:secret@choir.example.org", False),
        ("https://choir.example.org:port", False),
        ("https://choir .example.org", False),
        ("https://choir.example.org\n", False),
        ("", False),
    ],
)
def test_an_address_is_http_a_host_and_no_more(url, usable, choir):
    assert is_web_address(url) is usable
    settings = choir.folder / "operator" / SETTINGS_FILE
    pinned = open_operator_folder(settings.parent).settings.server_keys
    written = url.replace("\n", "\\n")
    settings.write_text(f'url = "{written}"\nserver_keys = "{pinned}"\n')
    if usable:
        assert open_operator_folder(settings.parent).settings.url == url
    else:
        assert isinstance(choir.run("status").exception, ConfigurationError)


@pytest.mark.parametrize(
    ("host", "public_url", "address"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8470"),
        ("::1", "", "http://[::1]:8470"),
        ("0.0.0.0", "https://choir.example.org/", "https://choir.example.org"),
        ("http://choir", "", None),
        ('a"b', "https://choir.example.org", None),
        ("", "", None),
        ("127.0.0.1", "choir.example.org", None),
    ],
)
def test_init_takes_an_address_or_makes_nothing(host, public_url, address, tmp_path):
    if address is not None:
        assert service_address(host, 8470, public_url) == address
        return
    words = ["init", str(tmp_path / "choir"), "--host", host, "--public-url", public_url]
    assert isinstance(CliRunner().invoke(cli.app, words).exception, ConfigurationError)
    assert not (tmp_path / "choir").exists()


@pytest.mark.parametrize("command", ["init", "serve"])
def test_a_file_where_the_services_folder_should_be_is_said_so(command, tmp_path, monkeypatch):
    (tmp_path / "passphrase").write_text("pass")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    (tmp_path / "service").touch()
    refused = CliRunner().invoke(cli.app, [command, str(tmp_path if command == "init" else tmp_path / "service")])
    assert isinstance(refused.exception, ConfigurationError)


@pytest.mark.parametrize(
    "names", [["north", "Aster Pharma"], ["ASTER"], ["-a"], ["a"], ["north", "south", "north"]]
)
def test_names_are_checked_before_the_first_invitation(names, choir):
    with pytest.raises(ConfigurationError):
        check_partners(names)
    refused = choir.run("invite", "--json", "--", *names)
    assert isinstance(refused.exception, ConfigurationError)
    assert refused.stdout == ""


def test_an_account_name_is_said_plainly():
    check_account("j.kim")
    with pytest.raises(ConfigurationError, match="small letters"):
        check_account("J. Kim")


@pytest.mark.parametrize(
    "words",
    [
        ("report", "--out", "report.json"),
        ("conduct", "trunk", "--rounds", "1"),
        ("account", "create", "kim", "--role", "officer", "--scope", "consortium"),
    ],
)
def test_without_a_charter_the_operator_is_told_to_draft_one(words, choir):
    refused = choir.run(*words).exception
    assert isinstance(refused, ChoraleError)
    assert "chorale-server charter draft" in refused.remedy


def test_a_roster_too_small_and_a_scope_unknown_are_the_operators_to_mend(choir):
    choir.constitute()
    for words in (("account", "create", "kim", "--role", "officer"), ("officer-link", "kim")):
        refused = choir.run(*words, "--scope", "nobody").exception
        assert isinstance(refused, ConfigurationError)
        assert "partner-01" in refused.expected
    file = choir.folder / "more.toml"
    file.write_text(DRAFT.replace("n_min = 3", "n_min = 30"))
    refused = choir.run("charter", "draft", str(file), "--yes").exception
    assert isinstance(refused, ConfigurationError)
    assert "invite and approve more, or lower n_min" in refused.remedy
