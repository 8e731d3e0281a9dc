"""How a partner waits for an attempt's next state: without a pause for what is there, never in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from client_sdk.partner import GATHERING_SECONDS, Partner
from privacy.protocol.round_state import RoundState

UPLOADING, SUMMING, OPENING = RoundState.UPLOADING, RoundState.SUMMING, RoundState.OPENING


def waited(told: list[RoundState], until: RoundState) -> tuple[list[RoundState], int, int]:
    """What was asked past, how often it paused, and how often a long poll's time was up."""
    asked: list[RoundState] = []
    pauses: list[float] = []
    idle: list[None] = []
    answers: Iterator[RoundState] = iter(told)

    def round_past(round_digest: str, state: RoundState) -> Any:
        asked.append(state)
        return SimpleNamespace(state=next(answers))

    around = SimpleNamespace(
        service=SimpleNamespace(round_past=round_past), outside=SimpleNamespace(sleep=pauses.append)
    )
    shown = Partner.wait_until(
        around,  # type: ignore[arg-type]
        "00" * 32,
        UPLOADING,
        lambda shown: shown.state is until,
        meanwhile=lambda: idle.append(None),
    )
    assert shown.state in (until, RoundState.CLOSED)
    assert set(pauses) <= {GATHERING_SECONDS}
    return asked, len(pauses), len(idle)


def test_what_it_waits_for_comes_without_a_pause() -> None:
    assert waited([OPENING], OPENING) == ([UPLOADING], 0, 0)


def test_a_state_on_the_way_is_waited_past_in_turn() -> None:
    assert waited([SUMMING, OPENING], OPENING) == ([UPLOADING, SUMMING], 1, 0)


def test_a_long_poll_without_news_leaves_time_for_others() -> None:
    assert waited([UPLOADING, UPLOADING, OPENING], OPENING) == ([UPLOADING] * 3, 2, 2)


@pytest.mark.parametrize("lie", [[UPLOADING] * 40, [SUMMING, UPLOADING] * 20, [SUMMING, RoundState.JOINING] * 20])
def test_a_service_that_answers_at_once_is_not_asked_without_pause(lie: list[RoundState]) -> None:
    """It tells one state for ever, or flips between two that are never what is waited for."""
    asked, pauses, _ = waited([*lie, RoundState.CLOSED], OPENING)
    assert pauses == len(asked) - 1 == len(lie)
