"""How numbers are written for people."""

from __future__ import annotations

import pytest

from privacy.report.shown import percent


@pytest.mark.parametrize(
    ("chance", "written"),
    [
        (0.0, "0"),
        (0.001, "0.1"),
        (0.00112, "0.12"),
        (0.0101, "1.1"),
        (0.0999, "10"),
        (0.5, "50"),
        (0.5001, "51"),
        (1.0, "100"),
    ],
)
def test_a_chance_is_rounded_up_to_two_digits(chance: float, written: str) -> None:
    assert percent(chance) == written


def test_no_chance_is_written_smaller_than_it_is() -> None:
    for step in range(1, 2000):
        chance = step / 2000
        assert chance * 100 <= float(percent(chance)) + 1e-9
