"""Accounts on PostgreSQL: what signing in counts, uses up and ends is held there as it is on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from tests.aggregator.conftest import Running
from tests.aggregator.console.test_accounts import (  # noqa: F401 - run here on another database
    test_a_disabled_or_reset_account_ends_what_is_open,
    test_a_recovery_code_replaces_one_code_once,
    test_of_many_with_one_code_one_gets_in,
    test_signing_in_asks_for_all_three_and_tells_nobody_which_was_wrong,
)
from tests.aggregator.console.test_attacks import (  # noqa: F401
    test_many_guesses_at_once_are_no_more_than_one_after_another,
    test_no_text_in_a_form_is_an_error_of_ours,
)
from tests.aggregator.console.test_guessing import (  # noqa: F401
    test_whoever_guesses_is_slowed_down_and_the_officers_own_browser_is_not,
)
from tests.aggregator.console.test_own_account import (  # noqa: F401
    test_a_new_authenticator_is_used_once_its_code_was_typed,
)
from tests.consortium import SeededSource, TestConsortium
from tests.postgresql import Cluster

pytestmark = pytest.mark.full


@pytest.fixture
def running(postgresql: Cluster, tmp_path: Path) -> Iterator[Running]:
    consortium = TestConsortium()
    settings = consortium.server_folder(tmp_path / "server")
    settings = settings.model_copy(update={"database_url": postgresql.database()})
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("service"), pool)
        with TestClient(app, raise_server_exceptions=False) as http:
            yield Running(http, app.state.service, consortium, settings)
