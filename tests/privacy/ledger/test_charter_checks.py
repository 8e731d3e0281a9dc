"""What officers did binds the entries after it, offline too: suspensions, and caps that only come down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from privacy.dp.caps import Caps
from privacy.dp.events import TableRow
from privacy.errors import LedgerBroken
from privacy.ledger.chain import next_action_entry
from privacy.ledger.charter_checks import CharterChecks
from privacy.ledger.entry import ActionKind, EntryKind, OfficersAction, RowLimit
from privacy.protocol.messages import Charter
from tests.privacy.ledger.chains import EVENT, ChainWriter, charter

TABLE = (TableRow(name="training", event=EVENT, count=200),)
PLAIN = charter(table=TABLE)
FILTERED = charter(
    table=TABLE, caps=Caps(epsilon_alone=200.0, epsilon_in_sum=20.0, delta=1e-5)
).model_copy(update={"filter_order": 6})  # fmt: skip


def act(writer: ChainWriter, what: ActionKind, caps: Caps | None = None, limits: tuple[RowLimit, ...] = ()) -> None:
    action = OfficersAction(
        what=what, officer="j.kim", role="officer", second=None, alarm=None, caps=caps, limits=limits
    )
    at = 1_760_000_000 + 3600 * len(writer.entries)
    writer.append(next_action_entry(writer.verifier.head, writer.charter, at, "aster", "said why", action))


def tightened(under: Charter, epsilon: float, **other: float) -> Caps:
    return under.entry("aster").caps.model_copy(update={"epsilon_in_sum": epsilon, **other})


def checked(writer: ChainWriter, under: Charter) -> None:
    checks = CharterChecks({writer.charter: under})
    for entry in writer.entries:
        checks.check(entry)


def broken_at(writer: ChainWriter, under: Charter) -> int:
    with pytest.raises(LedgerBroken) as caught:
        checked(writer, under)
    return caught.value.line


def test_a_suspended_participant_joins_nothing_until_it_is_resumed() -> None:
    writer = ChainWriter()
    writer.move("reserve", "aster", 1)
    act(writer, "suspend")
    writer.move("charge", "aster", 1)  # it had joined before
    writer.move("reserve", "birch", 2)
    act(writer, "propose-resume")
    act(writer, "resume")
    writer.move("reserve", "aster", 3)
    checked(writer, PLAIN)


@pytest.mark.parametrize("proposed", [False, True])
def test_a_join_of_a_suspended_participant_is_named(proposed: bool) -> None:
    writer = ChainWriter()
    act(writer, "suspend")
    if proposed:
        act(writer, "propose-resume")
    writer.move("reserve", "aster", 1)
    assert broken_at(writer, PLAIN) == len(writer.entries)


def test_a_resumption_of_nobody_suspended_is_named() -> None:
    writer = ChainWriter()
    act(writer, "resume")
    assert broken_at(writer, PLAIN) == 1


def test_a_tightened_cap_leaves_the_counts_that_its_entry_states() -> None:
    writer = ChainWriter()
    writer.attempt(1, ("aster", "birch"))
    act(writer, "tighten", tightened(PLAIN, 4.0), (RowLimit(row="training", count=2),))
    writer.attempt(2, ("aster", "birch"))
    checked(writer, PLAIN)
    writer.move("reserve", "birch", 3)
    checked(writer, PLAIN)
    writer.move("reserve", "aster", 3)
    assert broken_at(writer, PLAIN) == len(writer.entries)


@pytest.mark.parametrize(
    ("caps", "limits"),
    [
        (lambda: tightened(PLAIN, 5.0), ()),
        (lambda: tightened(PLAIN, 3.0, epsilon_alone=34.5), ()),
        (lambda: tightened(PLAIN, 3.0, delta=1e-4), ()),
        (lambda: None, ()),
        (lambda: tightened(PLAIN, 3.0), (RowLimit(row="training", count=3),)),
        (lambda: tightened(PLAIN, 3.0), (RowLimit(row="unknown", count=0),)),
    ],
)
def test_a_cap_that_is_loosened_without_a_charter_is_named(
    caps: Callable[[], Caps | None], limits: tuple[RowLimit, ...]
) -> None:
    writer = ChainWriter()
    act(writer, "tighten", tightened(PLAIN, 4.0), (RowLimit(row="training", count=2),))
    checked(writer, PLAIN)
    act(writer, "tighten", caps(), limits)
    assert broken_at(writer, PLAIN) == 2


def test_under_a_filter_a_tightened_cap_lowers_the_bound() -> None:
    """The filter refuses the first reservation that the tighter caps do not cover, in a chain that was fine."""
    loose = FILTERED.filter_for("aster")
    tight = FILTERED.filter_for("aster", tightened(FILTERED, 6.0))
    assert loose is not None
    assert tight is not None
    room = tight.room_for((), EVENT)
    assert 1 < room < loose.room_for((), EVENT)
    writer = ChainWriter()
    writer.attempt(1, ("aster",))
    act(writer, "tighten", tightened(FILTERED, 6.0))
    for number in range(2, room + 1):
        writer.attempt(number, ("aster",))
    checked(writer, FILTERED)
    writer.move("reserve", "aster", room + 1)
    assert broken_at(writer, FILTERED) == len(writer.entries)


def test_under_a_filter_a_cap_that_its_order_cannot_keep_is_named() -> None:
    writer = ChainWriter()
    act(writer, "tighten", tightened(FILTERED, 0.5))
    assert broken_at(writer, FILTERED) == 1


def test_a_table_that_recovered_charges_passed_has_no_room_left() -> None:
    """Also in rows that the recovered events do not fit: the counts no longer add up to what fits the caps."""
    weak = EVENT.model_copy(update={"noise_multiplier": EVENT.noise_multiplier / 2})
    two = charter(table=(TABLE[0].model_copy(update={"count": 1}), TableRow(name="weak", event=weak, count=5)))
    writer = ChainWriter()
    writer.move("reserve", "aster", 1, "weak", weak)
    writer.move("recovered", "aster", 2)
    writer.move("reserve", "aster", 3, "weak", weak)
    checked(writer, two)
    writer.move("recovered", "aster", 4)
    writer.move("charge", "aster", 3, "weak", weak)
    checked(writer, two)
    writer.move("reserve", "aster", 5, "weak", weak)
    assert broken_at(writer, two) == len(writer.entries)


@pytest.mark.parametrize("kind", ["charge", "lapse", "recovered"])
def test_one_plan_is_of_one_charter(kind: EntryKind) -> None:
    writer = ChainWriter()
    writer.move("reserve", "aster", 1)
    writer.charter = "ab" * 32
    writer.move("reserve", "aster", 2)  # so that the row's totals would add up
    with pytest.raises(LedgerBroken, match="one charter"):
        writer.move(kind, "aster", 1)
