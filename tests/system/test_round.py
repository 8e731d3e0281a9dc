"""Real processes on loopback: one service, three partners, plain integers; each is killed with -9 in turn.

With three partners the quorum is three: no round could end here without the one that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import numpy as np
import pytest

from aggregator.storage.folder import create_server_folder
from privacy.protocol.messages import Campaign
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import Choir, values_for
from tests.consortium import SeededSource

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


class Process:
    """A process of ours, its JSON lines, and its end by kill -9."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._arguments = arguments
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
        self.lines: Queue[dict[str, Any]] = Queue()
        self.seen: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            line = self.lines.get(timeout=SECONDS)
            self.seen.append(line)
            if wanted(line):
                return line
        raise AssertionError(f"never came; last lines {self.seen[-5:]}")

    def kill(self) -> None:
        # The whole group: a service's workers would outlive it, and hold its output open.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        if self._process.poll() is None:
            self.kill()

    def succeeded(self) -> bool:
        return self._process.wait(timeout=SECONDS) == 0


def phase(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line.get("phase") == name


def outcome(round_number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: "outcome" in line and line["round"] == round_number


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Process, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = "from aggregator.cli import main; main()"
    service = Process(
        ["-c", command, "serve", str(folder)],
        {"CHORALE_PORT": str(port), "CHORALE_SHARD_BYTES": "32768", "CHORALE_SUM_WORKERS": "1"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url)
        yield service, url
    finally:
        service.end()


def wait_until_healthy(url: str) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/healthz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the service did not come up")


@pytest.mark.system
def test_three_partners_and_a_service_that_are_killed_in_turn(tmp_path: Path) -> None:
    operator = SigningKey.generate(SeededSource("operator key"))
    create_server_folder(tmp_path / "server", operator.public, SystemRandom())
    with serving(tmp_path / "server") as (service, url):
        three = Choir(tmp_path, url, operator, patience=40.0)
        _, campaign, state = three.constitute()
        partners = {name: start(three, name, campaign, until=2) for name in three.names}
        try:
            # Round 1: each partner is killed at another place, and started again.
            three.post_plan(campaign, state.digest, (40, 60, 80))
            victims = dict(zip(three.names, ("seal", "open", "confirm"), strict=True))
            for name, place in victims.items():
                partners[name].wait_for(phase(place))
                partners[name].kill()
                partners[name].start()
            ends = {name: partners[name].wait_for(outcome(1)) for name in three.names}
            reached = check(three, ends, 1)
            # Round 2: the service dies while uploads come in, and is started again on the same folder.
            three.post_plan(campaign, reached, (40, 60, 80), round=2)
            partners[three.names[0]].wait_for(phase("upload"))
            service.kill()
            service.start()
            wait_until_healthy(url)
            check(three, {name: partners[name].wait_for(outcome(2)) for name in three.names}, 2)
            assert all(partner.succeeded() for partner in partners.values())
        finally:
            for partner in partners.values():
                partner.end()
        for name in three.names:
            with three.partner(name) as opened:
                opened.ledger_watch.sync(opened.service)
                assert opened.own_ledger.head.count == 2


def start(three: Choir, name: str, campaign: Campaign, until: int) -> Process:
    return Process(["-m", "tests.system.partner_process", str(three.config(name)), campaign.digest, str(until)], {})


def check(three: Choir, ends: dict[str, dict[str, Any]], round_number: int) -> str:
    """Everyone confirmed one state; whoever decoded in that process got the exact sum. Gives the state."""
    summed = np.sum([values_for(name).astype(np.int64) for name in three.names], axis=0)
    exact = sha256(summed.astype(np.int64).tobytes()).hexdigest()
    assert {end["outcome"] for end in ends.values()} == {"confirmed"}
    assert len({end["state"] for end in ends.values()}) == 1
    # A partner that was killed after it had confirmed has the state on disk, and opens no sum again.
    assert {end["values"] for end in ends.values()} <= {exact, None}
    assert exact in {end["values"] for end in ends.values()}
    assert all(end["round"] == round_number for end in ends.values())
    return str(next(iter(ends.values()))["state"])
