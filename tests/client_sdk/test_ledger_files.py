"""Both ledgers as files after a real round; and a server that rewrites, forks or cuts its history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from aggregator.storage import ledger as service_ledger
from client_sdk.attempt import Outcome
from client_sdk.cli import app
from client_sdk.journal import append_own
from client_sdk.keystore import PASSPHRASE_VARIABLE
from client_sdk.ledger_watch import LedgerWatch
from client_sdk.model_state import ModelState
from privacy.dp.events import TableRow
from privacy.errors import BudgetExhausted, ChoraleError, LedgerBroken, ServiceUnavailable, WrongState
from privacy.ledger.entry import LedgerEntry
from privacy.ledger.export import read_file
from privacy.ledger.verification import verify_export
from privacy.protocol.messages import Campaign, Plan, parse_signed
from tests.client_sdk.choir import EVENT, PASSPHRASE, Choir, choir, take_part, together


@pytest.fixture
def after_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Choir, Campaign, ModelState]]:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    with choir(tmp_path) as three:
        _, campaign, state = three.constitute()
        outcomes = one_round(three, campaign, state)
        yield three, campaign, outcomes["partner-02"].state


def one_round(three: Choir, campaign: Campaign, state: ModelState) -> dict[str, Outcome]:
    three.post_plan(campaign, state.digest, round=state.round + 1)

    def act(name: str) -> Outcome:
        with three.agent(name) as agent:
            return take_part(agent, campaign)

    return together(three.names, act)


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_both_ledgers_are_written_and_verify_without_folder_or_service(
    after_a_round: tuple[Choir, Campaign, ModelState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three, _, _ = after_a_round
    own, service = str(tmp_path / "own.jsonl"), str(tmp_path / "service.jsonl")
    config = str(three.config("partner-01"))
    run("ledger", "export", own, "-c", config)
    run("ledger", "export", service, "--of", "service", "-c", config)
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    found = run("ledger", "verify", own)
    assert (found["chain"], found["entries"]) == ("partner-01's own", 1)
    assert found["charged"] == {"partner-01": 1}
    found = run("ledger", "verify", service, "--charter", three.charter.digest)
    assert found["charged"] == dict.fromkeys(three.names, 1)
    # Charter in force, three reservations, three charges; each partner countersigned them all.
    assert found["countersigned"] == dict.fromkeys(three.names, 7)
    assert found["not_countersigned"] == []
    screen = CliRunner().invoke(app, ["ledger", "verify", service], catch_exceptions=False).stdout
    assert "Partner-01 (partner-01) up to entry 7; Partner-02 (partner-02) up to entry 7" in screen.replace(
        "\n", " "
    )
    lines = Path(service).read_bytes().splitlines(keepends=True)
    altered = lines[-1].replace(b'"charged":1', b'"charged":0')
    Path(service).write_bytes(b"".join([*lines[:-1], altered]))
    with pytest.raises(LedgerBroken) as refused:
        CliRunner().invoke(app, ["ledger", "verify", service], catch_exceptions=False)
    assert refused.value.line == len(lines)


def test_budget_shows_both_ledgers_attempt_by_attempt_and_where_they_differ(
    after_a_round: tuple[Choir, Campaign, ModelState],
) -> None:
    three, _, _ = after_a_round
    config = str(three.config("partner-01"))
    found = run("budget", "-c", config)
    (line,) = found["attempts"]
    assert (line["round"], line["own"], line["service"], line["end"], line["differs"]) == (
        1,
        "charge",
        "charge",
        "confirmed",
        False,
    )
    own = {guarantee["guarantee"]: guarantee["epsilon"] for guarantee in found["own"]["guarantees"]}
    assert own == pytest.approx(found["service_epsilon"])
    assert 0 < own["in_sum"] < own["alone"]
    screen = CliRunner().invoke(app, ["budget", "-c", config], catch_exceptions=False)
    assert "Both ledgers hold the same charges" in screen.stdout
    with three.partner("partner-01") as partner:  # a charge that the service's ledger does not have
        plan = parse_signed(Plan, partner.journal.records()[0].signed_plan).body
        other = plan.model_copy(update={"round": 2})
        entry = partner.own_ledger.next_charge(other, three.charter, partner.now())
        assert entry is not None
        with partner.journal.transaction("forged") as database:
            append_own(database, other.digest, entry)
    done = CliRunner().invoke(app, ["budget", "-c", config, "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert "differs from partner-01's own" in told["difference"]
    assert [(line["round"], line["own"], line["service"], line["differs"]) for line in told["attempts"]] == [
        (1, "charge", "charge", False),
        (2, "charge", None, True),
    ]
    assert told["own"]["guarantees"][0]["epsilon"] > told["service_epsilon"]["in_sum"]
    screen = CliRunner().invoke(app, ["budget", "-c", config])
    assert "differs" in screen.stdout


def test_before_the_charter_is_in_force_nothing_is_said_to_differ_and_after_a_charge_it_is(
    tmp_path: Path, after_a_round: tuple[Choir, Campaign, ModelState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def early(self: LedgerWatch, service: object) -> None:
        raise WrongState("a charter that every partner has signed", "none yet", "wait for the acceptances")

    monkeypatch.setattr(LedgerWatch, "sync", early)
    with choir(tmp_path / "fresh") as made:
        made.constitute()
        fresh = CliRunner().invoke(app, ["budget", "-c", str(made.config("partner-01"))])
        assert (fresh.exit_code, "Not compared with the service's yet" in " ".join(fresh.stdout.split())) == (
            0,
            True,
        )
    three, _, _ = after_a_round
    charged = CliRunner().invoke(app, ["budget", "-c", str(three.config("partner-01"))])
    assert (charged.exit_code, "the ledgers differ" in charged.stdout) == (1, True)


def test_a_service_that_is_away_leaves_the_own_ledger_to_be_shown(
    after_a_round: tuple[Choir, Campaign, ModelState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: LedgerWatch, service: object) -> None:
        raise ServiceUnavailable("an answer from the service", "ConnectError", "check the network")

    monkeypatch.setattr(LedgerWatch, "sync", away)
    three, _, _ = after_a_round
    done = CliRunner().invoke(app, ["budget", "-c", str(three.config("partner-01")), "--json"])
    assert isinstance(done.exception, ServiceUnavailable)  # no comparison is no agreement
    found = json.loads(done.stdout)
    assert (found["compared"], found["difference"], found["service"]) == (False, None, {})
    assert found["own"]["guarantees"][0]["epsilon"] > 0


# --- a server that does not count ---------------------------------------------------------------------------


def test_a_partner_refuses_what_a_server_would_accept_beyond_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes joins without room in any row; the partner's own ledger says no before a join is signed."""
    with choir(tmp_path) as three:
        table = (TableRow(name="training", event=EVENT, count=1),)
        _, campaign, state = three.constitute(table=table)
        outcomes = one_round(three, campaign, state)
        monkeypatch.setattr(service_ledger, "reserve", lambda *_: None)
        after = outcomes["partner-01"].state
        plan = three.post_plan(campaign, after.digest, round=2)

        def act(name: str) -> str:
            with three.agent(name) as agent:
                try:
                    take_part(agent, campaign)
                except BudgetExhausted as refusal:
                    record = agent.partner.journal.record(plan.digest)
                    assert record is None or record.signed_join is None
                    return refusal.code
            return "it took part"

        assert set(together(three.names, act).values()) == {"budget-exhausted"}
        assert three.document(plan)["joined"] == []


# --- a server that goes back on its word --------------------------------------------------------------------


def alter(three: Choir, how: str) -> None:
    """What a server's owner can do to its database once the triggers are gone; it signs whatever results."""
    engine = create_engine(f"sqlite:///{three.root / 'server' / 'chorale.db'}")
    with engine.begin() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
        for name in names:
            connection.execute(text(f"DROP TRIGGER {name}"))
        rows = connection.execute(text('SELECT entry FROM ledger_entries ORDER BY "index"')).scalars().all()
        entries = [LedgerEntry.model_validate_json(bytes(raw)) for raw in rows]
        if how == "rewritten":  # nobody was charged, and the chain is sound again
            entries = [entries[0], *entries[1:4]]
            lapse = [
                entry.model_copy(
                    update={
                        "kind": "lapse",
                        "budget": entry.budget.model_copy(update={"charged": 0, "reserved": 0}),
                    }
                )
                for entry in entries[1:]
                if entry.budget is not None
            ]
            entries += lapse
        elif how == "cut":
            entries = entries[:4]
        elif how == "forked":  # as long as before, with another first entry
            entries[0] = entries[0].model_copy(update={"reason": "another story"})
        previous = "0" * 64
        connection.execute(text("DELETE FROM ledger_entries"))
        for place, old in enumerate(entries, start=1):
            entry = old.model_copy(update={"index": place, "previous": previous})
            change = entry.budget
            connection.execute(
                text(
                    'INSERT INTO ledger_entries ("index", digest, at, charter, kind, participant, round, "row",'
                    " charged, reserved, entry) VALUES (:i, :d, :a, :c, :k, :p, :r, :w, :g, :s, :e)"
                ),
                {
                    "i": place,
                    "d": entry.digest,
                    "a": entry.at,
                    "c": entry.charter,
                    "k": entry.kind,
                    "p": entry.participant,
                    "r": change and change.plan,
                    "w": change and change.row,
                    "g": change and change.charged,
                    "s": change and change.reserved,
                    "e": entry.canonical_bytes,
                },
            )
            previous = entry.digest
        connection.execute(
            text("UPDATE ledger_heads SET count = :count, head = :head"), {"count": len(entries), "head": previous}
        )
    engine.dispose()


@pytest.mark.parametrize("how", ["rewritten", "cut", "forked"])
def test_a_history_that_changed_is_noticed_by_every_honest_partner_in_the_next_round(
    after_a_round: tuple[Choir, Campaign, ModelState], tmp_path: Path, how: str
) -> None:
    three, campaign, state = after_a_round
    alter(three, how)
    three.post_plan(campaign, state.digest, round=2)

    def act(name: str) -> str:
        with three.agent(name) as agent:
            try:
                take_part(agent, campaign)
            except LedgerBroken as noticed:
                return noticed.remedy
        return "nothing was noticed"

    for remedy in together(three.names, act).values():
        assert "alarm" in remedy
    # And by an auditor: the countersignatures in the export are of the history that was.
    service = tmp_path / "service.jsonl"
    arguments = ["ledger", "export", str(service), "--of", "service", "-c", str(three.config("partner-01"))]
    with pytest.raises(LedgerBroken):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    with service.open("rb") as stream, pytest.raises(LedgerBroken):
        verify_export(read_file(stream))


def test_a_server_that_hides_the_countersignatures_too_does_not_get_past_a_partner(
    after_a_round: tuple[Choir, Campaign, ModelState], tmp_path: Path
) -> None:
    three, _, _ = after_a_round
    before = tmp_path / "before.jsonl"
    run("ledger", "export", str(before), "--of", "service", "-c", str(three.config("partner-01")))
    alter(three, "rewritten")
    engine = create_engine(f"sqlite:///{three.root / 'server' / 'chorale.db'}")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM confirmations"))
    engine.dispose()
    after = tmp_path / "after.jsonl"
    arguments = ["ledger", "export", str(after), "--of", "service", "-c", str(three.config("partner-01"))]
    with pytest.raises(LedgerBroken, match="checkpoint says"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    # The file alone would pass: only whoever has seen the old history, or its countersignatures, can tell.
    with after.open("rb") as stream:
        verify_export(read_file(stream))
    with pytest.raises(ChoraleError), before.open("rb") as old, after.open("rb") as new:
        verify_export(read_file(new), seen=[verify_export(read_file(old)).head])
