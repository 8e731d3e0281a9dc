"""A whole consortium under a Renyi filter: a round over HTTP, both ledgers, and the refusal on either side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk.attempt import Outcome
from client_sdk.cli import app
from client_sdk.commands.budgets import own_budget, own_lifetime
from client_sdk.keystore import PASSPHRASE_VARIABLE
from client_sdk.policy import Policy
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import BudgetExhausted
from privacy.ledger.charter_checks import CharterChecks
from privacy.protocol.http_contract import split_frame
from privacy.report.budget_report import BudgetReport
from privacy.report.signature import SUFFIX
from tests.client_sdk.choir import PASSPHRASE, STATISTICS, Choir, choir, take_part, together
from tests.consortium import done

STRONG = PrivacyEvent(kind="distributed", noise_multiplier=0.4, sampling_rate=1.0, steps=1)
"""Twice that passes the caps of 20 and 50; once it fits."""
TABLE = (
    TableRow(name="statistics", event=STATISTICS, count=2),
    TableRow(name="strong", event=STRONG, count=100),
)


def _reports(three: Choir, folder: Path) -> None:
    """Both sides' reports, computed anew from an export of each ledger."""
    name = three.names[0]
    (folder / "passphrase").write_text(PASSPHRASE)
    config = str(three.config(name))
    file, own, service = folder / "report.json", folder / "own.jsonl", folder / "service.jsonl"

    def run(*arguments: str) -> str:
        environment = {PASSPHRASE_VARIABLE: str(folder / "passphrase")}
        ran = CliRunner().invoke(app, [*arguments, "-c", config], env=environment, catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    run("ledger", "export", str(own))
    run("ledger", "export", str(service), "--of", "service")
    run("report", "--out", str(file))
    for ledger in (own, service):
        said = json.loads(run("report", "verify", str(file), "--ledger", str(ledger), "--json"))
        assert said["recomputed"].endswith("every figure is the ledger's")
        made = BudgetReport.model_validate_json(file.read_bytes())
        assert (made.filter_order, made.participants[0].rounds_left) == (4, 0)
        if made.source == "partner":
            with three.partner(name) as partner:
                signature, raw = split_frame(partner.transport.get("/v1/report", {"format": "json"}))
            file.write_bytes(raw)
            file.with_name(file.name + SUFFIX).write_bytes(signature)


def test_a_round_under_a_filter_and_then_its_refusal_on_both_sides(tmp_path: Path) -> None:
    with choir(tmp_path) as three:
        charter, campaign, state = three.constitute(table=TABLE, filter_order=4)
        kept = charter.filter_for(three.names[0])
        assert kept is not None
        assert kept.room_for((), STRONG) == 1
        three.post_plan(campaign, state.digest, event=STRONG)

        def act(name: str) -> Outcome:
            with three.agent(name) as agent:
                return take_part(agent, campaign)

        outcomes = together(three.names, act)
        after = {outcome.state.digest for outcome in outcomes.values()}
        assert len(after) == 1
        assert all(outcome.confirmed for outcome in outcomes.values())
        for participant in done(three.operator.get("/v1/budget"))["participants"]:
            rows = {row["name"]: row for row in participant["rows"]}
            assert (rows["strong"]["charged"], rows["strong"]["count"], rows["strong"]["left"]) == (1, 100, 0)
        _reports(three, tmp_path)
        again = three.post_plan(campaign, after.pop(), round=2, event=STRONG)
        with three.partner(three.names[0]) as partner:
            assert own_budget(partner).rounds_left == 0
            life = own_lifetime(partner)
            assert [(line.epoch, line.charged) for line in life.epochs] == [(1, 1)]
            assert life.composed == life.epochs[0].spent == life.summed
            own = partner.own_ledger
            under = CharterChecks({charter.digest: charter}, own=True)
            for entry in own.entries:
                under.check(entry)
            with pytest.raises(BudgetExhausted, match="filter of order 4"):
                Policy(partner.settings, partner.journal, own).check_plan(again, charter)
            with pytest.raises(BudgetExhausted, match="filter of order 4"):
                own.next_charge(again, charter, 0)
            smaller = again.model_copy(update={"event": STATISTICS, "kind": "statistics"})
            assert own.next_charge(smaller, charter, 0) is not None, "a weaker event still has room"
