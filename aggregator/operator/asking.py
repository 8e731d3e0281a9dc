"""Asking a person, and printing values for a person or a script."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import typer
from rich.console import RenderableType

from aggregator.operator import screens
from privacy.errors import ConfigurationError


def at_a_terminal() -> bool:
    return sys.stdin.isatty()


def passphrase_prompt(prompt: str, twice: bool) -> Callable[[], str] | None:
    """What asks for a passphrase on the terminal; None where there is no terminal."""
    if not at_a_terminal():
        return None

    def ask() -> str:
        answer: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
        return answer

    return ask


def confirm(shown: RenderableType | None, question: str, yes: bool) -> None:
    """Show it, and go on only by a person's yes. Raises ConfigurationError where nobody can be asked."""
    if yes:
        return
    if shown is not None:
        screens.errors.print(shown, soft_wrap=True)
    if not at_a_terminal():
        raise ConfigurationError("a person who says yes", "no terminal", "read it, then run again with --yes")
    typer.confirm(question, abort=True, err=True)


def show(values: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        screens.screen.print(screens.facts([(name, str(value)) for name, value in values.items()]))


def print_line(line: str) -> None:
    """One line of JSON Lines, at once."""
    print(line, flush=True)
