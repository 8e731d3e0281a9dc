"""A gate of the demo fails where it should: no round may be missing, unconfirmed or marked."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.demo.results import unblemished


def line(number: int, **other: Any) -> dict[str, Any]:
    return {"round": number, "ended": "confirmed", "accused": {}, "alarms": [], **other}


def test_every_round_confirmed_and_nobody_accused_passes() -> None:
    assert unblemished([line(1), line(2)], 2)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [line(1)],
        [line(1), line(1)],
        [line(1), line(3)],
        [line(1), line(2), line(3)],
        [line(1), line(2, ended="void")],
        [line(1), line(2, accused={"birch": "two uploads"})],
        [line(1, alarms=["a fingerprint differs"]), line(2)],
    ],
    ids=["none", "one-missing", "twice", "gap", "too-many", "void", "accused", "alarm"],
)
def test_whatever_else_fails(lines: list[dict[str, Any]]) -> None:
    assert not unblemished(lines, 2)
