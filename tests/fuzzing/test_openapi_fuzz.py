"""Each route of docs/openapi.json under requests made from it: no 5xx, and no answer outside the document.

The requests are signed (sending.py), of the document's form and not by turns, from the operator and from partners.
A round in its opening stands behind the routes. Examples are the same in each run; FUZZ_EXAMPLES asks for more of
them a route.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aggregator.app import create_app
from aggregator.settings import Rate, Rates
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.consortium import SeededSource, TestConsortium
from tests.fuzzing.document import DOCUMENT, generable
from tests.fuzzing.sending import Manner, Standing, manners

pytestmark = pytest.mark.full

# What ends the round comes last: behind it there is less to reach.
ROUTES = sorted(
    (f"{verb.upper()} {path}" for path, verbs in DOCUMENT["paths"].items() for verb in verbs),
    key=lambda label: (label.endswith("/abort"), label),
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
WITHOUT_END = Rate(per_second=1, burst=1e9)
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    consortium = TestConsortium()
    made = consortium.server_folder(tmp_path_factory.mktemp("fuzzed") / "server", SHARD_BYTES)
    # The clock stands still, so no bucket would ever fill again.
    chosen = made.model_copy(update={"rates": Rates(**dict.fromkeys(Rates.model_fields, WITHOUT_END))})
    with ThreadPoolExecutor(1) as pool:
        app = create_app(chosen, consortium.clock, SeededSource("service"), pool)
        with TestClient(app, raise_server_exceptions=False) as http:
            driver = RoundDriver(consortium, http, *consortium.constitute(http))
            driver.to_opening()
            yield Standing(driver)


@pytest.fixture(scope="module")
def operations(standing: Standing) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    generated = schemathesis.openapi.from_dict(generable(standing.known()))
    return {found.ok().label: found.ok() for found in generated.get_all_operations()}


@pytest.fixture(scope="module")
def reached() -> dict[str, set[int]]:
    """The statuses that each route answered."""
    return {}


# Answers are held to the document as it stands.
AS_WRITTEN = {
    found.ok().label: found.ok() for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
}


@pytest.mark.parametrize("label", ROUTES)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_a_route(
    standing: Standing,
    operations: dict[str, APIOperation[Any, Any, Any, Any]],
    reached: dict[str, set[int]],
    label: str,
    mode: GenerationMode,
) -> None:
    operation = operations[label]
    takes_something = operation.body or operation.query or operation.path_parameters
    if mode is GenerationMode.NEGATIVE and not takes_something:
        return  # nothing of it could be invalid

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), manner=manners(standing.driver))
    def holds(case: Any, manner: Manner) -> None:
        answer = standing.send(case, manner)
        reached.setdefault(label, set()).add(answer.status_code)
        asked = AS_WRITTEN[label].Case(path_parameters=case.path_parameters)
        asked.validate_response(answer, checks=CHECKS)

    holds()


def test_requests_got_behind_the_signature_check(reached: dict[str, set[int]]) -> None:
    """Or all of the above would say no more than that strangers are refused."""
    assert set(reached) == set(ROUTES), "run with the rest of this file"
    done = {label for label, statuses in reached.items() if statuses & {200, 201}}
    assert len(done) >= 30, sorted(set(ROUTES) - done)
