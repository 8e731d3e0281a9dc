"""`chorale-server` from an empty folder to confirmed rounds, against the real service in this process."""

import json
import sys

import pytest
from typer.testing import CliRunner

from aggregator import cli
from aggregator.operator import asking
from aggregator.operator.folder import open_operator_folder
from aggregator.rounds.oversight import resume, suspend, tighten_caps
from aggregator.storage.sessions import CONSORTIUM, Viewer
from privacy.errors import BadSignature, ChoraleError, DigestMismatch, LedgerBroken
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Charter, parse_signed
from privacy.report.budget_report import BudgetReport
from privacy.report.signature import UNKNOWN_STATUS
from tests.aggregator.operator.choir import DRAFT
from tests.consortium import done


def test_several_are_invited_at_once_and_no_token_is_lost_where_one_fails(choir):
    several = choir.json("invite", "north", "south")["invitations"]
    assert [one["partner"] for one in several] == ["north", "south"]
    assert len({one["token"] for one in several}) == 2
    refused = choir.run("invite", "east", "server", "west", "--json")
    assert isinstance(refused.exception, ChoraleError)
    assert [one["partner"] for one in json.loads(refused.stdout)["invitations"]] == ["east"]
    shown = choir.run("invite", "north", "south").stdout
    assert shown.count("token") == 2


def test_from_an_empty_folder_to_confirmed_rounds(choir):
    assert choir.json("status")["charter"] is None
    choir.constitute()
    before = choir.json("status")
    assert before["charter"]["in_force"]
    assert before["campaigns"][0]["in_force"] is False
    result = choir.run("conduct", "trunk", "--rounds", "2", "--yes", "--json")
    assert result.exit_code == 0, result.output + str(result.exception)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["round"], line["attempt"], line["state"]) for line in lines] == [
        (1, 1, "confirmed"),
        (2, 1, "confirmed"),
    ]
    after = choir.json("status")
    assert after["campaigns"][0] | {"campaign": ""} == {
        "campaign": "",
        "name": "trunk",
        "in_force": True,
        "rounds": {"confirmed": 2},
        "last_confirmed": 2,
    }
    budget = after["budgets"][0]
    assert (budget["charged"], budget["left"]) == ({"training": 2}, {"training": 1})
    assert 0 < budget["epsilon_in_sum"] < budget["epsilon_alone"] < budget["cap_alone"]
    shown = choir.json("round", "show")
    assert (shown["number"], shown["state"], sorted(shown["confirmations"])) == (
        2,
        "confirmed",
        choir.consortium.names,
    )
    for words in (("status",), ("round", "show", shown["round"][:12])):
        screen = choir.run(*words)
        assert screen.exit_code == 0
        assert "confirmed" in screen.stdout
    assert "+0.0 (all sums +0.0)" in " ".join(screen.stdout.split())
    file = choir.folder / "ledger.jsonl"
    exported = choir.json("ledger", "export", str(file))
    assert exported["charged"] == dict.fromkeys(choir.consortium.names, 2)
    assert exported["countersigned"] == dict.fromkeys(choir.consortium.names, exported["entries"])
    verify = CliRunner().invoke(cli.app, ["ledger", "verify", str(file), "--json"])
    assert json.loads(verify.stdout) == exported
    file.write_bytes(file.read_bytes().replace(b'"charged":1', b'"charged":0', 1))
    refused = CliRunner().invoke(cli.app, ["ledger", "verify", str(file)])
    assert isinstance(refused.exception, LedgerBroken)
    assert choir.json("officer-link", "kim", "--scope", "consortium")["url"].startswith(
        "http://127.0.0.1:8470/console"
    )


def test_the_services_report_is_fetched_verified_by_the_operators_key_and_computed_anew(choir):
    choir.constitute()
    assert choir.run("conduct", "trunk", "--rounds", "1", "--yes", "--json").exit_code == 0
    ledger = choir.folder / "ledger.jsonl"
    choir.json("ledger", "export", str(ledger))
    first = choir.consortium.names[0]
    for about in ((), ("--participant", first)):
        file = choir.folder / "report.json"
        made = choir.json("report", "--out", str(file), *about)
        assert (made["signed by"], made["about"]) == ("the service", about[-1] if about else "the whole consortium")
        assert made["charter known"] == "yes, from the operator's own key"
        said = json.loads(choir.run("report", "verify", str(file), "--ledger", str(ledger), "--json").stdout)
        assert said["charter known"] == "yes, from the operator's own key"
        assert said["accepted by"] == ", ".join(choir.consortium.names)
        assert said["recomputed"].endswith("every figure is the ledger's")
    alone = CliRunner().invoke(cli.app, ["report", "verify", str(file), "--json"])
    assert (alone.exit_code, json.loads(alone.stdout)["charter known"]) == (UNKNOWN_STATUS, "no")
    made = CliRunner().invoke(cli.app, ["init", str(choir.folder / "another"), "--json"])
    assert made.exit_code == 0, made.output
    stranger = str(choir.folder / "another" / "operator")
    refused = CliRunner().invoke(cli.app, ["report", "verify", str(file), "--operator", stranger])
    assert isinstance(refused.exception, BadSignature)
    file.write_bytes(file.read_bytes().replace(b'"charged":1', b'"charged":0', 1))
    assert isinstance(choir.run("report", "verify", str(file)).exception, DigestMismatch)


def test_a_sum_of_canaries_is_conducted_and_moves_no_round_on(choir):
    choir.constitute(
        DRAFT + '\n[[table]]\nname = "audit"\nkind = "statistics"\nnoise_multiplier = 20.0\ncount = 1\n'
    )
    words = ("conduct", "trunk", "--rounds", "1", "--yes", "--json")
    assert "row audit of kind statistics without it" in str(choir.run(*words, "--row", "audit").exception)
    assert "row training of kind distributed with it" in str(
        choir.run(*words, "--row", "training", "--canaries", "300").exception
    )
    for more, kind, last in (
        (("--row", "audit", "--canaries", "300"), "statistics", 0),
        (("--row", "training"), "training", 1),
    ):
        ran = choir.run(*words, *more)
        assert ran.exit_code == 0, ran.output + str(ran.exception)
        (line,) = [json.loads(line) for line in ran.stdout.splitlines()]
        assert (line["kind"], line["round"], line["state"]) == (kind, 1, "confirmed")
        assert choir.json("status")["campaigns"][0]["last_confirmed"] == last
    assert choir.json("status")["budgets"][0]["charged"] == {"audit": 1, "training": 1}
    assert choir.json("round", "show")["attempt"] == 2


def test_a_draft_that_leaves_the_order_open_tells_which_was_chosen_and_why(choir):
    for name in choir.consortium.names:
        choir.enrol(name)
        choir.json("approve", name, "--yes")
    file = choir.folder / "draft.toml"
    file.write_text('filter_order = "best"\n' + DRAFT.replace("count = 3", "count = 3000"))
    said = choir.run("charter", "draft", str(file), "--yes").stdout
    drafted = choir.json("charter", "draft", str(file), "--yes")
    order, chosen = drafted["filter_order"], drafted["order_chosen"]
    assert chosen["order"] == order
    told = " ".join(said.split())
    assert f"a Renyi filter of order {order} refuses" in told
    assert (
        f"order {order} was chosen because it leaves the most: the caps hold {chosen['share']:.1%} of the" in told
    )
    for beside, share in chosen["beside"]:
        assert share <= chosen["share"]
        assert f"{share:.1%} at order {beside}" in told
    lead = choir.consortium.client(choir.http, choir.consortium.names[0])
    posted = parse_signed(Charter, canonical(done(lead.get("/v1/charters/latest"))["charter"])).body
    assert (posted.digest, posted.filter_order) == (drafted["charter"], order)
    file.write_text(f"filter_order = {order}\n" + DRAFT)
    assert choir.json("charter", "draft", str(file), "--yes")["order_chosen"] is None


@pytest.mark.parametrize("order", [None, 4])
def test_a_report_after_officers_acted_is_computed_anew_under_either_rule(choir, order):
    rule = "" if order is None else f"filter_order = {order}\n"
    choir.constitute(rule + DRAFT)
    assert choir.run("conduct", "trunk", "--rounds", "1", "--yes", "--json").exit_code == 0
    first = choir.consortium.names[0]
    kim = Viewer("kim", "kim", "officer", CONSORTIUM, 2e9)
    service = choir.http.app.state.service
    caps = choir.charter.entry(first).caps
    tighter = caps.epsilon_in_sum * 0.9, caps.epsilon_alone * 0.9
    assert tighten_caps(service, kim, first, *tighter, "asked for by its board")
    assert suspend(service, kim, first, "asked for by its board")
    assert resume(service, kim, first, "all is well") in ("proposed", "resumed")
    ledger, file = choir.folder / "ledger.jsonl", choir.folder / "report.json"
    choir.json("ledger", "export", str(ledger))
    choir.json("report", "--out", str(file))
    said = json.loads(choir.run("report", "verify", str(file), "--ledger", str(ledger), "--json").stdout)
    assert said["recomputed"].endswith("every figure is the ledger's")
    assert said["countersigned by"] == "nobody, as far as the report's entries go"
    made = BudgetReport.model_validate_json(file.read_bytes())
    reported = made.participants[0]
    assert made.filter_order == order
    assert tuple(budget.cap for budget in reported.guarantees) == tighter
    assert [one.action.what for one in reported.entries if one.action][:2] == ["tighten", "suspend"]
    assert [one.kind for one in made.alarms] == ["suspended"]


def test_the_first_account_comes_from_the_command_line(choir):
    choir.constitute()
    made = choir.json("account", "create", "kim@aster.example", "--role", "officer", "--scope", "partner-01")
    assert made["url"].startswith("http://127.0.0.1:8470/console/sign-in?link=")
    by_provider = choir.json(
        "account", "create", "lee", "--role", "auditor", "--scope", "consortium", "--email", "lee@aster.example"
    )
    assert "url" not in by_provider
    assert [(account["name"], account["state"]) for account in choir.json("account", "list")["accounts"]] == [
        ("kim@aster.example", "invited"),
        ("lee", "active"),
    ]
    screen = choir.run("account", "list")
    assert "lee@aster.example" in screen.stdout
    assert choir.json("account", "reset", "kim@aster.example", "--yes")["url"] != made["url"]
    assert choir.json("account", "disable", "kim@aster.example", "--yes")["state"] == "disabled"
    refused = choir.run("account", "create", "lee", "--role", "auditor", "--scope", "consortium")
    assert isinstance(refused.exception, ChoraleError)


def test_rounds_that_nobody_joins_are_given_up_and_then_the_budget_is_whole(choir):
    choir.constitute()
    choir.silent = True
    result = choir.run(
        "conduct",
        choir.campaign.digest[:10],
        "--rounds",
        "1",
        "--yes",
        "--max-attempts",
        "2",
        "--join-seconds",
        "60",
    )
    assert "attempt 1 closed, attempt 2 closed" in str(result.exception)
    status = choir.json("status")
    assert status["campaigns"][0]["rounds"] == {"closed": 2}
    assert status["budgets"][0]["left"] == {"training": 3}
    assert choir.json("round", "show")["attempt"] == 2
    again = choir.run("round", "abort", choir.json("round", "show")["round"], "--reason", "tired", "--yes")
    assert isinstance(again.exception, ChoraleError)


def test_nothing_is_signed_where_nobody_can_say_yes(choir):
    choir.enrol("partner-01")
    result = choir.run("approve", "partner-01")
    assert "a person who says yes" in str(result.exception)
    assert choir.json("status")["enrolments"] == {"partner-01": "pending"}
    assert open_operator_folder(choir.folder / "operator").approvals() == {}


def test_a_person_reads_the_words_before_saying_yes(choir, monkeypatch):
    choir.enrol("partner-01")
    monkeypatch.setattr(asking, "at_a_terminal", lambda: True)
    shown = []
    monkeypatch.setattr(asking.screens.errors, "print", lambda screen, **_: shown.append(screen))
    monkeypatch.setattr(asking.typer, "confirm", lambda question, **_: shown.append(question))
    assert choir.run("approve", "partner-01").exit_code == 0
    assert len(shown) == 2
    assert choir.json("status")["enrolments"] == {"partner-01": "approved"}


def test_a_refusal_says_what_to_do_and_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["chorale-server", "status", "--operator", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    for word in ("expected", "came", "do", "chorale-server init"):
        assert word in said


def test_a_folder_with_keys_is_not_made_anew(choir):
    result = CliRunner().invoke(cli.app, ["init", str(choir.folder)])
    assert "a folder without keys" in str(result.exception)
