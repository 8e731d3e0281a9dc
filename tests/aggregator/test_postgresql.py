"""The service on PostgreSQL: a round from the first invitation to the last confirmation, and a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from privacy.ledger.chain import verify_lines
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.driver import STATE, RoundDriver
from tests.consortium import SeededSource, TestConsortium, done, refused
from tests.postgresql import Cluster

pytestmark = pytest.mark.full


def test_a_round_and_a_restart(postgresql: Cluster, tmp_path: Path) -> None:
    consortium = TestConsortium(count=1)
    settings = consortium.server_folder(tmp_path / "server")
    settings = settings.model_copy(update={"database_url": postgresql.database()})
    with ThreadPoolExecutor(1) as pool:
        with TestClient(create_app(settings, consortium.clock, SeededSource("one"), pool)) as http:
            charter, campaign = consortium.constitute(http)
            RoundDriver(consortium, http, charter, campaign).to_confirmed()
        with TestClient(create_app(settings, consortium.clock, SeededSource("two"), pool)) as http:
            second = RoundDriver(consortium, http, charter, campaign, round=2, base_state=STATE)
            refused(second.join(consortium.names[0]), 409, "budget-exhausted")
            operator = consortium.client(http, OPERATOR)
            exported = done(operator.get("/v1/ledger")).splitlines()
            checkpoint = done(operator.get("/v1/ledger/checkpoint"))["body"]["chain"]
            assert verify_lines(exported).head.model_dump() == checkpoint


def test_a_restart_of_the_database_is_not_noticed(postgresql: Cluster, tmp_path: Path) -> None:
    consortium = TestConsortium()
    settings = consortium.server_folder(tmp_path / "server")
    settings = settings.model_copy(update={"database_url": postgresql.database()})
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("one"), pool)
        with TestClient(app, raise_server_exceptions=False) as http:
            operator = consortium.client(http, OPERATOR)
            done(operator.get("/v1/enrolments"))
            postgresql.end_sessions()
            done(operator.get("/v1/enrolments"))
