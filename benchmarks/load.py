"""What many partners at once cost the service: `python -m benchmarks.load` prints a table and writes out/load.json.

Rules:
1. The service is a process of its own on loopback, with SQLite; this process is all its clients, signatures
   included, on the same cores. So seconds are of both, and tell little; ratios are of attempts in the same run.
2. An attempt: PARTNERS join, announce and send their uploads at once, each on a thread of its own. The first
   attempt is not counted, the second is alone. During the third, POLLS long polls wait for the next plan, and
   somebody reads the console.
3. The console's overview is timed while nothing happens, while the polls wait, and during the third attempt.
Uploads are words below q, made before the clock starts: encrypting is not the service's cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
from rich.console import Console
from rich.table import Table

from privacy.clock import SystemClock
from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort, Campaign, Charter, Deadlines
from privacy.randomness import SystemRandom
from tests.aggregator.driver import RoundDriver
from tests.consortium import TestConsortium, done
from tests.system.processes import wait_until_healthy

PARTNERS = 50
POLLS = 1000
PARAMETERS = 100_000
READINGS = 10
PAUSE_SECONDS = 0.3
OUT = Path("out")
FIGURES = {
    "attempt_alone_seconds": f"{PARTNERS} partners join and upload, alone",
    "attempt_loaded_seconds": f"the same, beside {POLLS:,} long polls and a reader of the console",
    "attempt_ratio": "the one over the other",
    "overview_idle_seconds": "console's overview, median, while nothing happens",
    "overview_polls_seconds": f"beside {POLLS:,} long polls",
    "overview_loaded_seconds": "beside these and the third attempt",
    "overview_worst_seconds": "the slowest of them",
    "service_cpu_seconds": "the service's CPU for the third attempt",
    "memory_mib": "the service's memory before the polls, MiB",
    "memory_loaded_mib": "and at its most in the third attempt",
    "descriptors": "open files at most",
    "polls_answered": "long polls answered 200",
}


class Watched:
    """The service's process, seen from outside (Linux)."""

    def __init__(self, process: int) -> None:
        self._folder = Path(f"/proc/{process}")
        self.most_descriptors = 0
        self.most_mib = 0.0

    def look(self) -> None:
        self.most_descriptors = max(self.most_descriptors, len(list((self._folder / "fd").iterdir())))
        self.most_mib = max(self.most_mib, self.mib())

    def mib(self) -> float:
        return int((self._folder / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        ticks = (self._folder / "stat").read_text().rsplit(") ", 1)[1].split()[11:13]
        return sum(int(tick) for tick in ticks) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(folder: Path, port: int) -> Iterator[Watched]:
    environment = {**os.environ, "CHORALE_PORT": str(port), "CHORALE_SUM_WORKERS": "1"}
    command = [sys.executable, "-c", "from aggregator.cli import main; main()", "serve", str(folder)]
    with (OUT / "load-service.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}")
            yield Watched(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


class Overview:
    """Reads the console's first page as an officer does, and keeps the seconds."""

    def __init__(self, url: str, link: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        form = self._http.get("/console/sign-in", params={"link": link}).text
        token = re.findall(r'name="csrf" value="([0-9a-f]{64})"', form)[0]
        answer = self._http.post("/console/sign-in", data={"link": link, "csrf": token})
        assert answer.status_code == 303, answer.text

    def read(self) -> float:
        begun = time.perf_counter()
        answer = self._http.get("/console")
        assert answer.status_code == 200, answer.text
        return time.perf_counter() - begun

    def several(self, stop: threading.Event | None = None) -> list[float]:
        """READINGS of them, or as many as there are until `stop`."""
        found: list[float] = []
        while len(found) < READINGS if stop is None else not stop.is_set():
            found.append(self.read())
            time.sleep(PAUSE_SECONDS)
        return found


def attempt(consortium: TestConsortium, http: httpx.Client, made: tuple[Charter, Campaign], number: int) -> float:
    """Seconds from the first join to the last receipt. The attempt is aborted, so that another may follow."""
    now = int(time.time())
    deadlines = Deadlines(join=now + 1200, upload=now + 2400, open=now + 3600)
    driver = RoundDriver(consortium, http, *made, attempt=number, deadlines=deadlines)
    for name in driver.names:
        driver.vector(name)
    begun = time.perf_counter()
    with ThreadPoolExecutor(PARTNERS) as pool:
        for answer in pool.map(driver.join, driver.names):
            done(answer, 201)
        driver.wait_for("uploading")
        list(pool.map(driver.upload, driver.names))
    seconds = time.perf_counter() - begun
    Console(stderr=True).print(f"attempt {number}: {seconds:.1f} s")
    driver.wait_for("opening")
    abort = Abort(charter=made[0].digest, plan=driver.plan.digest, reason="measured")
    done(driver.client(OPERATOR).post(f"{driver.base}/abort", consortium.by_operator(abort)))
    return seconds


class Polls:
    """Long polls of all partners for the campaign's next plan, until they are told to end."""

    def __init__(self, consortium: TestConsortium, http: httpx.Client, port: int, campaign: Campaign) -> None:
        self._port, self._campaign = port, campaign
        # They only sign: the requests go over connections of their own.
        self._clients = {name: consortium.client(http, name) for name in consortium.names}
        self.waiting = 0
        self.answered = 0
        self._ending = False
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Polls:
        self._thread.start()
        while self.waiting < POLLS and self.failed is None:
            time.sleep(0.1)
        time.sleep(2)  # the last requests are on their way
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join()
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:  # noqa: BLE001 - raised again where the polls end
            self.failed = error

    async def _all(self) -> None:
        names = list(self._clients)
        await asyncio.gather(*(self._one(names[place % len(names)]) for place in range(POLLS)))

    async def _one(self, name: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        target = f"/v1/campaigns/{self._campaign.digest}/rounds?after=1000&wait=20"
        first = True
        while not self._ending:
            lines = [f"GET {target} HTTP/1.1", "host: x"]
            signed = self._clients[name].headers("GET", target, b"")
            lines += [f"{header}: {value}" for header, value in signed.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            await writer.drain()
            self.waiting += first
            first = False
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length is not None
            await reader.readexactly(int(length[1]))
            assert head.startswith(b"HTTP/1.1 200"), head
            self.answered += 1
        writer.close()


def measure() -> dict[str, float]:
    event = PrivacyEvent(kind="distributed", noise_multiplier=4.0, sampling_rate=0.01, steps=1)
    caps = Caps(epsilon_alone=1000.0, epsilon_in_sum=100.0, delta=1e-5)
    consortium = TestConsortium(
        size=PARTNERS,
        n_min=PARTNERS - 5,
        parameters=PARAMETERS,
        event=event,
        caps=caps,
        clock=SystemClock(),  # type: ignore[arg-type]
    )
    # Threads draw from it: nonces, and words of uploads.
    consortium.source = SystemRandom()  # type: ignore[assignment]
    figures: dict[str, float] = {}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(dir=OUT) as disk:
        consortium.server_folder(Path(disk) / "server")
        limits = httpx.Limits(max_connections=2 * PARTNERS)
        with (
            service(Path(disk) / "server", port) as watched,
            httpx.Client(base_url=url, timeout=120, limits=limits) as http,
        ):
            made = consortium.constitute(http)
            wanted = {"officer": "Ms Officer", "scope": "consortium"}
            link = done(consortium.client(http, OPERATOR).post("/v1/officer-links", wanted), 201)["url"]
            overview = Overview(url, parse_qs(urlsplit(link).query)["link"][0])
            overview.read()
            attempt(consortium, http, made, 1)  # whatever is compiled or opened once
            figures["attempt_alone_seconds"] = attempt(consortium, http, made, 2)
            figures["overview_idle_seconds"] = statistics.median(overview.several())
            figures["memory_mib"] = watched.mib()
            with Polls(consortium, http, port, made[1]) as polls:
                watched.look()
                figures["overview_polls_seconds"] = statistics.median(overview.several())
                before, stop = watched.cpu_seconds(), threading.Event()
                with ThreadPoolExecutor(1) as reading:
                    readings = reading.submit(overview.several, stop)
                    figures["attempt_loaded_seconds"] = attempt(consortium, http, made, 3)
                    watched.look()
                    stop.set()
                figures["service_cpu_seconds"] = watched.cpu_seconds() - before
                figures["overview_loaded_seconds"] = statistics.median(readings.result())
                figures["overview_worst_seconds"] = max(readings.result())
            figures["polls_answered"] = polls.answered
            figures["memory_loaded_mib"] = watched.most_mib
            figures["descriptors"] = watched.most_descriptors
    figures["attempt_ratio"] = figures["attempt_loaded_seconds"] / figures["attempt_alone_seconds"]
    return figures


def table(figures: dict[str, float]) -> Table:
    shown = Table(
        title=f"{PARTNERS} partners, {PARAMETERS:,} parameters, {POLLS:,} long polls", title_justify="left"
    )
    shown.add_column("")
    shown.add_column("", justify="right")
    for name, label in FIGURES.items():
        shown.add_row(label, f"{figures[name]:.4g}")
    return shown


def main() -> None:
    OUT.mkdir(exist_ok=True)
    figures = measure()
    Console().print(table(figures))
    (OUT / "load.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
