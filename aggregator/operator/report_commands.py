"""`chorale-server report`: the service's report, signed; `report verify`: anyone's, offline (docs/reports.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aggregator.operator.asking import show
from aggregator.operator.durable import write_pieces
from aggregator.operator.options import HERE, Json, OperatorPath, operator_session
from privacy.errors import BadSignature, ConfigurationError
from privacy.ledger.export import read_file
from privacy.protocol.identifiers import SERVER
from privacy.report.catalogue import DEFAULT_LANGUAGE
from privacy.report.recompute import described
from privacy.report.signature import SUFFIX, format_of, verify_report

app = typer.Typer(help="Report on privacy budgets, and check such a report.")


@app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    file: Annotated[Path, typer.Option("--out", help="Where to write it.")] = Path("report.pdf"),
    form: Annotated[
        str | None, typer.Option("--format", help="pdf, html, csv or json; else as the name ends.")
    ] = None,
    participant: Annotated[str, typer.Option(help="One partner's id; the whole consortium unless told.")] = "",
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD in UTC.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last day.")] = "",
    language: Annotated[str, typer.Option(help="en or ko.")] = DEFAULT_LANGUAGE,
    operator: OperatorPath = HERE,
    as_json: Json = False,
) -> None:
    """Fetch a report that the service makes and signs; check its signature; write both."""
    if context.invoked_subcommand is not None:
        return
    wanted = format_of(form or file.suffix.removeprefix("."))
    with operator_session(operator) as session:
        charter = session.charter_in_force()
        signature, raw = session.client.report(wanted, language, participant, first, last)
    found = verify_report(raw, signature, charter.digest)
    if found.signer != SERVER or found.statement.participant != (participant or None):
        raise BadSignature("the service's report on what was asked for", "another", "ask again; trust none of it")
    write_pieces(file, [raw])
    write_pieces(file.with_name(file.name + SUFFIX), [signature])
    show({"file": str(file), **found.described()}, as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A report that either side made.")],
    signature: Annotated[Path | None, typer.Option(help=f"Its signature; FILE{SUFFIX} unless told.")] = None,
    charter: Annotated[str | None, typer.Option(help="Hash of the charter that it must be under.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="An exported ledger: compute a JSON report anew.")] = None,
    as_json: Json = False,
) -> None:
    """Say whose word a report is; fail if a byte was changed or, with --ledger, a figure is not the ledger's."""
    show(_checked(file, signature or file.with_name(file.name + SUFFIX), charter, ledger), as_json)


def _checked(file: Path, signature: Path, charter: str | None, ledger: Path | None) -> dict[str, Any]:
    try:
        raw, beside = file.read_bytes(), signature.read_bytes()
        if ledger is None:
            return described(raw, beside, charter, None)
        with ledger.open("rb") as stream:
            return described(raw, beside, charter, read_file(stream))
    except OSError as error:
        raise ConfigurationError(f"a file at {error.filename}", str(error.strerror), "check its name") from None
