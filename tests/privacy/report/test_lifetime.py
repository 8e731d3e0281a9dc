"""A lifetime over charters: per epoch, summed, and composed where that means anything."""

from __future__ import annotations

import pytest

from privacy.dp.accountant import epsilon
from privacy.dp.caps import Caps
from privacy.dp.events import Guarantee, TableRow
from privacy.errors import LedgerBroken
from privacy.ledger.entry import LedgerEntry
from privacy.report.lifetime import lifetime
from tests.privacy.ledger.chains import EVENT, NOTHING, ChainWriter, charter

TABLE = (TableRow(name="training", event=EVENT, count=10), TableRow(name="unprotected", event=NOTHING, count=2))
FIRST = charter(table=TABLE)
SECOND = FIRST.model_copy(update={"epoch": 2, "previous": FIRST.digest})
WIDER = SECOND.model_copy(update={"n_min": 4})
ALL = {one.digest: one for one in (FIRST, SECOND, WIDER)}


def entries(*rounds: tuple[str, int]) -> list[LedgerEntry]:
    """So many charges of aster and birch under each charter, one chain after another."""
    writer = ChainWriter()
    number = 0
    for digest, count in rounds:
        writer.charter = digest
        for _ in range(count):
            number += 1
            writer.attempt(number, ("aster", "birch"))
    return writer.entries


def test_epochs_add_up_and_compose_to_less_where_h_is_the_same() -> None:
    found = lifetime(entries((FIRST.digest, 3), (SECOND.digest, 2)), "aster", ALL)
    assert [(line.epoch, line.charged) for line in found.epochs] == [(1, 3), (2, 2)]
    first, second = (line.spent for line in found.epochs)
    assert first.in_sum == epsilon([(EVENT, 3)], 1e-5, Guarantee.IN_SUM, 2)
    assert second.alone == epsilon([(EVENT, 2)], 1e-5, Guarantee.ALONE, 2)
    assert found.summed.delta == found.capped.delta == pytest.approx(2e-5)
    caps = [charter.entry("aster").caps for charter in (FIRST, SECOND)]
    assert found.capped.in_sum == sum(one.epsilon_in_sum for one in caps) > found.summed.in_sum  # type: ignore[operator]
    assert found.capped.alone == sum(one.epsilon_alone for one in caps)
    assert found.summed.in_sum == first.in_sum + second.in_sum  # type: ignore[operator]
    assert found.composed is not None
    assert found.composed.delta == 1e-5
    assert found.composed.in_sum == epsilon([(EVENT, 5)], 1e-5, Guarantee.IN_SUM, 2)
    assert found.composed.in_sum < found.summed.in_sum  # type: ignore[operator]


def test_under_another_h_only_the_sum_is_told() -> None:
    found = lifetime(entries((FIRST.digest, 1), (WIDER.digest, 1)), "birch", ALL)
    assert [line.honest for line in found.epochs] == [2, 3]
    assert found.composed is None
    assert found.summed.alone == sum(line.spent.alone for line in found.epochs)  # type: ignore[misc]


def test_kind_none_is_remembered_and_nothing_costs_nothing() -> None:
    writer = ChainWriter(charter=FIRST.digest)
    writer.move("reserve", "aster", 1, row="unprotected", event=NOTHING)
    writer.move("charge", "aster", 1, row="unprotected", event=NOTHING)
    writer.charter = SECOND.digest
    writer.attempt(2, ("aster",))
    writer.move("reserve", "cedar", 3)
    found = lifetime(writer.entries, "aster", ALL)
    assert found.epochs[1].spent.in_sum != "infinite"
    assert (found.summed.in_sum, found.summed.alone) == ("infinite", "infinite")
    assert (found.capped.in_sum, found.capped.alone) == ("infinite", "infinite")
    assert found.composed is not None
    assert found.composed.alone == "infinite"
    nothing = lifetime(writer.entries, "cedar", ALL)
    assert (nothing.epochs, nothing.summed.in_sum, nothing.composed) == ((), 0.0, None)


def test_each_epoch_is_at_its_own_delta() -> None:
    roster = tuple(
        entry.model_copy(update={"caps": Caps(epsilon_alone=34.0, epsilon_in_sum=8.0, delta=1e-6)})
        for entry in SECOND.roster
    )
    tighter = SECOND.model_copy(update={"roster": roster})
    charters = {FIRST.digest: FIRST, tighter.digest: tighter}
    found = lifetime(entries((FIRST.digest, 1), (tighter.digest, 1)), "aster", charters)
    assert [line.spent.delta for line in found.epochs] == [1e-5, 1e-6]
    assert found.composed is not None
    assert found.composed.delta == 1e-6


def test_a_charter_that_is_missing_is_said() -> None:
    with pytest.raises(LedgerBroken, match="give every charter"):
        lifetime(entries((FIRST.digest, 1), (SECOND.digest, 1)), "aster", {FIRST.digest: FIRST})
