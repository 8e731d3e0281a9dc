"""A consortium of six with a few rounds behind it, on a `chorale-server` of its own, for browsers to look at.

Rules:
1. Folder, service and accounts come from the commands that an operator types; partners speak signed HTTP.
2. Behind it: three confirmed rounds (in the third, one partner's word on the noise is an alarm), a void attempt,
   and a plan that stays open for joining.
3. Uploads are synthetic: what the service shows does not depend on what it cannot read.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from aggregator.operator.folder import open_operator_folder
from privacy.clock import SystemClock
from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent
from privacy.he.boxes import BoxKey
from privacy.protocol.messages import ChainHead, Deadlines, Join, ProbeFigures, Signed, SigningKeys
from privacy.protocol.plan_checks import check_charter
from privacy.protocol.signing import SigningKey
from tests.aggregator.driver import RoundDriver
from tests.consortium import PROBES, TestConsortium, done
from tests.oidc import free_port
from tests.system.processes import ROOT, Process, wait_until_healthy

NAMES = ("aster", "birch", "cedar", "dahlia", "elm", "fir")
EVENT = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.05, steps=1)
CONFIRMED = 3
HOUR = 3600
ENTRY = "from aggregator.cli import main; main()"
_PASSPHRASE = "a passphrase of several words"


class Consortium(TestConsortium):
    """Partners by name, with a ledger of their own to count in: how many charges each has seen."""

    def __init__(self, operator: SigningKey, server_keys: SigningKeys) -> None:
        caps = Caps(epsilon_alone=20.0, epsilon_in_sum=3.0, delta=1e-5)
        super().__init__(size=len(NAMES), event=EVENT, count=40, caps=caps, clock=SystemClock())  # type: ignore[arg-type]
        self.operator = operator
        self.server_keys = server_keys
        for partner, name in zip(self.partners, NAMES, strict=True):
            partner.name = name
        self.names = list(NAMES)
        self.charged = 0

    def join(self, plan: Any, name: str, round_key: BoxKey) -> Signed[Join]:
        body = super().join(plan, name, round_key).body
        head = hashlib.sha256(f"{name} {self.charged}".encode()).hexdigest()
        ledger = ChainHead(count=self.charged, head=head) if self.charged else body.ledger
        return self.by(name, body.model_copy(update={"ledger": ledger}))


@dataclass(frozen=True)
class OnShow:
    """confirmed, void: digests of the last such attempts. driver: of the attempt that is open for joining."""

    url: str
    folder: Path
    consortium: Consortium
    driver: RoundDriver
    confirmed: str
    void: str

    def command(self, *arguments: str) -> dict[str, Any]:
        """What `chorale-server ARGUMENTS --json` printed; raises CalledProcessError where it refused."""
        told: dict[str, Any] = json.loads(_command(self.folder, *arguments, "--json"))
        return told


@contextmanager
def on_show(folder: Path) -> Iterator[OnShow]:
    port = free_port()
    (folder / "passphrase").write_text(_PASSPHRASE)
    _command(folder, "init", str(folder / "made"), "--port", str(port), "--shard-bytes", "32768", "--json")
    service = Process(["-c", ENTRY, "serve", str(folder / "made")], {"CHORALE_SUM_WORKERS": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url)
        with httpx.Client(base_url=url, timeout=60) as http:
            keys = SigningKeys.model_validate(done(http.get("/v1/about"))["server_keys"])
            consortium = Consortium(open_operator_folder(_operator(folder)).load_key(_PASSPHRASE), keys)
            yield OnShow(url, folder, consortium, *_past(consortium, http))
    finally:
        service.end()


def _past(consortium: Consortium, http: httpx.Client) -> tuple[RoundDriver, str, str]:
    charter, campaign = consortium.constitute(http)
    check_charter(charter)
    base = campaign.genesis

    def attempt(number: int, attempt: int = 1) -> RoundDriver:
        now = int(consortium.clock.now())
        deadlines = Deadlines(join=now + HOUR, upload=now + 2 * HOUR, open=now + 3 * HOUR)
        return RoundDriver(
            consortium, http, charter, campaign, round=number, attempt=attempt, base_state=base, deadlines=deadlines
        )

    for number in range(1, CONFIRMED + 1):
        driver = attempt(number)
        driver.to_opening()
        consortium.charged += 1
        base = hashlib.sha256(f"state after round {number}".encode()).hexdigest()
        for name in NAMES:
            done(driver.open(name), 201)
        for name in NAMES:
            short = number == CONFIRMED and name == "cedar"
            probes = ProbeFigures(ratio=0.7 if short else 1.01, total_ratio=0.99, total_probes=number * PROBES)
            signed = driver.confirmation(name, base, probes=probes)
            done(driver.client(name).post(f"{driver.base}/confirmations", signed), 201)
        driver.wait_for("confirmed")
    confirmed = driver.plan.digest
    driver = attempt(CONFIRMED + 1)
    driver.to_opening()
    consortium.charged += 1
    for name in NAMES:
        done(driver.open(name), 201)
    for name in NAMES:
        driver.void(name)
    driver.wait_for("void")
    return attempt(CONFIRMED + 1, 2), confirmed, driver.plan.digest


def _operator(folder: Path) -> Path:
    return folder / "made" / "operator"


def _command(folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CHORALE_PASSPHRASE_FILE": str(folder / "passphrase"),
        "CHORALE_OPERATOR_FOLDER": str(_operator(folder)),
    }
    command = [sys.executable, "-c", ENTRY, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
