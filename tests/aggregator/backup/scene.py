"""A backup of the service that a test runs, and the same round driven on in what was restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.backup.making import make_backup
from aggregator.settings import Settings
from tests.aggregator.conftest import Running
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.consortium import SeededSource

ROOT = Path(__file__).parents[3]


def quiet(done_: int, of: int) -> None:
    del done_, of


def backed_up(running: Running, target: Path, told: Callable[[int, int], None] = quiet) -> Path:
    make_backup(running.settings, target, running.consortium.clock, told, sleep=lambda seconds: None)
    return target


def key_of(running: Running) -> Path:
    return running.settings.folder / "server.key"


@contextmanager
def again(running: Running, driver: RoundDriver, folder: Path) -> Iterator[tuple[TestClient, RoundDriver]]:
    """The service of a restored folder, and the same round driven on there."""
    settings = Settings.load(folder).model_copy(update={"shard_bytes": SHARD_BYTES, "sum_workers": 1})
    with ThreadPoolExecutor(1) as pool:
        with TestClient(create_app(settings, running.consortium.clock, SeededSource("again"), pool)) as http:
            # Past the time in which a service without its nonces takes nothing.
            running.consortium.clock.seconds += 301
            driver.http = http
            yield http, driver
