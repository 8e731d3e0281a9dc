"""What the operator's commands have in common: where the operator's folder is, and how to work with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from aggregator.operator import session as sessions
from aggregator.operator.asking import passphrase_prompt

SUBFOLDER = "operator"
HERE = Path(SUBFOLDER)
OPERATOR_VARIABLE = "CHORALE_OPERATOR_FOLDER"
PASSPHRASE_QUESTION = "Passphrase of the operator's key"  # noqa: S105 - words for a person

OperatorPath = Annotated[Path, typer.Option("--operator", envvar=OPERATOR_VARIABLE, help="The operator's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def operator_session(operator: Path) -> AbstractContextManager[sessions.OperatorSession]:
    return sessions.open_session(operator, passphrase_prompt(PASSPHRASE_QUESTION, twice=False))
