"""One consortium for all tests here: keys are slow to make and nothing changes them."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from aggregator import cli
from aggregator.app import create_app
from aggregator.operator import options
from aggregator.operator.folder import PASSPHRASE_VARIABLE, open_operator_folder
from aggregator.operator.session import open_session
from aggregator.settings import Settings
from tests.aggregator.operator.choir import Choir
from tests.aggregator.operator.paper_consortium import Clock, make_consortium
from tests.aggregator.operator.scripted_service import ScriptedService
from tests.consortium import SeededSource, TestConsortium


@pytest.fixture(scope="session")
def consortium():
    return make_consortium()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def service(consortium, clock):
    return ScriptedService(consortium, clock)


@pytest.fixture
def choir(tmp_path, monkeypatch):
    (tmp_path / "passphrase").write_text("pass")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    made = CliRunner().invoke(cli.app, ["init", str(tmp_path), "--shard-bytes", "32768", "--json"])
    assert made.exit_code == 0, made.output
    consortium = TestConsortium()
    consortium.operator = open_operator_folder(tmp_path / "operator").load_key("pass")
    with ThreadPoolExecutor(1) as pool:
        app = create_app(Settings.load(tmp_path / "service"), consortium.clock, SeededSource("service"), pool)
        with TestClient(app) as http:
            choir = Choir(tmp_path, http, consortium)
            transport = httpx.MockTransport(choir.answer)
            monkeypatch.setattr(
                options.sessions, "open_session", partial(open_session, clock=consortium.clock, transport=transport)
            )
            yield choir
