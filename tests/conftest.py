"""Settings and fixtures that every test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import Cluster, cluster

# One thread a process: xdist already uses both cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: numba compiles at first use, and a timed test tells of the machine, not of the code.
settings.register_profile("chorale", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chorale")

LONGEST = ("tests/system/", "tests/simulation/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: what is small is left to share out when cores come to an end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """One cluster for all tests of a process. Whoever asks for it is marked `full`."""
    with cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind: a test that takes this runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'chorale.db'}"
    made: Cluster = request.getfixturevalue("postgresql")
    return made.database()
