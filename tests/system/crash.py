"""Real processes, killed with -9 at random moments of real rounds, started again, and checked.

python -m tests.system.crash --kills 100 [--seed 0] [--database URL]. It prints a line for each round and a closing
one, and exits non-zero where a check fails. Victims and moments come from the seed; what they hit is up to the
machine. Checked: whoever opens a sum opens the exact one; at the end all stand on one state, every own ledger holds
the very charges of the service's, one for each cohort that its partner was in, and both chains verify.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aggregator.storage.folder import create_server_folder
from privacy.dp.events import TableRow
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Plan, Seal, parse_signed
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import EVENT, Choir
from tests.consortium import SeededSource
from tests.system.processes import Process, exact_sum, serving, start, wait_until_healthy

SIZE = 4
KILLS_A_ROUND = 4
DEADLINES = (25, 50, 80)
SERVICE = "service"
ROOM = 400
NO_END = 1_000_000
"""The round until which partners go on: they are ended from outside."""


class Crash:
    """One service, four partners, and their deaths."""

    def __init__(self, root: Path, seed: int, service: Process, url: str, operator: SigningKey) -> None:
        self._draw = random.Random(seed)
        self._url = url
        self._choir = Choir(root, url, operator, size=SIZE, patience=40.0)
        table = (TableRow(name="training", event=EVENT, count=ROOM),)
        _, self._campaign, genesis = self._choir.constitute(table=table)
        self._state = genesis.digest
        self._processes = {SERVICE: service}
        self._reached: dict[str, str] = {}
        self._plans: list[Plan] = []
        self.kills = 0
        self.sums = 0

    def run(self, kills: int) -> None:
        for name in self._choir.names:
            self._processes[name] = start(self._choir, name, self._campaign, NO_END)
        try:
            round_number, attempt = 1, 1
            while self.kills < kills:
                ended = self._attempt(round_number, attempt, min(KILLS_A_ROUND, kills - self.kills))
                print(f"round {round_number}, attempt {attempt}: {ended}, {self.kills} kills", flush=True)
                round_number, attempt = (
                    (round_number + 1, 1) if ended == "confirmed" else (round_number, attempt + 1)
                )
            ended = self._attempt(round_number, attempt, 0)
            assert ended == "confirmed", f"a round without kills is {ended}"
            self._wait_for_all()
        finally:
            for name in self._choir.names:
                if name in self._processes:
                    self._processes[name].end()
        self._check_folders()

    def _attempt(self, round_number: int, attempt: int, kills: int) -> str:
        plan = self._choir.post_plan(self._campaign, self._state, DEADLINES, round=round_number, attempt=attempt)
        self._plans.append(plan)
        for _ in range(kills):
            time.sleep(self._draw.uniform(0.0, 2.0))
            self._kill(self._draw.choice([SERVICE, *self._choir.names]))
        document = self._document(plan)
        until = time.monotonic() + 3 * DEADLINES[-1]
        while document["state"] not in ("confirmed", "void", "closed"):
            assert time.monotonic() < until, f"round {round_number} does not end: {document['state']}"
            self._keep_running()
            time.sleep(0.5)
            document = self._document(plan)
        if document["state"] == "confirmed":
            states = set(document["confirmations"].values())
            assert len(states) == 1, f"different states of round {round_number}: {states}"
            self._state = states.pop()
        self._check_outcomes()
        return str(document["state"])

    def _kill(self, name: str) -> None:
        process = self._processes[name]
        process.kill()
        self.kills += 1
        process.start()
        if name == SERVICE:
            wait_until_healthy(self._url)

    def _keep_running(self) -> None:
        """A partner that stated an error is started again; one whose policy stopped it is resumed by its people."""
        for name in self._choir.names:
            if not self._processes[name].running():
                with self._choir.agent(name) as agent:
                    if agent.policy.stopped() is not None:
                        agent.policy.resume("looked into it", agent.partner.now())
                self._processes[name].start()

    def _document(self, plan: Plan) -> dict[str, Any]:
        return self._choir.document(plan)

    def _check_outcomes(self) -> None:
        for name in self._choir.names:
            for line in self._processes[name].drain():
                if line.get("outcome") == "confirmed":
                    self._reached[name] = line["state"]
                if line.get("values") is not None:
                    self.sums += 1
                    assert line["values"] in self._exact(line["round"]), f"{name} opened a false sum"

    def _exact(self, round_number: int) -> set[str]:
        """The exact sum of each attempt of a round that was sealed."""
        sealed = [self._document(plan)["seal"] for plan in self._plans if plan.round == round_number]
        return {exact_sum(parse_signed(Seal, canonical(seal)).body.partners) for seal in sealed if seal is not None}

    def _wait_for_all(self) -> None:
        """Until everyone has confirmed the last round and says that it ended so; who was away catches up."""
        until = time.monotonic() + 2 * DEADLINES[-1]
        while (
            len(self._document(self._plans[-1])["confirmations"]) < SIZE
            or [self._reached.get(name) for name in self._choir.names] != [self._state] * SIZE
        ):
            assert time.monotonic() < until, f"not everyone ended the last round: {self._reached}"
            self._keep_running()
            time.sleep(0.5)
            self._check_outcomes()

    def _check_folders(self) -> None:
        cohorts = {}
        for plan in self._plans:
            found = self._choir.operator.get(f"/v1/rounds/{plan.digest}/cohort")
            if found.status_code == 200:
                cohorts[plan.digest] = {member["partner"] for member in found.json()["cohort"]["body"]["members"]}
        for name in self._choir.names:
            with self._choir.agent(name) as agent:
                reached = agent.current_state(self._campaign).digest
                assert reached == self._state, f"{name} stands on {reached[:16]}, not {self._state[:16]}"
                # Both chains are verified entry by entry here, and compared.
                agent.partner.ledger_watch.sync(agent.partner.service)
                charged = set(agent.partner.own_ledger.charges())
                owed = {plan for plan, members in cohorts.items() if name in members}
                assert charged == owed, f"{name} is charged for {len(charged)} attempts, not {len(owed)}"


def crash(root: Path, kills: int, seed: int, database: str = "") -> Crash:
    """Raises AssertionError where a check fails."""
    operator = SigningKey.generate(SeededSource("operator key"))
    create_server_folder(root / "server", operator.public, SystemRandom())
    environment = {"CHORALE_DATABASE_URL": database} if database else {}
    with serving(root / "server", **environment) as (service, url):
        made = Crash(root, seed, service, url, operator)
        made.run(kills)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", default="", help="an SQLAlchemy URL; SQLite in the folder unless given")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorale-crash-") as folder:
        made = crash(Path(folder), chosen.kills, chosen.seed, chosen.database)
    print(f"{made.kills} kills, {made.sums} sums opened, all exact; ledgers and states agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
