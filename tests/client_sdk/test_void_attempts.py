"""Attempts that cost and give nothing, one after another over HTTP: each partner stops by itself and says so, and
only a person on its machine lets it go on (protocol 6.4).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client_sdk.attempt import Outcome
from client_sdk.cli import app
from client_sdk.keystore import PASSPHRASE_VARIABLE
from privacy.errors import PolicyRefused
from privacy.protocol.messages import Campaign, Plan
from tests.client_sdk.choir import PASSPHRASE, Choir, take_part
from tests.client_sdk.test_endings import SECONDS, Ahead, chorus, under_way, until
from tests.consortium import done

SILENT = "partner-03"
MOST = 2


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Choir, Campaign, str, Ahead]]:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    with chorus(tmp_path, 3) as made:
        yield made


def _fruitless(made: Choir, campaign: Campaign, genesis: str, clock: Ahead, attempt: int) -> Plan:
    """One joins and never uploads: the attempt ends at its upload deadline, charged to all three."""
    plan = made.post_plan(campaign, genesis, SECONDS, attempt=attempt)

    def act(name: str) -> Outcome:
        with made.agent(name) as agent:
            return take_part(agent, campaign, upload=name != SILENT)

    with under_way(made, campaign, act) as running:
        until(made, plan, lambda now: len(now["uploaded"]) == 2)
        clock.seconds += plan.deadlines.upload + 1 - clock.now()
        assert {one.result().ended for one in running.values()} == {"closed"}
    return plan


def _run(made: Choir, name: str, *arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "-c", str(made.config(name))], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def _charged(made: Choir) -> dict[str, int]:
    return {
        one["partner"]: sum(row["charged"] for row in one["rows"])
        for one in done(made.operator.get("/v1/budget"))["participants"]
    }


def test_a_partner_stops_after_so_many_attempts_without_a_result_until_a_person_resumes_it(
    three: tuple[Choir, Campaign, str, Ahead],
) -> None:
    made, campaign, genesis, clock = three
    for attempt in range(1, MOST + 1):
        assert all(_run(made, name, "status", "--json")["stopped"] is None for name in made.names)
        _fruitless(made, campaign, genesis, clock, attempt)
    plan = made.post_plan(campaign, genesis, SECONDS, attempt=MOST + 1)
    for name in made.names:
        with made.agent(name) as agent, pytest.raises(PolicyRefused, match="budget resume --reason"):
            take_part(agent, campaign)
        assert "without a result" in _run(made, name, "status", "--json")["stopped"]
        assert "stopped" in _run(made, name, "status")
        assert _run(made, name, "budget", "--offline", "--json")["own"]["charged_without_result"] == MOST
    assert made.document(plan)["joined"] == []
    assert _charged(made) == dict.fromkeys(made.names, MOST)
    for name in made.names:
        _run(made, name, "budget", "resume", "--reason", "the silent machine was repaired")
    with under_way(made, campaign) as running:
        assert all(one.result().confirmed for one in running.values())
    assert _charged(made) == dict.fromkeys(made.names, MOST + 1)
