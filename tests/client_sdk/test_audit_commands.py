"""`audit noise` and `audit sampling` as a person types them. What they see is tests/experiments.

They draw the system's randomness: a run alarms on right code with probability below 1e-5.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk.cli import app
from privacy.errors import ConfigurationError
from tests.client_sdk.choir import SETTINGS
from tests.experiments import faults

SMALL_NOISE = ["audit", "noise", "--canaries", "1000"]
SMALL_SAMPLING = ["audit", "sampling", "--records", "200", "--rounds", "110", "--sampling-rate", "0.05"]


def ran(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_right_noise_is_not_refuted_and_delta_comes_from_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "partner.toml"
    config.write_text(SETTINGS.format(name="alpha", title="Alpha", url="http://127.0.0.1:1", patience=1))
    status, text = ran(*SMALL_NOISE, "--config", str(config), "--runs", "2", "--json")
    shown = json.loads(text)
    assert status == 0
    assert shown["refuted"] is False
    assert shown["delta"] == 1e-5
    assert shown["claimed"] == pytest.approx(1.9932, abs=1e-3)
    assert len(shown["runs"]) == 2
    for run in shown["runs"]:
        assert run["guesses"]["guessed"] == 20
        assert run["lower_bound"] < shown["claimed"]
    assert list(tmp_path.iterdir()) == [config]  # nothing was charged, kept or opened


def test_noise_that_is_missing_ends_with_status_one_and_says_so() -> None:
    with faults.no_noise():
        status, text = ran(*SMALL_NOISE, "--delta", "1e-5")
    assert status == 1
    assert "refuted" in text
    assert "do not take part" in text
    assert "docs/experiments.md" in text


def test_without_settings_or_delta_there_is_no_claim_to_hold_against(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ran(*SMALL_NOISE, "--config", str(tmp_path / "none.toml"))


def test_a_right_sampler_is_not_refuted() -> None:
    status, text = ran(*SMALL_SAMPLING, "--json")
    shown = json.loads(text)
    assert status == 0
    assert shown["refuted"] is False
    assert (shown["rounds"], shown["records"], shown["sampling_rate"], shown["twice"]) == (110, 200, 0.05, 0)
    assert "not refuted" in ran(*SMALL_SAMPLING)[1]


def test_a_shuffled_loader_ends_with_status_one_and_says_so() -> None:
    with faults.batch_shuffled():
        status, text = ran(*SMALL_SAMPLING)
    assert status == 1
    assert "do not take part" in text


@pytest.mark.parametrize("words", [["--sampling-rate", "1"], ["--rounds", "5"], ["--records", "0"]])
def test_a_rehearsal_that_cannot_be_is_a_wrong_command_line(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["audit", "sampling", *words]).exit_code == 2
