"""What `conduct` shows while it works: a bar on a terminal, a line a round elsewhere, or JSON Lines for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from aggregator.operator.answers import RoundDocument
from privacy.clock import Clock
from privacy.protocol.messages import Plan
from privacy.protocol.printable import visible
from privacy.protocol.round_state import RoundState

# Weight of the newest round in the running mean that the remaining time is reckoned from.
_NEWEST = 0.2


class ConductDisplay:
    """A Watcher. roster: how many partners there are; last_round: where the bar ends."""

    def __init__(
        self,
        last_round: int,
        roster: int,
        clock: Clock,
        console: Console,
        *,
        json_lines: Callable[[str], None] | None = None,
    ) -> None:
        self._last_round = last_round
        self._roster = roster
        self._clock = clock
        self._console = console
        self._json_lines = json_lines
        self._began: float | None = None
        self._mean: float | None = None
        self._sums = 0
        self._progress = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[phase]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[remaining]}"),
            console=console,
            disable=json_lines is not None or not console.is_terminal,
        )
        self._task = self._progress.add_task("rounds", total=last_round, phase="starting", remaining="")

    def __enter__(self) -> ConductDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def proposed(self, plan: Plan) -> None:
        self._began = self._clock.now()
        again = "" if plan.attempt == 1 else f", attempt {plan.attempt}"
        self._progress.update(self._task, completed=self._before(plan), phase=f"planned{again}")

    def changed(self, document: RoundDocument) -> None:
        before = self._before(document.plan.body)
        self._progress.update(self._task, completed=before, phase=phase(document, self._roster))

    def ended(self, document: RoundDocument) -> None:
        seconds = None if self._began is None else self._clock.now() - self._began
        self._began = None
        if document.state is RoundState.CONFIRMED:
            if seconds is not None:
                self._mean = seconds if self._mean is None else self._mean + _NEWEST * (seconds - self._mean)
            done = self._before(document.plan.body) + 1
            self._sums += document.plan.body.kind == "statistics"
            self._progress.update(self._task, completed=done, phase="confirmed", remaining=self._remaining(done))
        self._tell(document, seconds)

    def notice(self, text: str) -> None:
        self._console.print(Text(visible(text), style="yellow"))

    def _before(self, plan: Plan) -> int:
        """Rounds done before this one; of statistics rounds, which have no numbers of their own, those seen."""
        return self._sums if plan.kind == "statistics" else plan.round - 1

    def _remaining(self, number: int) -> str:
        if self._mean is None:
            return ""
        left = round(self._mean * (self._last_round - number))
        return f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left, {self._mean:.1f} s a round"

    def _tell(self, document: RoundDocument, seconds: float | None) -> None:
        if self._json_lines is not None:
            line = {
                "round": document.number,
                "kind": document.plan.body.kind,
                "attempt": document.attempt,
                "digest": document.round,
                "state": document.state.value,
                "seconds": seconds,
                "seconds_by_state": document.seconds,
                "contributors": 0 if document.seal is None else len(document.seal.body.contributors),
            }
            self._json_lines(json.dumps(line))
        elif document.state is not RoundState.CONFIRMED:
            why = "" if document.close is None else f": {document.close.body.reason}"
            self.notice(f"round {document.number}, attempt {document.attempt} is {document.state}{why}")
        elif not self._console.is_terminal:
            took = "" if seconds is None else f" in {seconds:.1f} s"
            if document.plan.body.kind == "statistics":
                self._console.print(f"statistics before round {document.number} confirmed{took}")
            else:
                left = self._remaining(document.number)
                self._console.print(f"round {document.number}/{self._last_round} confirmed{took} {left}")


def phase(document: RoundDocument, roster: int) -> str:
    """Where an attempt stands, in words."""
    cohort = len(document.joined)
    match document.state:
        case RoundState.JOINING:
            return f"joined {cohort} of {roster}"
        case RoundState.UPLOADING:
            return f"uploaded {len(document.uploaded)} of {cohort}"
        case RoundState.SUMMING:
            return f"adding {len(document.uploaded)} uploads"
        case RoundState.OPENING:
            return f"opened {len(document.openings)}, confirmed {len(document.confirmations)} of {cohort}"
        case _:
            return document.state.value
