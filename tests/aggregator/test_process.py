"""The service as a process: it serves, sums in processes of its own, and could not decrypt if it tried."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from aggregator.app import GRACE_SECONDS
from privacy.clock import SystemClock
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.driver import RoundDriver
from tests.consortium import TestConsortium

SERVE = """
import sys
from pathlib import Path
from aggregator.app import serve
from aggregator.settings import Settings
if __name__ == "__main__":
    serve(Settings.load(Path(sys.argv[1])))
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestConsortium, httpx.Client, subprocess.Popen[str], Path]]:
    consortium = TestConsortium(clock=SystemClock())  # type: ignore[arg-type]
    consortium.server_folder(tmp_path / "server")
    port = 20000 + os.getpid() % 20000
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    environment = {**os.environ, "CHORALE_PORT": str(port), "CHORALE_SUM_WORKERS": "1", "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "server")], env=environment, stdout=subprocess.PIPE, text=True
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        for _ in range(300):
            try:
                http.get("/healthz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        try:
            yield consortium, http, process, tmp_path / "server"
        finally:
            process.kill()
            process.wait()


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


@contextmanager
def _half_open_upload(driver: RoundDriver, http: httpx.Client) -> Iterator[socket.socket]:
    """The head and the first bytes of a shard, and no more."""
    name = driver.names[0]
    driver.announce(name)
    shard = driver.shards(name)[0]
    target = f"{driver.base}/uploads/mine/shards/0"
    headers = {"host": "x", "content-length": str(len(shard)), **driver.client(name).headers("PUT", target, shard)}
    head = f"PUT {target} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n"
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), timeout=20) as connection:
        connection.sendall(head.encode() + shard[:1000])
        yield connection


def _poll(driver: RoundDriver, http: httpx.Client) -> int:
    """How a long poll is answered that nothing new ends."""
    target = f"{driver.base}?seen={1 << 39}&wait=60"
    with httpx.Client(base_url=http.base_url, timeout=60) as own:
        return own.get(target, headers=driver.client(OPERATOR).headers("GET", target, b"")).status_code


def _connected(http: httpx.Client) -> int:
    """Connections to the service that are established, counted at their clients' end."""
    remote = f":{http.base_url.port or 80:04X} 01"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(" ".join(row.split()[2:4]).endswith(remote) for row in rows)


@pytest.mark.system
def test_a_served_round_and_a_quiet_end(
    served: tuple[TestConsortium, httpx.Client, subprocess.Popen[str], Path],
) -> None:
    consortium, http, process, driver_folder = served
    driver = RoundDriver(consortium, http, *consortium.constitute(http))
    driver.to_confirmed()
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "numba" in maps or "numpy" in maps
    assert "tenseal" not in maps
    assert "torch" not in maps
    driver = RoundDriver(consortium, http, driver.charter, driver.campaign, attempt=2)
    driver.join_all()
    with _half_open_upload(driver, http) as upload, ThreadPoolExecutor(8) as waiting:
        # Long polls, of which the service knows before it is told to stop.
        before = _connected(http)
        polls = [waiting.submit(_poll, driver, http) for _ in range(8)]
        incoming = driver_folder / "blobs" / "incoming"
        _until(lambda: len(list(incoming.iterdir())) == 1)
        _until(lambda: _connected(http) == before + 8)
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert time.monotonic() - begun < GRACE_SECONDS + 3
        assert [poll.result() for poll in polls] == 8 * [200]
        assert upload.recv(1000).startswith(b"HTTP/1.1 503")
    assert not list(incoming.iterdir())
    # The server ends itself by the signal it was sent, after it has closed everything.
    assert process.returncode in (0, -signal.SIGTERM)


def _children(parent: int) -> set[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return {int(line) for line in found.stdout.split()}


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.system
def test_a_service_that_is_killed_leaves_no_worker_behind(
    served: tuple[TestConsortium, httpx.Client, subprocess.Popen[str], Path],
) -> None:
    consortium, http, process, _ = served
    RoundDriver(consortium, http, *consortium.constitute(http)).to_confirmed()
    workers = _children(process.pid)
    assert workers
    process.kill()
    process.wait()
    _until(lambda: not any(_alive(worker) for worker in workers))


@pytest.mark.system
def test_a_second_service_on_a_folder_touches_nothing_and_says_so(
    served: tuple[TestConsortium, httpx.Client, subprocess.Popen[str], Path],
) -> None:
    _, http, _, folder = served
    under_way = folder / "blobs" / "incoming" / "1-0.part"
    under_way.write_bytes(b"an upload under way")
    refused = _serve_command(folder)
    assert refused.returncode == 1
    assert "folder in use" in refused.stderr
    assert under_way.exists()
    assert http.get("/healthz").status_code == 200


def test_an_address_in_use_is_said_so_before_anything_is_touched(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    TestConsortium(clock=SystemClock()).server_folder(folder)  # type: ignore[arg-type]
    before = sorted(folder.iterdir())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = _serve_command(folder, CHORALE_PORT=str(taken.getsockname()[1]))
    assert refused.returncode == 1
    assert "Address already in use" in refused.stderr
    assert sorted(folder.iterdir()) == sorted([*before, folder / "serving.lock"])


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_is_none_of_a_service_is_said_so_and_left_alone(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "nowhere"
    if made:
        folder.mkdir()
    refused = _serve_command(folder)
    assert refused.returncode == 1
    assert "chorale-server init" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not made or list(folder.iterdir()) == []


def _serve_command(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aggregator.cli", "serve", str(folder)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_that_could_decrypt_is_imported() -> None:
    program = """
import sys
import aggregator.app, aggregator.cli
forbidden = ("tenseal", "torch", "privacy.he.envelope", "privacy.he.shamir", "privacy.he.ring")
sys.exit(", ".join(name for name in forbidden if name in sys.modules) or 0)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_a_service_logs_where_it_listens(tmp_path: Path) -> None:
    folder, script = tmp_path / "server", tmp_path / "serve.py"
    TestConsortium(clock=SystemClock()).server_folder(folder)  # type: ignore[arg-type]
    script.write_text(SERVE)
    environment = {**os.environ, "CHORALE_PORT": "0", "CHORALE_SUM_WORKERS": "1", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            lines = (json.loads(line) for line in process.stderr)
            told = next(line for line in lines if line["event"] == "listening")
        finally:
            process.kill()
    assert told["host"] == "127.0.0.1"
    assert told["port"] > 0
