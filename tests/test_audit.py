"""`make audit` goes red: for a flaw, an unknown licence, a stray package, and where it could check nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from deploy.audit.__main__ import HERE, audit, known_flaws
from deploy.audit.advisories import Advisory, AdvisoryList, read_advisories
from deploy.audit.bill import Component, components, make_bill, unpinned
from deploy.audit.databases import CANARY, CANARY_FLAW, Database, first_answer
from deploy.audit.licences import LicenceList, read_licences
from privacy.errors import ConfigurationError
from tests.consortium import ManualClock

ROOT = Path(__file__).parents[1]
DAY = 86400.0
REVIEWED = date(2026, 11, 1)
SOUND = Component("chorister", "1.0", ("MIT",))
FLAWED = Component("werkzeug", "2.0.0", ("BSD-3-Clause",))
FLAW = "CVE-2024-49767"
ADVISORY = Advisory(package="werkzeug", versions="<3.0.6", id=FLAW, concerns=True, why="planted")


def kept(*advisories: Advisory) -> AdvisoryList:
    return AdvisoryList(reviewed=REVIEWED, advisories=advisories)


def days_after(day: date, days: int) -> ManualClock:
    return ManualClock(((day - date(1970, 1, 1)).days + days) * DAY)


class Osv(BaseHTTPRequestHandler):
    """Answers as the OSV database does, of the flaws in `known`."""

    known: ClassVar[dict[tuple[str, str], str]] = {}

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        flaw = self.known.get((asked["package"]["name"], asked["version"]))
        affected = [{"package": asked["package"], "ranges": []}]
        shown = {"vulns": [{"id": "GHSA-1", "aliases": [flaw], "affected": affected}]} if flaw else {}
        body = json.dumps(shown).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(Osv, "known", {CANARY: CANARY_FLAW})
    with HTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Database("OSV", ("-s", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query"))
        server.shutdown()
        thread.join()


UNREACHABLE = Database("nowhere", ("-s", "osv", "--osv-url", "http://127.0.0.1:9/v1/query"))


def test_a_planted_flaw_is_red_and_one_with_a_reason_is_not(osv: Database) -> None:
    Osv.known[(FLAWED.name, FLAWED.version)] = FLAW
    said, wrong = known_flaws([SOUND, FLAWED], [osv], kept(), days_after(REVIEWED, 1))
    assert said == ["OSV answered for 2 of 2 packages"]
    assert len(wrong) == 1
    assert FLAW in wrong[0]
    harmless = ADVISORY.model_copy(update={"concerns": False, "why": "nothing here parses forms with it"})
    said, wrong = known_flaws([SOUND, FLAWED], [osv], kept(harmless), days_after(REVIEWED, 1))
    assert wrong == []
    assert any("nothing here parses forms with it" in line for line in said)


def test_a_database_that_does_not_know_what_is_known_is_not_believed(osv: Database) -> None:
    Osv.known.clear()
    answer, silent = first_answer([osv], [SOUND])
    assert answer is None
    assert "its silence says nothing" in silent[0][1]


def test_without_a_database_the_projects_list_is_asked_and_that_is_said() -> None:
    said, wrong = known_flaws([SOUND, FLAWED], [UNREACHABLE], kept(ADVISORY), days_after(REVIEWED, 10))
    assert said[0].startswith("nowhere did not answer: ")
    assert "no database answered: 2 packages were held against the project's own list" in said[1]
    assert len(wrong) == 1
    assert FLAW in wrong[0]
    assert known_flaws([SOUND], [], kept(ADVISORY), days_after(REVIEWED, 10))[1] == []


@pytest.mark.parametrize(("advisories", "days"), [((), 1), ((ADVISORY,), 181), ((ADVISORY,), -1)])
def test_nothing_checked_is_red(advisories: tuple[Advisory, ...], days: int) -> None:
    with pytest.raises(ConfigurationError, match="a database that answers"):
        known_flaws([SOUND], [], kept(*advisories), days_after(REVIEWED, days))


def test_the_list_covers_versions_as_it_says() -> None:
    assert ADVISORY.covers("werkzeug", "3.0.5")
    assert not ADVISORY.covers("werkzeug", "3.0.6")
    assert not ADVISORY.covers("other", "1.0")


def test_the_kept_list_finds_an_old_pin() -> None:
    old = [Component("starlette", "0.45.0", ()), Component("torch", "2.5.1+cpu", ())]
    wrong, accepted = read_advisories(HERE / "advisories.toml").judge(old)
    assert {line.split(":")[0] for line in wrong} == {"starlette 0.45.0", "torch 2.5.1+cpu"}
    assert any("multipart" in line for line in accepted)


@pytest.mark.parametrize(
    ("declared", "wrong"),
    [
        (("MIT",), False),
        (("MIT", "License :: OSI Approved :: BSD License"), False),
        (("BSD-3-Clause OR GPL-3.0-only",), False),
        (("Apache-2.0 WITH LLVM-exception",), False),
        (("BSD-3-Clause AND GPL-3.0-only",), True),
        (("GPL-3.0-only WITH Classpath-exception-2.0",), True),
        (("MIT", "GPL-3.0-only"), True),
        (("License :: OSI Approved :: BSD License",), True),
        (("my own terms",), True),
        ((), True),
    ],
)
def test_licences(declared: tuple[str, ...], wrong: bool) -> None:
    licences = read_licences(HERE / "licences.toml")
    assert bool(licences.judge([Component("stranger", "1.0", declared)])) is wrong


def test_a_licence_that_was_read_counts_for_its_package_alone() -> None:
    licences = LicenceList(frozenset({"MIT"}), {"worded": "MIT"})
    worded, other = Component("worded", "1", ("License :: X",)), Component("other", "1", ("License :: X",))
    assert [line.split()[0] for line in licences.judge([worded, other])] == ["other"]


def test_what_is_installed_and_not_pinned_is_red() -> None:
    found = [
        SOUND,
        Component("pinned", "1.0", ()),
        Component("torch", "2.13.0+cpu", ()),
        Component("pip", "26", ()),
    ]
    wrong = unpinned(found, "# pins\nPinned==2.0\ntorch==2.13.0\n")
    assert [line.split()[0] for line in wrong] == ["chorister", "pinned"]


def plant(folder: Path, metadata: str) -> Path:
    """An interpreter with one distribution beside it."""
    venv.create(folder, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    info = folder / "lib" / version / "site-packages" / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: stranger\nVersion: 1.0\n{metadata}", "utf-8")
    return folder / "bin" / "python"


def test_the_bill_lists_what_is_there_and_a_stranger_makes_the_audit_red(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = plant(tmp_path / "planted", "License: The Stranger's Own Terms\n")
    bill = make_bill(python, ROOT / "pyproject.toml", tmp_path / "sbom.json")
    assert [one.name for one in components(bill)] == ["stranger"]
    fresh = days_after(read_advisories(HERE / "advisories.toml").reviewed, 1)
    assert audit(python, tmp_path / "sbom.json", [], fresh) == 1
    shown = capsys.readouterr().out
    assert "FAIL stranger 1.0 has no licence that names itself" in shown or "FAIL stranger 1.0 is under" in shown
    assert "FAIL stranger 1.0 is installed, and not in constraints.txt" in shown
    assert audit(python, tmp_path / "sbom.json", [], days_after(date(2100, 1, 1), 1)) == 1
    assert "FAIL nothing was checked" in capsys.readouterr().out


def test_an_empty_environment_is_no_bill(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False)
    with pytest.raises(ConfigurationError, match="bill of materials"):
        make_bill(tmp_path / "empty" / "bin" / "python", ROOT / "pyproject.toml", tmp_path / "sbom.json")


@pytest.mark.full
def test_what_is_installed_here_passes_and_says_what_answered(tmp_path: Path) -> None:
    out = tmp_path / "sbom.cdx.json"
    command = [sys.executable, "-m", "deploy.audit", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " answered for " in done.stdout or "no database answered" in done.stdout
    assert json.loads(out.read_text(encoding="utf-8"))["bomFormat"] == "CycloneDX"
