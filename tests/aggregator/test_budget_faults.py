"""The service's ledger under concurrency and crashes: no more is taken than there is, what was spent is written.

On SQLite, and on PostgreSQL in the full run. Crashes are real: a forked process ends itself in the middle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from aggregator.app import create_app
from aggregator.rounds import admission
from aggregator.rounds.join import join, settle_joining
from aggregator.storage import ledger
from aggregator.storage.database import Database
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow, CharterRow, HoldingRow, JoinRow
from privacy.dp.events import TableRow
from privacy.errors import BudgetExhausted, WrongState
from privacy.he.boxes import BoxKey
from privacy.ledger.chain import ChainVerifier, verify_lines
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter, Deadlines, Plan, VectorLayout
from tests.consortium import SeededSource, TestConsortium
from tests.privacy.ledger.chains import EVENT, charter

ROOM = 3
PARTNERS = ("aster", "birch", "cedar")


# --- many at once -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Books:
    """Two engines on one database, as two processes have them, and a charter whose row has ROOM."""

    databases: tuple[Database, Database]
    charter: Charter
    digest: str

    def plan(self, number: int) -> Plan:
        return Plan(
            charter=self.digest,
            campaign="ab" * 32,
            round=number,
            attempt=1,
            kind="training",
            base_state="cd" * 32,
            layout=VectorLayout(parameters=10, probes=1024, lane_width=24, shift=8),
            event=EVENT,
            deadlines=Deadlines(join=1, upload=2, open=3),
        )

    def reserve(self, number: int, partner: str, engine: int = 0) -> str:
        plan = self.plan(number)
        try:
            with self.databases[engine].write() as session:
                ledger.reserve(session, self.charter, plan, plan.digest, partner, number)
        except (BudgetExhausted, WrongState) as refusal:
            return refusal.code
        return "held"

    def settle(self, number: int, members: frozenset[str], engine: int = 0) -> None:
        plan = self.plan(number)
        with self.databases[engine].write() as session:
            ledger.settle(session, self.charter, plan, plan.digest, members, number)

    def verified(self) -> ChainVerifier:
        """The chain, replayed whole; the holdings must be what it says."""
        with self.databases[0].read() as session:
            chain = verify_lines(ledger.lines(session, 0, 1 << 20))
            assert chain.head == ledger.head(session)
            held = {(row.participant, row.round): row.state for row in session.scalars(select(HoldingRow))}
        states = {"reserve": "reserved", "charge": "charged", "lapse": "lapsed"}
        assert held == {who: states[kind] for who, (kind, _) in chain.totals.attempts.items()}
        return chain

    def taken(self, partner: str) -> int:
        totals = self.verified().totals.row(self.digest, partner, "training")
        return totals.charged + totals.reserved

    def under_another_charter(self, name: str) -> Books:
        """The same databases with fresh budgets."""
        made = charter(table=(TableRow(name="training", event=EVENT, count=ROOM),))
        made = made.model_copy(update={"consortium": name})
        with self.databases[0].write() as session:
            count = session.query(CharterRow).count()
            session.add(CharterRow(digest=made.digest, sequence=count + 1, message=b"", in_force=True))
        return replace(self, charter=made, digest=made.digest)


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    databases = (Database(database_url, lambda topic: None), Database(database_url, lambda topic: None))
    databases[0].migrate()
    yield Books(databases, charter(), "").under_another_charter("Test consortium")
    for database in databases:
        database.close()


def test_64_joins_of_one_participant_at_once_take_no_more_than_there_is(books: Books) -> None:
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda number: books.reserve(number, "aster", number % 2), range(1, 65)))
    assert answers.count("held") == ROOM
    assert answers.count("budget-exhausted") == 64 - ROOM
    assert books.taken("aster") == ROOM


def test_one_join_sent_64_times_at_once_is_one_reservation(books: Books) -> None:
    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(lambda place: books.reserve(1, "aster", place % 2), range(64))) == {"held"}
        list(pool.map(lambda place: books.settle(1, frozenset({"aster"}), place % 2), range(64)))
    assert books.taken("aster") == 1
    assert books.verified().head.count == 2


class Model:
    """What the budget should do, said anew in a few lines: room by participant, one state an attempt."""

    def __init__(self) -> None:
        self.states: dict[tuple[int, str], str] = {}

    def taken(self, partner: str) -> int:
        return sum(who == partner and state != "lapsed" for (_, who), state in self.states.items())

    def reserve(self, number: int, partner: str) -> str:
        state = self.states.get((number, partner))
        if state == "lapsed":
            return "wrong-state"
        if state is None:
            if self.taken(partner) >= ROOM:
                return "budget-exhausted"
            self.states[(number, partner)] = "reserved"
        return "held"

    def settle(self, number: int, members: frozenset[str]) -> None:
        for (attempt, partner), state in self.states.items():
            if attempt == number and state == "reserved":
                self.states[(attempt, partner)] = "charged" if partner in members else "lapsed"


_RESERVE = st.tuples(st.integers(1, 8), st.sampled_from(PARTNERS))
_SETTLE = st.tuples(st.integers(1, 8), st.frozensets(st.sampled_from(PARTNERS)))
_MOVES = st.lists(st.one_of(_RESERVE, _SETTLE), max_size=30)
_names = iter(range(1 << 30))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(moves=_MOVES)
def test_moves_one_after_another_do_what_the_model_does(books: Books, moves: list[tuple[int, Any]]) -> None:
    fresh, model = books.under_another_charter(f"Consortium {next(_names)}"), Model()
    for number, who in moves:
        if isinstance(who, str):
            assert fresh.reserve(number, who) == model.reserve(number, who)
        else:
            fresh.settle(number, who)
            model.settle(number, who)
    _check_against(fresh, model)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=15)
@given(moves=_MOVES)
def test_moves_at_once_do_what_some_order_of_them_does(books: Books, moves: list[tuple[int, Any]]) -> None:
    """The chain is that order: its reservations are those that were answered `held`, and the model agrees."""
    fresh, model = books.under_another_charter(f"Consortium {next(_names)}"), Model()

    def act(place: int) -> str:
        number, who = moves[place]
        if isinstance(who, str):
            return fresh.reserve(number, who, place % 2)
        fresh.settle(number, who, place % 2)
        return "settled"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(act, range(len(moves))))
    for partner in PARTNERS:
        assert fresh.taken(partner) <= ROOM
    _replay(fresh, model)
    _check_against(fresh, model)
    held = {move for move, answer in zip(moves, answers, strict=True) if answer == "held"}
    assert held == set(model.states)


def _replay(fresh: Books, model: Model) -> None:
    with fresh.databases[0].read() as session:
        for line in ledger.lines(session, 0, 1 << 20):
            entry = LedgerEntry.model_validate_json(line)
            if entry.charter != fresh.digest or entry.budget is None or entry.participant is None:
                continue
            number, partner = entry.budget.round, entry.participant
            if entry.kind == "reserve":
                assert (number, partner) not in model.states
                assert model.reserve(number, partner) == "held"
            else:
                assert model.states[(number, partner)] == "reserved"
                model.states[(number, partner)] = {"charge": "charged", "lapse": "lapsed"}[entry.kind]


def _check_against(fresh: Books, model: Model) -> None:
    plans = {fresh.plan(number).digest: number for number in range(1, 9)}
    kinds = {"reserve": "reserved", "charge": "charged", "lapse": "lapsed"}
    standing = {
        (plans[plan], partner): kinds[kind]
        for (partner, plan), (kind, _) in fresh.verified().totals.attempts.items()
        if plan in plans
    }
    assert standing == model.states
    for partner in PARTNERS:
        assert fresh.taken(partner) == model.taken(partner)


# --- a crash at every statement -----------------------------------------------------------------------------


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
