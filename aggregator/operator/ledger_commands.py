"""`chorale-server ledger`: the consortium's chain as a file, and whether such a file is true (docs/ledger.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aggregator.operator.asking import show
from aggregator.operator.durable import write_pieces
from aggregator.operator.options import HERE, Json, OperatorPath, operator_session
from privacy.ledger.export import read_file, with_entries
from privacy.ledger.verification import verify_export
from privacy.ledger.verified_export import VerifiedExport
from privacy.typed_paths import reading, writing

app = typer.Typer(no_args_is_help=True, help="The ledger as a file that verifies without the service.")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write it: JSON Lines.")],
    operator: OperatorPath = HERE,
    as_json: Json = False,
) -> None:
    """Write the ledger with charters, checkpoint and countersignatures, and verify what was written."""
    with operator_session(operator) as session, writing(file):
        write_pieces(file, with_entries(session.client.ledger_preamble(), session.client.ledger))
    _show(_verified(file, None), as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A file that either side's `ledger export` wrote.")],
    charter: Annotated[str | None, typer.Option(help="Hash that its newest charter must have.")] = None,
    as_json: Json = False,
) -> None:
    """Verify an exported ledger with nothing but the file; name the line that is wrong."""
    _show(_verified(file, charter), as_json)


def _verified(file: Path, charter: str | None) -> VerifiedExport:
    with reading(file), file.open("rb") as stream:
        return verify_export(read_file(stream), charter)


def _show(found: VerifiedExport, as_json: bool) -> None:
    show(found.described() if as_json else found.told(), as_json)
