"""A service under a test client, and a round that a test drives step by step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.settings import Settings
from aggregator.storage.service import Service
from privacy.protocol.messages import Campaign, Charter
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.consortium import ManualClock, SeededSource, TestConsortium


@dataclass
class Running:
    """A service with its lifecycle running, and the consortium that talks to it."""

    http: TestClient
    service: Service
    consortium: TestConsortium
    settings: Settings


@dataclass(frozen=True)
class Constituted:
    """A consortium with a charter in force and a campaign, and the folder of its service, which has stopped."""

    consortium: TestConsortium
    folder: Path
    charter: Charter
    campaign: Campaign


@pytest.fixture(scope="session")
def constituted(tmp_path_factory: pytest.TempPathFactory) -> Constituted:
    """Made once: whoever starts from here takes a copy of folder and consortium."""
    consortium = TestConsortium()
    folder = tmp_path_factory.mktemp("constituted") / "server"
    settings = consortium.server_folder(folder)
    with ThreadPoolExecutor(1) as pool:
        with TestClient(create_app(settings, consortium.clock, SeededSource("constituted"), pool)) as http:
            return Constituted(consortium, folder, *consortium.constitute(http))


@pytest.fixture
def consortium(request: pytest.FixtureRequest) -> TestConsortium:
    if "driver" not in request.fixturenames:
        return TestConsortium()
    made = copy(request.getfixturevalue("constituted").consortium)
    made.clock, made.source = ManualClock(), SeededSource("a test's own")
    return cast(TestConsortium, made)


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path, consortium: TestConsortium) -> Iterator[Running]:
    """A service without partners, or, under a test that takes `driver`, with those of `constituted`."""
    if "driver" in request.fixturenames:
        shutil.copytree(request.getfixturevalue("constituted").folder, tmp_path / "server")
        settings = Settings(folder=tmp_path / "server", shard_bytes=SHARD_BYTES, sum_workers=1, bodies_at_once=64)
    else:
        settings = consortium.server_folder(tmp_path / "server")
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("service"), pool)
        with TestClient(app, raise_server_exceptions=False) as http:
            yield Running(http, app.state.service, consortium, settings)


@pytest.fixture
def driver(running: Running, constituted: Constituted) -> RoundDriver:
    """A constituted consortium with its first plan posted."""
    return RoundDriver(running.consortium, running.http, constituted.charter, constituted.campaign)
