"""Real processes for the tests on loopback: a service, partners, their JSON lines, and their end by kill -9."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import numpy as np

from privacy.protocol.messages import Campaign
from tests.client_sdk.choir import Choir, values_for

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

    def running(self) -> bool:
        return self._process.poll() is None

    def drain(self) -> list[dict[str, Any]]:
        """The lines that came since the last look."""
        while not self.lines.empty():
            self.seen.append(self.lines.get())
        seen, self.seen = self.seen, []
        return seen

    def succeeded(self) -> bool:
        return self._process.wait(timeout=SECONDS) == 0

    def killed_itself(self) -> bool:
        return self._process.wait(timeout=SECONDS) == -signal.SIGKILL

    def group(self) -> list[int]:
        """This process and the workers that it started: everything in its process group, by id."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(ProcessLookupError):
                    if os.getpgid(int(entry.name)) == self._process.pid:
                        found.append(int(entry.name))
        return sorted(found)


def phase(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line.get("phase") == name


def outcome(round_number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: "outcome" in line and line["round"] == round_number


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[tuple[Process, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = "from aggregator.cli import main; main()"
    service = Process(
        ["-c", command, "serve", str(folder)],
        {"CHORALE_PORT": str(port), "CHORALE_SHARD_BYTES": "32768", "CHORALE_SUM_WORKERS": "1", **environment},
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


def start(choir: Choir, name: str, campaign: Campaign, until: int, die_at: str = "") -> Process:
    """A partner's process until round `until`; it kills itself (-9) as phase `die_at` begins, if one is named."""
    arguments = [str(choir.config(name)), campaign.digest, str(until)] + ([die_at] if die_at else [])
    return Process(["-m", "tests.system.partner_process", *arguments], {})


def exact_sum(names: Sequence[str]) -> str:
    """SHA-256 of the integer sum of what these partners contribute, int64."""
    summed = np.sum([values_for(name).astype(np.int64) for name in names], axis=0)
    return sha256(summed.astype(np.int64).tobytes()).hexdigest()


def mapped(process: int, libraries: Sequence[str]) -> list[str]:
    """Which of these names occur among the files that a process has in its memory (Linux)."""
    files = Path(f"/proc/{process}/maps").read_text()
    return [name for name in libraries if name in files]
