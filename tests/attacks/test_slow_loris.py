"""Adversary: a stranger or a partner that opens connections and bodies and lets them lie, or sends a byte now and
then. Each has an end in time, and there are only so many; whoever is honest is served meanwhile.

The service is a real process with few descriptors, and with times of seconds instead of a minute.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from privacy.clock import SystemClock
from tests.aggregator.driver import RoundDriver
from tests.consortium import TestConsortium

pytestmark = [pytest.mark.full, pytest.mark.system]

SERVE = """
import resource, sys
from pathlib import Path
from aggregator import arrival, connections
from aggregator.app import serve
from aggregator.settings import Settings
arrival.STALL_SECONDS, arrival.GRACE_SECONDS = 3.0, 6.0
connections.HEAD_SECONDS = 60.0
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    serve(Settings.load(Path(sys.argv[1])))
"""
HALF_OPEN = 10_000
AT_ONCE = 8


@dataclass
class Besieged:
    driver: RoundDriver
    process: subprocess.Popen[bytes]
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def upload_head(self, name: str, index: int = 0, length: int | None = None) -> bytes:
        """The head of an authentic PUT of a shard that is wanted."""
        shard = self.driver.shards(name)[index]
        target = f"{self.driver.base}/uploads/mine/shards/{index}"
        headers = self.driver.client(name).headers("PUT", target, shard)
        headers |= {"host": "x", "content-length": str(len(shard) if length is None else length)}
        lines = [f"PUT {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def mebibytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    folder = tmp_path_factory.mktemp("besieged")
    consortium = TestConsortium(clock=SystemClock(), parameters=200_000)  # type: ignore[arg-type]
    consortium.server_folder(folder / "server")
    (folder / "serve.py").write_text(SERVE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "CHORALE_PORT": str(port), "CHORALE_SUM_WORKERS": "1", "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, folder / "serve.py", folder / "server"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            for _ in range(600):
                try:
                    http.get("/healthz").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            now = int(time.time())
            later = {"join": now + 600, "upload": now + 1200, "open": now + 1800}
            driver = RoundDriver(consortium, http, *consortium.constitute(http), deadlines=later)
            driver.join_all()
            for name in driver.names:
                driver.announce(name)
            yield Besieged(driver, process, port)
    finally:
        process.kill()
        process.wait()


def _end(connection: socket.socket) -> bytes:
    """What comes until the service closes."""
    came = b""
    try:
        while piece := connection.recv(65536):
            came += piece
    except ConnectionResetError:
        pass
    return came


def test_a_byte_now_and_then_buys_no_time(besieged: Besieged) -> None:
    """Each byte comes in time for the next one; all together they would take a day."""
    name = besieged.driver.names[0]
    with besieged.connect() as connection:
        connection.sendall(besieged.upload_head(name))
        sent = 0
        connection.settimeout(1.0)
        answer = b""
        while sent < 30 and not answer:
            connection.sendall(b"\x00")
            sent += 1
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 503"), answer
        assert b"connection: close" in answer
        assert 2 < sent < 30
        connection.settimeout(10)
        _end(connection)  # the service closes: it does not wait for the rest
    assert besieged.driver.put(name, 0).status_code == 201


def test_one_partners_half_open_uploads_are_counted_and_are_nobody_elses(besieged: Besieged) -> None:
    loris, honest = besieged.driver.names[1], besieged.driver.names[2]
    with ExitStack() as held:
        open_ones = [held.enter_context(besieged.connect()) for _ in range(AT_ONCE)]
        for connection in open_ones:
            connection.sendall(besieged.upload_head(loris) + bytes(100))
        time.sleep(1.0)
        with besieged.connect() as one_more:
            one_more.sendall(besieged.upload_head(loris) + bytes(100))
            assert one_more.recv(65536).startswith(b"HTTP/1.1 429")
        assert besieged.driver.put(honest, 0).status_code == 201
        for connection in open_ones:
            assert connection.recv(65536).startswith(b"HTTP/1.1 503")
    # All have ended, so the partner's own upload finds room again.
    assert besieged.driver.put(loris, 0).status_code == 201


def test_ten_thousand_half_open_connections_shut_nobody_out(besieged: Besieged) -> None:
    """Heads without an end, among them bodies of one partner; the service has 1,024 descriptors."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < HALF_OPEN + 500:
        pytest.skip(f"{hard} open files are allowed here, fewer than {HALF_OPEN} connections take")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, HALF_OPEN + 500), hard))
    loris, honest = besieged.driver.names[0], besieged.driver.names[2]
    before = besieged.mebibytes()
    served = most = 0
    with ExitStack() as held:
        for place in range(HALF_OPEN):
            connection = held.enter_context(besieged.connect())
            body = place % 20 == 0
            try:
                connection.sendall(
                    besieged.upload_head(loris, 1) + b"\x00" if body else b"GET /v1/about HTTP/1.1\r\na: b"
                )
            except (ConnectionResetError, BrokenPipeError):
                continue
            if place % 500 == 499:
                most = max(most, besieged.descriptors())
                assert besieged.driver.put(honest, 1 + place // 500 % 3).status_code == 201
                served += 1
        assert served == HALF_OPEN // 500
        assert most < 1024
        assert besieged.mebibytes() - before < 200
    assert besieged.process.poll() is None
    assert besieged.driver.put(loris, 1).status_code == 201
