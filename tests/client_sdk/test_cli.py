"""The command line: help, errors that say what to do, and the files that campaigns and exports are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from client_sdk.agent import Agent
from client_sdk.campaign_file import draft, read_campaign_file
from client_sdk.campaign_wait import wait_for_campaign
from client_sdk.cli import app, main
from client_sdk.commands.budgets import own_budget
from client_sdk.export import export
from client_sdk.keystore import PASSPHRASE_VARIABLE, create_keys
from client_sdk.partner import Outside, Partner
from client_sdk.progress import Silent
from client_sdk.session import CONFIG_VARIABLE, Consortium
from privacy.errors import ConfigurationError, NotFound, UnsupportedModel
from privacy.randomness import SystemRandom
from tests.client_sdk.campaigns import charter

SETTINGS = """\
version = 1
[partner]
id = "p0"
name = "Partner 0"
[server]
url = "http://127.0.0.1:9"
patience = 0.1
[caps]
epsilon_alone = 1000.0
epsilon_in_sum = 100.0
delta = 1e-5
[policy]
max_epsilon_alone = 1000.0
max_epsilon_in_sum = 100.0
records = 100
"""
MODEL = """\
import torch

def build():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))

def batch_norm():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
"""
CAMPAIGN = """\
name = "test"
clip = 0.5
denominator = 100.0
genesis = "fresh"
model = "model.py:build"
shared = ["0"]
[update_rule]
kind = "adam"
learning_rate = 0.01
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(passphrase))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "partner.toml").write_text(SETTINGS)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    create_keys(tmp_path, None, SystemRandom())
    return tmp_path


Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run `main` as the command would, in this process; status, standard output, standard error."""

    def run(*arguments: str, folder: Path) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["chorale-partner", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv(CONFIG_VARIABLE, "partner.toml")
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("enrol",),
        ("charter",),
        ("charter", "show"),
        ("charter", "accept"),
        ("campaign", "sign"),
        ("run",),
        ("status",),
        ("budget",),
        ("budget", "resume"),
        ("report",),
        ("export",),
    ],
)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_a_missing_folder_is_an_error_that_says_what_to_do(tmp_path: Path, invoke: Invoke) -> None:
    code, stdout, stderr = invoke("status", "--config", "nowhere.toml", folder=tmp_path)
    assert code == 1
    assert stdout == ""
    for word in ("configuration", "expected", "nowhere.toml", "came", "to do"):
        assert word in stderr
    assert "Traceback" not in stderr


def test_a_wrong_command_line_ends_with_2() -> None:
    assert CliRunner().invoke(app, ["status", "--colour"]).exit_code == 2
    assert CliRunner().invoke(app, ["budget", "resume"]).exit_code == 2


def test_an_absent_service_is_named(folder: Path, invoke: Invoke) -> None:
    code, _, stderr = invoke("charter", "show", folder=folder)
    assert code == 1
    assert "service-unavailable" in stderr


def test_status_of_a_new_folder(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["status", "--json", "--config", str(folder / "partner.toml")])
    found = json.loads(shown.stdout)
    assert (found["partner"], found["charter"], found["attempts"]) == ("p0", None, [])
    plain = CliRunner().invoke(app, ["status", "--config", str(folder / "partner.toml")])
    assert "none accepted yet" in plain.stdout


def test_run_wants_a_script_or_follow(folder: Path, invoke: Invoke) -> None:
    code, _, stderr = invoke("run", folder=folder)
    assert (code, "give one of them" in stderr) == (1, True)
    code, _, stderr = invoke("run", "absent.py", folder=folder)
    assert (code, "a Python script" in stderr) == (1, True)


def test_run_gives_the_script_its_folder_and_arguments(folder: Path, invoke: Invoke) -> None:
    script = folder / "train.py"
    script.write_text(
        "import os, sys\nimport model\n"
        f"print(os.environ[{CONFIG_VARIABLE!r}], sys.argv[1:], callable(model.build))\n"
    )
    code, stdout, stderr = invoke("run", str(script), "--epochs", "3", folder=folder)
    assert code == 0, stderr
    assert stdout.strip() == f"{folder / 'partner.toml'} ['--epochs', '3'] True"


def test_resume_is_written_down(folder: Path) -> None:
    config = str(folder / "partner.toml")
    assert CliRunner().invoke(app, ["budget", "resume", "--reason", "two were ours", "-c", config]).exit_code == 0
    with opened(folder) as partner:
        assert partner.journal.last_decision("resume") >= 0
        assert partner.journal.query("SELECT reason FROM decision") == [("two were ours",)]


def opened(folder: Path) -> Partner:
    return Partner.open(folder / "partner.toml", Outside.system(Silent()))


def test_commands_start_without_torch() -> None:
    code = "import sys, client_sdk, client_sdk.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_consortium_opens_the_folder_that_the_environment_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(folder / "partner.toml"))
    with Consortium.open() as consortium:
        assert isinstance(consortium.agent, Agent)
        with pytest.raises(ConfigurationError, match="charter accept"):
            _ = consortium.charter


class Impatient:
    """An agent whose campaign comes at the third asking, on a clock that its sleep moves."""

    def __init__(self, asked_before: int) -> None:
        self.left = asked_before
        self.time = 0.0
        outside = Outside(self, SystemRandom(), Silent(), sleep=self.sleep)  # type: ignore[arg-type]
        self.partner = SimpleNamespace(outside=outside)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def find_campaign(self, wanted: str | None) -> str:
        if self.left == 0:
            return f"campaign {wanted}"
        self.left -= 1
        raise NotFound("a campaign in force", "none", "wait")


def test_a_script_may_start_before_the_campaign_is_signed() -> None:
    agent = Impatient(3)
    assert wait_for_campaign(agent, "x", 60.0) == "campaign x"  # type: ignore[arg-type, comparison-overlap]
    assert agent.time == 0.5 + 1.0 + 2.0
    with pytest.raises(NotFound):
        wait_for_campaign(Impatient(100), "x", 60.0)  # type: ignore[arg-type]


def test_a_campaign_is_drafted_from_a_module(folder: Path) -> None:
    campaign, state = draft(folder / "campaign.toml", "1" * 64, SystemRandom())
    assert [(p.name, p.shape) for p in campaign.parameters] == [("0.weight", (2, 3)), ("0.bias", (2,))]
    assert campaign.genesis == state.digest
    torch.manual_seed(3)
    first = torch.nn.Linear(3, 2)
    assert np.array_equal(state.parameters[:6], first.weight.detach().double().numpy().reshape(-1))


def test_a_campaign_is_drafted_from_tensors(folder: Path) -> None:
    torch.save({"0.weight": torch.ones(2, 3), "1.weight": torch.zeros(2)}, folder / "initial.pt")
    text = CAMPAIGN.replace('model = "model.py:build"', 'state = "initial.pt"')
    (folder / "campaign.toml").write_text(text)
    campaign, state = draft(folder / "campaign.toml", "1" * 64, SystemRandom())
    assert campaign.length == 6
    assert state.parameters.tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("clip = 0.5", "clip = -1.0", "clip"),
        ("clip = 0.5", "clipp = 0.5", "clip"),
        ('model = "model.py:build"', "", "exactly one"),
        ('model = "model.py:build"', 'model = "model.py:absent"', "no such function"),
        ('model = "model.py:build"', 'model = "other.py:build"', "file.py:function"),
        ('model = "model.py:build"', 'state = "absent.pt"', "tensors by name"),
        ('genesis = "fresh"', 'genesis = "stale"', "genesis"),
        ('shared = ["0"]', 'shared = ["trunk"]', "prefix 'trunk'"),
        ("clip = 0.5", "clip = ", "TOML"),
    ],
)
def test_a_wrong_campaign_file_is_refused(folder: Path, before: str, after: str, said: str) -> None:
    (folder / "campaign.toml").write_text(CAMPAIGN.replace(before, after))
    with pytest.raises(ConfigurationError, match=said):
        draft(folder / "campaign.toml", "1" * 64, SystemRandom())


def test_a_campaign_of_a_model_that_cannot_be_clipped_is_refused(folder: Path) -> None:
    (folder / "campaign.toml").write_text(CAMPAIGN.replace("model.py:build", "model.py:batch_norm"))
    with pytest.raises(UnsupportedModel, match="BatchNorm1d"):
        draft(folder / "campaign.toml", "1" * 64, SystemRandom())
    assert read_campaign_file(folder / "campaign.toml").shared == ["0"]


def test_an_export_holds_the_tensors_and_says_what_they_cost(folder: Path) -> None:
    campaign, state = draft(folder / "campaign.toml", "1" * 64, SystemRandom())
    constitution = charter()
    with opened(folder) as partner:
        partner.__dict__["charter"] = constitution
        made = export(folder / "out", state, campaign, constitution, own_budget(partner))
    held = torch.load(made.tensors, weights_only=True)
    assert list(held) == ["0.weight", "0.bias"]
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    module.load_state_dict(held)
    assert np.allclose(module[0].weight.detach().numpy().reshape(-1), state.parameters[:6])
    card = made.card.read_text(encoding="utf-8")
    for said in (state.digest, campaign.digest, constitution.digest, made.tensors_digest, "in the sum", "alone"):
        assert said in card
    assert "| in the sum | 0.00 | 100 |" in card
