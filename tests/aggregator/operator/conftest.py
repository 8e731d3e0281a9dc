"""One consortium for all tests here: keys are slow to make and nothing changes them."""

import pytest

from tests.aggregator.operator.paper_consortium import Clock, make_consortium
from tests.aggregator.operator.scripted_service import ScriptedService


@pytest.fixture(scope="session")
def consortium():
    return make_consortium()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def service(consortium, clock):
    return ScriptedService(consortium, clock)
