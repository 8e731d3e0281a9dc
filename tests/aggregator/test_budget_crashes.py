"""A crash at every statement of what moves a budget: what was taken is written, whole or not at all.

On SQLite, and on PostgreSQL in the full run. Crashes are real: a forked process ends itself in the middle.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, select

from aggregator.app import create_app
from aggregator.rounds import admission
from aggregator.rounds.join import join, settle_joining
from aggregator.storage import ledger
from aggregator.storage.database import Database
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow, HoldingRow, JoinRow
from privacy.he.boxes import BoxKey
from privacy.ledger.chain import verify_lines
from privacy.protocol.messages import Plan
from tests.consortium import SeededSource, TestConsortium


@dataclass
class Posted:
    """A constituted consortium, and one attempt that waits for joins; nothing runs but what a test calls."""

    consortium: TestConsortium
    service: Service
    url: str
    plan: Plan

    def again(self) -> Service:
        """The service as a restarted process has it: other connections to the same database."""
        return replace(self.service, database=Database(self.url, lambda topic: None))

    def join(self, name: str, service: Service) -> None:
        join(service, self.plan.digest, name, self.joins[name])

    def __post_init__(self) -> None:
        self.joins = {
            name: self.consortium.join(self.plan, name, BoxKey.generate()) for name in self.consortium.names
        }

    def standing(self) -> tuple[set[str], dict[str, str], bool]:
        """Who has joined, what each holds in this attempt, whether J is published; the chain verifies."""
        service = self.again()
        with service.database.read() as session:
            chain = verify_lines(ledger.lines(session, 0, 1 << 20))
            assert chain.head == ledger.head(session)
            attempt = session.get_one(AttemptRow, self.plan.digest)
            joined = {row.partner for row in session.scalars(select(JoinRow))}
            held = {row.participant: row.state for row in session.scalars(select(HoldingRow))}
        kinds = {"reserve": "reserved", "charge": "charged", "lapse": "lapsed"}
        assert held == {who: kinds[kind] for (who, _), (kind, _) in chain.totals.attempts.items()}
        service.database.close()
        return joined, held, attempt.cohort is not None


@pytest.fixture
def posted(database_url: str, tmp_path: Path) -> Posted:
    consortium = TestConsortium()
    made = consortium.server_folder(tmp_path / "server").model_copy(update={"database_url": database_url})
    with ThreadPoolExecutor(1) as pool:
        app = create_app(made, consortium.clock, SeededSource("service"), pool)
        with TestClient(app) as http:
            plan = consortium.plan(*consortium.constitute(http))
    # The application has ended: no ticker of its own settles anything meanwhile.
    waiting = Posted(consortium, app.state.service, database_url, plan)
    service = waiting.again()
    admission.admit(service, consortium.by_operator(plan))
    service.database.close()
    return waiting


def crashing(posted: Posted, act: Callable[[Service], None], at: int) -> bool:
    """Act in a process of its own that dies at its `at`-th step; whether it did. A step is a statement's start,
    a commit's start or a commit's end."""
    child = os.fork()
    if child == 0:
        code, steps = 1, iter(range(1 << 30))

        def step(*_: Any) -> None:
            if next(steps) == at:
                os._exit(9)

        try:
            service = posted.again()
            event.listen(service.database.engine, "before_cursor_execute", step)
            event.listen(service.database.engine, "commit", step)
            service.database._publish = step
            act(service)
            step()
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def test_a_join_that_dies_anywhere_has_reserved_if_and_only_if_it_is_kept(posted: Posted) -> None:
    name = posted.consortium.names[0]
    at = 0
    while crashing(posted, lambda service: posted.join(name, service), at):
        joined, held, _ = posted.standing()
        assert (joined, held) in ((set(), {}), ({name}, {name: "reserved"}))
        at += 1
    assert at > 8, "it did not crash at statements"
    assert posted.standing()[:2] == ({name}, {name: "reserved"})


def test_a_cohort_that_dies_anywhere_is_published_if_and_only_if_all_are_charged(posted: Posted) -> None:
    names = posted.consortium.names
    service = posted.again()
    for name in names:
        posted.join(name, service)
    service.database.close()
    at = 0
    while crashing(posted, lambda service: settle_joining(service, posted.plan.digest), at):
        _, held, published = posted.standing()
        assert held == dict.fromkeys(names, "charged" if published else "reserved")
        at += 1
    assert at > 12, "it did not crash at statements"
    assert posted.standing()[1:] == (dict.fromkeys(names, "charged"), True)


def test_a_close_that_dies_anywhere_lapses_all_or_none(posted: Posted) -> None:
    names = posted.consortium.names[:2]
    service = posted.again()
    for name in names:
        posted.join(name, service)
    service.database.close()
    posted.consortium.clock.seconds = posted.plan.deadlines.join + 1
    at = 0
    while crashing(posted, lambda service: settle_joining(service, posted.plan.digest), at):
        assert set(posted.standing()[1].values()) in ({"reserved"}, {"lapsed"})
        at += 1
    assert at > 10, "it did not crash at statements"
    assert posted.standing()[1:] == (dict.fromkeys(names, "lapsed"), False)
