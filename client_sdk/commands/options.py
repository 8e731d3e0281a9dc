"""What the commands have in common: where the settings are, and how an answer is printed.

Answers go to standard output, progress and errors to standard error: `--json` can be piped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from client_sdk.partner import Outside, Partner
from client_sdk.terminal import passphrase_prompt, terminal_progress

CONFIG_VARIABLE = "CHORALE_PARTNER_CONFIG"
DEFAULT_CONFIG = "partner.toml"

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="Settings of this partner.", show_default=True),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the others.")]


def outside() -> Outside:
    return Outside.system(terminal_progress())


def open_partner(config: Path) -> Partner:
    return Partner.open(config, outside(), passphrase_prompt())


def open_to_read(config: Path) -> Partner:
    """For commands that only read: also while a run is under way in the same folder, which they do not disturb."""
    return Partner.open_to_read(config, outside(), passphrase_prompt())


def out() -> Console:
    return Console(highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
