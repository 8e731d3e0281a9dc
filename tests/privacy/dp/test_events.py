"""Events: which numbers a kind allows, which event a row covers, and what noise each guarantee reads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from privacy.dp.events import Guarantee, PrivacyEvent, TableRow
from privacy.errors import UnsafeParameters


def event(kind: str = "distributed", z: float = 1.0, gamma: float = 0.1, steps: int = 1) -> PrivacyEvent:
    return PrivacyEvent(kind=kind, noise_multiplier=z, sampling_rate=gamma, steps=steps)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "distributed", "z": 0.0},
        {"kind": "distributed", "steps": 2},
        {"kind": "statistics", "gamma": 0.5},
        {"kind": "statistics", "gamma": 1.0, "steps": 2},
        {"kind": "none", "z": 1.0},
        {"kind": "local", "z": 0.0},
        {"kind": "local", "steps": 0},
        {"z": math.nan},
        {"z": math.inf},
        {"z": -1.0},
        {"gamma": 0.0},
        {"gamma": 1.0000001},
        {"gamma": math.nan},
        {"kind": "other"},
    ],
)
def test_numbers_that_do_not_belong_to_the_kind_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        event(**fields)  # type: ignore[arg-type]


def test_an_event_survives_its_json_form() -> None:
    original = event("local", 0.7, 1.0, 5)
    assert PrivacyEvent.model_validate_json(original.model_dump_json()) == original
    with pytest.raises(ValidationError):
        PrivacyEvent.model_validate({**original.model_dump(), "note": "x"})
    with pytest.raises(ValidationError):
        TableRow(name="", event=original, count=1)


numbers = st.builds(
    event,
    st.just("local"),
    st.floats(0.1, 10, allow_nan=False),
    st.floats(0.001, 1, allow_nan=False),
    st.integers(1, 50),
)


@given(numbers, numbers, numbers)
def test_covering_is_a_partial_order(a: PrivacyEvent, b: PrivacyEvent, c: PrivacyEvent) -> None:
    assert a.fits_row(a)
    if a.fits_row(b) and b.fits_row(a):
        assert a == b
    if a.fits_row(b) and b.fits_row(c):
        assert a.fits_row(c)


def test_a_row_covers_only_what_costs_no_more() -> None:
    row = event("local", 1.0, 0.1, 3)
    assert event("local", 1.5, 0.05, 2).fits_row(row)
    assert not event("local", 0.99, 0.1, 3).fits_row(row)
    assert not event("local", 1.0, 0.11, 3).fits_row(row)
    assert not event("local", 1.0, 0.1, 4).fits_row(row)
    assert not event("distributed", 2.0, 0.1).fits_row(row)


def test_alone_reads_one_share_of_the_noise() -> None:
    assert event(z=2.0).noise_multiplier_for(Guarantee.ALONE, 4) == 1.0
    assert event(z=2.0).noise_multiplier_for(Guarantee.IN_SUM, 4) == 2.0
    assert event("statistics", 2.0, 1.0).noise_multiplier_for(Guarantee.ALONE, 4) == 1.0
    assert event("local", 2.0).noise_multiplier_for(Guarantee.ALONE, 4) == 2.0
    with pytest.raises(UnsafeParameters):
        event().noise_multiplier_for(Guarantee.ALONE, 0)
