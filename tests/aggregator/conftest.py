"""A service under a test client, and a round that a test drives step by step."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.settings import Settings
from aggregator.storage.service import Service
from tests.aggregator.driver import RoundDriver
from tests.consortium import SeededSource, TestConsortium


@dataclass
class Running:
    """A service with its lifecycle running, and the consortium that talks to it."""

    http: TestClient
    service: Service
    consortium: TestConsortium
    settings: Settings


@pytest.fixture
def consortium() -> TestConsortium:
    return TestConsortium()


@pytest.fixture
def running(tmp_path: Path, consortium: TestConsortium) -> Iterator[Running]:
    settings = consortium.server_folder(tmp_path / "server")
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("service"), pool)
        with TestClient(app, raise_server_exceptions=False) as http:
            yield Running(http, app.state.service, consortium, settings)


@pytest.fixture
def driver(running: Running) -> RoundDriver:
    """A constituted consortium with its first plan posted."""
    charter, campaign = running.consortium.constitute(running.http)
    return RoundDriver(running.consortium, running.http, charter, campaign)
