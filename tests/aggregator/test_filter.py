"""The service under a charter with a Renyi filter: it decides in the join's transaction, and says what is left."""

from __future__ import annotations

import pytest

from aggregator.rounds import oversight
from aggregator.storage.sessions import CONSORTIUM, Viewer
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import BudgetExhausted
from privacy.ledger.chain import read_lines
from privacy.ledger.charter_checks import CharterChecks
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import done, refused

EVENT = PrivacyEvent(kind="distributed", noise_multiplier=0.6, sampling_rate=0.5, steps=1)
ORDER = 4


def left(running: Running) -> list[int]:
    shown = done(running.consortium.client(running.http, OPERATOR).get("/v1/budget"))["participants"]
    return [row["left"] for participant in shown for row in participant["rows"]]


def test_joins_are_refused_when_the_filter_is_full_though_the_row_is_not(running: Running) -> None:
    """The caps are 20 in the sum and 50 alone; the row's count is 25. Room that lapses is room again."""
    consortium = running.consortium
    table = (TableRow(name="training", event=EVENT, count=25),)
    charter, campaign = consortium.constitute(running.http, table=table, filter_order=ORDER)
    kept = charter.filter_for(charter.partners[0])
    assert kept is not None
    fits = kept.room_for((), EVENT)
    assert 2 <= fits <= 5

    def attempt(number: int) -> RoundDriver:
        return RoundDriver(consortium, running.http, charter, campaign, attempt=number, event=EVENT)

    first = attempt(1)
    done(first.join(first.names[0]), 201)
    assert left(running) == [fits - 1, fits, fits]
    consortium.clock.seconds = first.plan.deadlines.join + 1
    first.wait_for("closed")
    assert left(running) == [fits] * 3, "the attempt closed without a cohort: its reservation lapsed"
    for number in range(2, fits + 2):
        held = attempt(number)
        held.join_all()
        done(held.abort("its charge stays"))
    assert left(running) == [0] * 3
    last = attempt(fits + 2)
    for name in last.names:
        problem = refused(last.join(name), 409, "budget-exhausted")
        assert f"a filter of order {ORDER}" in problem["expected"]
    lines = done(last.client(OPERATOR).get("/v1/ledger")).splitlines()
    under = CharterChecks({charter.digest: charter})
    for entry in read_lines(lines):
        under.check(entry)
    assert sum(b'"kind":"charge"' in line for line in lines) == 3 * fits


def test_a_tightened_cap_lowers_the_filters_bound(running: Running) -> None:
    """Counts stay as they are; the next joins meet the lower bound, and the export verifies with it."""
    consortium, viewer = running.consortium, Viewer("kim", "kim", "officer", CONSORTIUM, 2e9)
    table = (TableRow(name="training", event=EVENT, count=25),)
    charter, campaign = consortium.constitute(running.http, table=table, filter_order=ORDER)
    name = charter.partners[0]
    caps = charter.entry(name).caps
    wanted = caps.model_copy(update={"epsilon_in_sum": 0.6 * caps.epsilon_in_sum})
    kept, lower = charter.filter_for(name), charter.filter_for(name, wanted)
    assert kept is not None
    assert lower is not None
    fits = lower.room_for((), EVENT)
    assert 1 <= fits < kept.room_for((), EVENT)
    first = RoundDriver(consortium, running.http, charter, campaign, attempt=1, event=EVENT)
    done(first.join(name), 201)
    below = caps.model_copy(update={"epsilon_in_sum": 0.2 * caps.epsilon_in_sum})
    with pytest.raises(BudgetExhausted):
        oversight.tighten_caps(running.service, viewer, name, below.epsilon_in_sum, below.epsilon_alone, "too low")
    assert left(running)[0] == kept.room_for(((EVENT, 1),), EVENT)
    assert oversight.tighten_caps(
        running.service, viewer, name, wanted.epsilon_in_sum, wanted.epsilon_alone, "less for us"
    )
    assert left(running) == [fits - 1, kept.room_for((), EVENT), kept.room_for((), EVENT)]
    lines = done(first.client(OPERATOR).get("/v1/ledger")).splitlines()
    under = CharterChecks({charter.digest: charter})
    for entry in read_lines(lines):
        under.check(entry)
    assert [entry.action.limits for entry in read_lines(lines) if entry.action is not None] == [()]
