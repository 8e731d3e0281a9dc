"""Which tables keep to a participant's caps, and which are refused."""

from __future__ import annotations

import pytest

from privacy.dp.caps import Caps, check_table
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import UnsafeParameters

TRAINING = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.05)


def test_a_table_of_endless_steps_is_refused_before_it_is_accounted() -> None:
    """A million times a million steps of little noise: hours of convolutions, where nothing bounds them."""
    endless = PrivacyEvent(kind="local", noise_multiplier=0.3, sampling_rate=0.9, steps=1_000_000)
    table = (TableRow(name="endless", event=endless, count=1_000_000),)
    with pytest.raises(UnsafeParameters, match="sampled Gaussians in all"):
        check_table(table, Caps(epsilon_alone=1e9, epsilon_in_sum=1e9, delta=1e-5), 4)


def test_a_table_must_fit_both_caps() -> None:
    table = (TableRow(name="t", event=TRAINING, count=100),)
    check_table(table, Caps(epsilon_alone=20.0, epsilon_in_sum=8.0, delta=1e-5), 4)
    with pytest.raises(UnsafeParameters, match="in_sum"):
        check_table(table, Caps(epsilon_alone=20.0, epsilon_in_sum=1.0, delta=1e-5), 4)
    with pytest.raises(UnsafeParameters, match="alone"):
        check_table(table, Caps(epsilon_alone=4.0, epsilon_in_sum=4.0, delta=1e-5), 4)
    with pytest.raises(UnsafeParameters, match="twice"):
        check_table(table * 2, Caps(epsilon_alone=100.0, epsilon_in_sum=100.0, delta=1e-5), 4)


def test_rows_together_cost_more_than_each() -> None:
    rows = tuple(TableRow(name=name, event=TRAINING, count=100) for name in "ab")
    caps = Caps(epsilon_alone=100.0, epsilon_in_sum=4.0, delta=1e-5)
    check_table(rows[:1], caps, 4)
    with pytest.raises(UnsafeParameters):
        check_table(rows, caps, 4)
