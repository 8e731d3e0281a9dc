"""A person at a terminal: passphrase prompt, progress bars, and errors that say what to do.

Where standard error is no terminal, nothing is drawn: notices go to it as plain lines. No private number appears,
and nothing that others wrote moves the cursor.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from client_sdk import progress
from privacy.errors import ChoraleError, LedgerBroken
from privacy.protocol.printable import visible


def passphrase_prompt() -> Callable[[], str] | None:
    """Asks on the terminal; None where nobody is there to be asked."""
    if not sys.stdin.isatty():
        return None
    return lambda: getpass.getpass("Passphrase of this partner's keystore: ")


def terminal_progress() -> progress.Progress:
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console)


def show_error(error: ChoraleError, console: Console | None = None) -> None:
    """What was expected, what came, what to do."""
    to = console or Console(stderr=True)
    to.print(f"[bold red]{error.code}[/]", highlight=False)
    if isinstance(error, LedgerBroken):
        to.print(f"  {'line':<9}{error.line}", highlight=False)
    for label, text in (("expected", error.expected), ("came", error.came), ("to do", error.remedy)):
        to.print(f"  {label:<9}", end="", style="bold", highlight=False)
        to.print(visible(text), markup=False, highlight=False, soft_wrap=True)


class Lines(progress.Silent):
    """Notices as plain lines, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def notice(self, text: str) -> None:
        self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)


class Bars:
    """One bar for each transfer that is under way, and the phase in front of it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._phase = ""

    def phase(self, name: str, detail: str = "") -> None:
        text = f"{name} {detail}".strip()
        if text != self._phase:
            self._phase = text
            self._console.print(f"[dim]{text}[/]", highlight=False)

    def transfer(self, name: str, done: int, total: int) -> None:
        if self._bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=self._console, transient=True)
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(name))
        if not self._tasks:
            self._bars.stop()
            self._bars = None

    def notice(self, text: str) -> None:
        self._console.print(visible(text), style="yellow", markup=False, highlight=False, soft_wrap=True)
