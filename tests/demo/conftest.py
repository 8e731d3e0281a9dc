"""A finished demo of two rounds, which the tests of the full run share: run once, by one worker."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """out/demo after two rounds, run once: whichever test process comes first runs it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished-demo"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CHORALE_DEMO_ROUNDS": "2"}
    told = folder / "told"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            done = subprocess.run(
                [sys.executable, "-m", "deploy.demo"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=1750,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            told.write_text(done.stdout)
    return folder / "out" / "demo"
