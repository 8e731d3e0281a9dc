"""The service's ledger where many write at once: no more is taken than there is.

On SQLite, and on PostgreSQL in the full run.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from aggregator.storage import ledger
from aggregator.storage.database import Database
from aggregator.storage.tables import CharterRow, HoldingRow
from privacy.dp.events import TableRow
from privacy.errors import BudgetExhausted, WrongState
from privacy.ledger.chain import ChainVerifier, verify_lines
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter, Deadlines, Plan, VectorLayout
from tests.privacy.ledger.chains import EVENT, charter

ROOM = 3
PARTNERS = ("aster", "birch", "cedar")


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
