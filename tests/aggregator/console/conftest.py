"""Passwords that are quick to compare, the parameters that hold being tested on their own; and an account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from aggregator.storage import passwords
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import Person, account_link, take_into_use, without_cookies


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture
def kim(running: Running) -> Person:
    """Has an account, and is signed out, at a browser that nobody knows."""
    person = take_into_use(running, account_link(running))
    without_cookies(running)
    return person
