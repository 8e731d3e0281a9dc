"""The service as a process: it serves, sums in processes of its own, and could not decrypt if it tried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from privacy.clock import SystemClock
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
def served(tmp_path: Path) -> Iterator[tuple[TestConsortium, httpx.Client, subprocess.Popen[str]]]:
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
            yield consortium, http, process
        finally:
            process.kill()
            process.wait()


@pytest.mark.system
def test_a_served_round_and_a_quiet_end(
    served: tuple[TestConsortium, httpx.Client, subprocess.Popen[str]],
) -> None:
    consortium, http, process = served
    driver = RoundDriver(consortium, http, *consortium.constitute(http))
    driver.to_confirmed()
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "numba" in maps or "numpy" in maps
    assert "tenseal" not in maps
    assert "torch" not in maps
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    # The server ends itself by the signal it was sent, after it has closed everything.
    assert process.returncode in (0, -signal.SIGTERM)


def test_nothing_that_could_decrypt_is_imported() -> None:
    program = """
import sys
import aggregator.app, aggregator.cli
forbidden = ("tenseal", "torch", "privacy.he.envelope", "privacy.he.shamir", "privacy.he.ring")
sys.exit(", ".join(name for name in forbidden if name in sys.modules) or 0)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
