"""Commands that only read, beside a run that holds the folder: they show a snapshot and write nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from client_sdk.cli import app
from client_sdk.keystore import PASSPHRASE_VARIABLE
from privacy.errors import FolderInUse
from privacy.ledger.export import read_file
from privacy.ledger.verification import verify_export
from tests.client_sdk.choir import PASSPHRASE, Choir, choir, take_part, together

NAME = "partner-02"


def command(made: Choir, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(made.config(NAME))], catch_exceptions=False)


def test_reading_goes_on_beside_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    with choir(tmp_path) as made:
        _, campaign, state = made.constitute()
        made.post_plan(campaign, state.digest)

        def act(name: str) -> str:
            with made.agent(name) as agent:
                return take_part(agent, agent.campaign(campaign.digest)).state.digest

        reached = together(made.names, act)[NAME]
        journal = made.root / NAME / "journal.sqlite"
        with made.agent(NAME) as running:
            before = journal.read_bytes(), running.partner.own_ledger.lines()
            shown = json.loads(command(made, "status", "--json").stdout)
            assert [attempt["ending"] for attempt in shown["attempts"]] == ["confirmed"]
            spent = command(made, "budget", "--json")
            assert json.loads(spent.stdout)["own"]["charged"] == 1
            assert "another process uses this folder" in spent.stderr
            for words in (
                ("report", "--out", str(tmp_path / "report.json")),
                ("ledger", "export", str(tmp_path / "own.jsonl")),
                ("export", str(tmp_path / "model")),
            ):
                done = command(made, *words)
                assert done.exit_code == 0, done.output
            with (tmp_path / "own.jsonl").open("rb") as stream:
                assert verify_export(read_file(stream)).head == running.partner.own_ledger.head
            assert reached[:16] in (tmp_path / "model" / "MODEL_CARD.md").read_text()
            assert before == (journal.read_bytes(), running.partner.own_ledger.lines())
            # The one who writes is not held up, and a reader sees what stood there when it opened.
            with made.partner_to_read(NAME) as reader:
                running.partner.journal.set_fact("later", b"1")
                assert reader.journal.fact("later") is None
                with pytest.raises(FolderInUse, match="no other process uses, to write"):
                    reader.journal.set_fact("mine", b"1")
            with made.partner_to_read(NAME) as reader:
                assert reader.is_snapshot
                assert reader.journal.fact("later") == b"1"


def test_where_nobody_runs_the_folder_is_held_as_ever(tmp_path: Path) -> None:
    with choir(tmp_path) as made:
        made.enrol_all()
        with made.partner_to_read(NAME) as reader:
            assert not reader.is_snapshot
            with pytest.raises(FolderInUse, match="stop the other process"):
                made.agent(NAME)
