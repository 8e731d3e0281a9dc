"""A service that comes back from an older backup: partners stop, hand back what it lost, and go on from there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aggregator.backup.recovering import declare_whole, recover
from aggregator.operator.answers import RoundSummary
from aggregator.operator.next_step import Propose, Recorded, next_step
from aggregator.operator.plan_record import PlanRecord, posted_plans
from aggregator.storage import ledger, snapshot
from aggregator.storage.folder import RESTORED_FILE
from client_sdk.attempt import Outcome
from privacy.errors import BadSignature, ChoraleError, ConfigurationError, Conflict, LedgerBroken
from privacy.ledger.export import with_entries
from privacy.ledger.handed_back import read
from privacy.ledger.verification import verify_export
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import ChainHead, Checkpoint, Cohort, Plan, parse_signed
from privacy.protocol.signing import SigningKey, sign
from tests.client_sdk.choir import passphrase, together, values_for
from tests.client_sdk.loss import CLOCK, ROOT, Lost, lose
from tests.consortium import done
from tests.postgresql import Cluster


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    return lose(tmp_path_factory.mktemp("choir"))


def test_it_goes_on_where_it_was_and_under_counts_nothing(lost: Lost, tmp_path: Path) -> None:
    campaign = lost.campaign
    settings = lost.restored(tmp_path / "server")
    found = recover(settings, CLOCK, lost.files(), lost.posted)
    # Round 2 as it was, up to the last checkpoint; round 3 was charged after it, which its cohort proves.
    assert (found.charges, found.confirmed, found.closed) == (3, 1, 1)
    assert found.entries > 0

    with lost.served(settings, tmp_path) as three:
        for name in three.names:
            with three.partner(name) as partner:
                assert partner.ledger_watch.sync(partner.service) == found.head
                seen = partner.ledger_watch.seen()
                export = with_entries(partner.service.ledger_preamble(), partner.service.ledger)
                lines = b"".join(export).splitlines(keepends=True)
                assert verify_export(lines, three.charter.digest, seen=seen).head == found.head
        # The number of the attempt that was lost stays used.
        rounds = done(three.operator.get(f"/v1/campaigns/{campaign.digest}/rounds?after=0&wait=0"))["rounds"]
        assert [line["state"] for line in rounds] == ["confirmed", "confirmed", "closed"]
        now = int(CLOCK.now())
        deadlines = {"join": now + 30, "upload": now + 60, "open": now + 90}
        another = Plan.model_validate({**lost.posted[2].body.model_dump(), "deadlines": deadlines})
        answer = three.operator.post("/v1/rounds", sign(another, OPERATOR, lost.operator_key))
        assert answer.status_code == 409, answer.text

        three.post_plan(campaign, lost.second.digest, round=3, attempt=2)

        def act(name: str) -> list[str]:
            with three.agent(name) as agent:
                ended: list[str] = []
                for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
                    if isinstance(item, Outcome):
                        ended.append(item.ended)
                        continue
                    joined = agent.join(item)
                    agent.contribute(joined, values_for(name))
                    ended.append(agent.finish(joined).ended)
                    break
                return [*ended, agent.current_state(campaign).digest]

        ends = together(three.names, act)
        assert {tuple(end[:-1]) for end in ends.values()} == {("closed", "confirmed")}
        assert len({end[-1] for end in ends.values()}) == 1
        budgets = done(three.operator.get("/v1/budget"))["participants"]
        for name in three.names:
            with three.partner(name) as partner:
                assert partner.own_ledger.head.count == 4
                partner.ledger_watch.sync(partner.service)
            assert f"'{name}'" in str(budgets)
    again = recover(settings, CLOCK, lost.files(), lost.posted)
    assert (again.entries, again.charges, again.confirmed, again.closed) == (0, 0, 0, 0)


def test_without_recovery_partners_stop(lost: Lost, tmp_path: Path) -> None:
    settings = lost.restored(tmp_path / "server")
    declare_whole(settings, CLOCK)
    with lost.served(settings, tmp_path) as three, three.partner("partner-01") as partner:
        with pytest.raises(LedgerBroken, match="was cut, or restored"):
            partner.ledger_watch.sync(partner.service)


def test_two_files_prove_what_the_third_was_charged(lost: Lost, tmp_path: Path) -> None:
    settings, names = lost.restored(tmp_path / "server"), ["partner-01", "partner-02"]
    with pytest.raises(ConfigurationError, match="none of partner-03"):
        recover(settings, CLOCK, lost.files(names))
    found = recover(settings, CLOCK, lost.files(names), (), ["partner-03"])
    # Of the confirmations of round 2 a quorum would be all three: it is closed, and was charged.
    assert (found.charges, found.confirmed, found.closed) == (3, 0, 2)
    with lost.served(settings, tmp_path) as three, three.partner("partner-03") as partner:
        assert partner.ledger_watch.sync(partner.service) == found.head


def test_what_one_partner_alone_knows_may_come_late(lost: Lost, tmp_path: Path) -> None:
    settings, names = lost.restored(tmp_path / "server"), ["partner-01", "partner-02"]
    early = [read(lost.early[name]) for name in names]
    first = recover(settings, CLOCK, early, (), ["partner-03"])
    assert first.charges == 0
    assert first.entries > 0
    late = recover(settings, CLOCK, lost.files(["partner-03"]), (), names)
    assert (late.entries, late.charges, late.closed) == (0, 3, 1)


def test_whatever_does_not_add_up_changes_nothing(lost: Lost, tmp_path: Path) -> None:
    settings = lost.restored(tmp_path / "server")
    key = SigningKey(lost.server_key.read_bytes())
    name = "partner-02"
    lines = lost.lines[name]
    raw = next(line for line in lines if b'"type":"chorale/1 cohort"' in line)
    cohort = parse_signed(Cohort, raw.strip()).body
    charter, entries = cohort.charter, sum(line.startswith(b'{"') and b'"previous":' in line for line in lines)

    def signed_again(body: Any, signer: str = SERVER) -> Callable[[list[bytes]], list[bytes]]:
        message = sign(body, signer, key).canonical_bytes + b"\n"
        return lambda of: [of[0], of[1], of[2], message, *of[3:]]

    def service(line: bytes) -> bool:
        return line.startswith((b'{"action":', b'{"at":')) and b'"reserved":1' in line

    def without(*texts: bytes) -> Callable[[list[bytes]], list[bytes]]:
        return lambda of: [line for line in of if not all(text in line for text in texts)]

    fork = Checkpoint(charter=charter, chain=ChainHead(count=5, head="ab" * 32))
    beyond = Checkpoint(charter=charter, chain=ChainHead(count=entries + 50, head="ab" * 32))
    fewer = cohort.model_copy(update={"members": cohort.members[1:]})
    elsewhere = beyond.model_copy(update={"charter": "cd" * 32})
    cases: dict[str, tuple[Callable[[list[bytes]], list[bytes]], type[ChoraleError]]] = {
        "cut off": (lambda of: of[: len(of) // 2], LedgerBroken),
        "another header": (lambda of: [canonical({"partner": name, "type": "x"}) + b"\n", *of[1:]], LedgerBroken),
        "a head that forks": (signed_again(fork), LedgerBroken),
        "a head that no entry leads to": (signed_again(beyond), LedgerBroken),
        "a second cohort": (signed_again(fewer), Conflict),
        "a charter since": (signed_again(elsewhere), ChoraleError),
        "own entries left out": (without(b'"kind":"charge"', b'"participant":"partner-02"'), LedgerBroken),
        "a message of nobody": (signed_again(fork, "operator"), BadSignature),
    }
    for what, (change, error) in cases.items():
        with pytest.raises(error):
            recover(settings, CLOCK, [*lost.files(["partner-01", "partner-03"]), read(change(list(lines)))])
        with snapshot.database_at(settings.database) as database, database.read() as session:
            assert ledger.head(session).count < entries, what
        assert (settings.folder / RESTORED_FILE).exists(), what
    # One file whose entries lead nowhere does no harm where another's do.
    altered = re.compile(rb'"at":(\d+)')
    later = [altered.sub(lambda at: b'"at":%d' % (int(at[1]) + 1), line) for line in lines]
    garbage = [new if service(line) else line for line, new in zip(lines, later, strict=True)]
    assert garbage != lines
    found = recover(settings, CLOCK, [*lost.files(["partner-01", "partner-03"]), read(garbage)])
    assert found.charges == 3


@pytest.mark.full
def test_it_is_the_same_on_postgresql(
    lost: Lost, postgresql: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHORALE_DATABASE_URL", postgresql.database())
    settings = lost.restored(tmp_path / "server")
    found = recover(settings, CLOCK, lost.files(), lost.posted)
    assert (found.charges, found.confirmed, found.closed) == (3, 1, 1)
    with lost.served(settings, tmp_path) as three:
        for name in three.names:
            with three.partner(name) as partner:
                assert partner.ledger_watch.sync(partner.service) == found.head


KILLED = """
import os, signal, sys
from pathlib import Path
import aggregator.backup.recovering as recovering
def killed(session, keys):
    session.flush()
    os.kill(os.getpid(), signal.SIGKILL)
recovering.check_session = killed
from aggregator.cli import main
main()
"""


@pytest.mark.full
def test_the_commands_and_a_kill_before_the_end(lost: Lost, tmp_path: Path) -> None:
    settings = lost.restored(tmp_path / "server")
    record = PlanRecord(tmp_path / "plans.jsonl")
    # The last was posted as the service was lost: no partner has met it.
    unheard = sign(lost.posted[2].body.model_copy(update={"attempt": 2}), OPERATOR, lost.operator_key)
    for plan in (*lost.posted, unheard):
        record.add(plan)
        record.mark_posted(plan.digest)
    (tmp_path / "passphrase").write_text(f"{passphrase()}\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CHORALE_PASSPHRASE_FILE": str(tmp_path / "passphrase"),
    }

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)

    files = [f"{name}.jsonl" for name in lost.choir.names]
    for name, file in zip(lost.choir.names[1:], files[1:], strict=True):
        (tmp_path / file).write_bytes(b"".join(lost.lines[name]))
    partner = "from client_sdk.cli import main; main()"
    written = run(partner, "recovery", files[0], "-c", str(lost.choir.config("partner-01")))
    assert written.returncode == 0, written.stderr
    # All but the signature over the head of its own chain, which is made anew.
    assert (
        len(set((tmp_path / files[0]).read_bytes().splitlines(keepends=True)) - set(lost.lines["partner-01"])) <= 1
    )

    arguments = ("recover", str(settings.folder), *files, "--plans", "plans.jsonl", "--json")
    assert run(KILLED, *arguments).returncode == -signal.SIGKILL
    with snapshot.database_at(settings.database) as database, database.read() as session:
        before = ledger.head(session).count
    assert (settings.folder / RESTORED_FILE).exists()
    server = "from aggregator.cli import main; main()"
    few = run(server, "recover", str(settings.folder), files[0])
    assert few.returncode == 1
    assert "partner-02, partner-03" in few.stderr
    ended = run(server, *arguments)
    assert ended.returncode == 0, ended.stderr
    made = json.loads(ended.stdout)
    assert (made["charges recovered"], made["attempts confirmed"], made["attempts closed"]) == (3, 1, 2)
    assert made["entries"] > before + made["entries handed back"]
    with lost.served(settings, tmp_path) as three:
        rounds = done(three.operator.get(f"/v1/campaigns/{lost.campaign.digest}/rounds?after=0&wait=0"))["rounds"]
        attempts = [RoundSummary.model_validate(line, strict=False) for line in rounds]
        recorded = [
            Recorded(plan.digest, plan.body.round, plan.body.attempt, plan.body.deadlines.join, True)
            for plan in posted_plans(tmp_path / "plans.jsonl")
        ]
        step = next_step(attempts, recorded, last_round=9, max_attempts=5, now=CLOCK.now())
        assert step == Propose(3, 3, lost.posted[1].digest)
