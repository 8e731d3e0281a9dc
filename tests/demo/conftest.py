"""A finished demo of two rounds, which the tests of the full run share: run once, by one worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """out/demo after two rounds, run once."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CHORALE_DEMO_ROUNDS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1750,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out" / "demo"
