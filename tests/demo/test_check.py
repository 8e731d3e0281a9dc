"""The audit of a finished demo: it passes as it was left, and names what was altered since, one byte at a time."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from deploy.demo.check import Check, Report

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.full, pytest.mark.system, pytest.mark.timeout(1800)]


def checked(out: Path) -> tuple[int, str]:
    """How many steps failed, and what was printed."""
    printed = io.StringIO()
    report = Report(Console(file=printed, soft_wrap=True))
    Check(out, report).run()
    return report.failed, printed.getvalue()


def altered_copy(demo: Path, folder: Path) -> Path:
    out = folder / "demo"
    shutil.copytree(demo / "consortium", out / "consortium")
    for name in ("results.json", "summary.json"):
        shutil.copy(demo / name, out / name)
    return out


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))


def flip_upload(out: Path) -> None:
    blobs = out / "consortium" / "service" / "blobs"
    flip(next(blobs.glob("rounds/*/uploads/clover/0")), 1000)


def rewrite_ledger(out: Path) -> None:
    """As someone with the database's password would: the triggers go first."""
    database = sqlite3.connect(out / "consortium" / "service" / "chorale.db")
    triggers = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger_entries'"
    )
    for (name,) in triggers.fetchall():
        database.execute(f'DROP TRIGGER "{name}"')
    query = "SELECT \"index\", entry FROM ledger_entries WHERE kind = 'charge' AND participant = 'birch'"
    index, entry = database.execute(f"{query} LIMIT 1").fetchone()
    lower = bytes(entry).replace(b'"charged":1', b'"charged":0')
    assert lower != entry
    database.execute('UPDATE ledger_entries SET entry = ? WHERE "index" = ?', (lower, index))
    database.commit()
    database.close()


def forge_confirmation(out: Path) -> None:
    database = sqlite3.connect(out / "consortium" / "service" / "chorale.db")
    partner, message = database.execute(
        "SELECT partner, message FROM confirmations WHERE partner = 'elder' LIMIT 1"
    ).fetchone()
    told = json.loads(message)
    told["body"]["state"] = "0" * 64
    raw = json.dumps(told, separators=(",", ":"), sort_keys=True).encode()
    database.execute("UPDATE confirmations SET message = ? WHERE partner = ?", (raw, partner))
    database.commit()
    database.close()


def drop_own_charge(out: Path) -> None:
    journal = sqlite3.connect(out / "consortium" / "partners" / "fern" / "journal.sqlite")
    journal.execute("DELETE FROM own_ledger WHERE place = (SELECT MAX(place) FROM own_ledger)")
    journal.commit()
    journal.close()


def flip_export(name: str, place: int) -> Callable[[Path], None]:
    return lambda out: flip(out / "consortium" / "partners" / "aster" / "exported" / name, place)


def understate_epsilon(out: Path) -> None:
    told = json.loads((out / "results.json").read_text())
    told["spent"]["dahlia"]["in_sum"] -= 1e-6
    (out / "results.json").write_text(json.dumps(told))


def alter_summary(name: str, value: object) -> Callable[[Path], None]:
    def alter(out: Path) -> None:
        told = json.loads((out / "summary.json").read_text())
        (out / "summary.json").write_text(json.dumps({**told, name: value}))

    return alter


def alter_own_state(out: Path) -> None:
    journal = sqlite3.connect(out / "consortium" / "partners" / "birch" / "journal.sqlite")
    journal.execute("UPDATE attempt SET state = ? WHERE round = 1", ("0" * 64,))
    journal.commit()
    journal.close()


def test_a_finished_demo_passes_and_says_whose_exports_were_used(demo: Path) -> None:
    failed, printed = checked(demo)
    assert failed == 0, printed
    assert "FAIL" not in printed
    assert printed.count("pass ") == 12
    assert "SEAL's Decryptor (S: aster's export)" in printed
    assert "by operator and lead" in printed


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (flip_upload, "the upload of clover"),
        (rewrite_ledger, "the service's ledger chain: LedgerBroken"),
        (forge_confirmation, "confirmation by elder whose"),
        (drop_own_charge, "the own chain of fern"),
        (understate_epsilon, "epsilon in_sum of dahlia"),
        (alter_summary("epsilon_in_sum", 0.1), "epsilon_in_sum to be"),
        (alter_summary("model_hashes_agree", False), "model_hashes_agree to be True"),
        (alter_own_state, "in the journal of birch"),
        (flip_export("summed_key", 0), "the sum, opened: OpeningFailed"),
        (flip_export("state_before", 200), "state_before"),
        (flip_export("state_after", 200), "state_after"),
    ],
)
def test_what_was_altered_is_named(demo: Path, tmp_path: Path, alter: Callable[[Path], None], named: str) -> None:
    out = altered_copy(demo, tmp_path)
    alter(out)
    failed, printed = checked(out)
    assert failed == 1, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("FAIL")]
    assert named in line
    if alter is forge_confirmation:
        assert "in round 1, attempt 1" in line


def test_the_command_exits_1_where_a_step_fails(demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.demo.check"]
    out = altered_copy(demo, tmp_path)
    assert subprocess.run([*command, str(out)], cwd=ROOT, capture_output=True, check=False).returncode == 0
    flip_upload(out)
    assert subprocess.run([*command, str(out)], cwd=ROOT, capture_output=True, check=False).returncode == 1
