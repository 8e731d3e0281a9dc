"""The service under a charter with a Renyi filter: it decides in the join's transaction, and says what is left."""

from __future__ import annotations

from privacy.dp.events import PrivacyEvent, TableRow
from privacy.ledger.chain import read_lines
from privacy.ledger.charter_checks import CharterChecks
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort
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
        end = Abort(charter=charter.digest, plan=held.plan.digest, reason="its charge stays")
        done(held.client(OPERATOR).post(f"{held.base}/abort", consortium.by_operator(end)))
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
