"""`chorale-server report`: the service's report, signed; `report verify`: anyone's, offline (docs/reports.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aggregator.operator.asking import passphrase_prompt, show
from aggregator.operator.durable import write_pieces
from aggregator.operator.folder import KEY_FILE, open_operator_folder, read_passphrase
from aggregator.operator.options import (
    HERE,
    OPERATOR_VARIABLE,
    PASSPHRASE_QUESTION,
    Json,
    OperatorPath,
    operator_session,
)
from privacy.errors import BadSignature
from privacy.ledger.export import read_file
from privacy.protocol.identifiers import SERVER
from privacy.report.catalogue import DEFAULT_LANGUAGE
from privacy.report.recompute import described
from privacy.report.signature import SUFFIX, UNKNOWN_STATUS, Known, format_of, verify_report
from privacy.typed_paths import beside, reading, writing

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
    known = Known("the operator's own key", charters=frozenset([charter.digest]))
    found = verify_report(raw, signature, known)
    if found.signer != SERVER or found.statement.participant != (participant or None):
        raise BadSignature("the service's report on what was asked for", "another", "ask again; trust none of it")
    with writing(file):
        write_pieces(file, [raw])
        write_pieces(beside(file, SUFFIX), [signature])
    show({"file": str(file), **found.described()}, as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A report that either side made.")],
    signature: Annotated[Path | None, typer.Option(help=f"Its signature; FILE{SUFFIX} unless told.")] = None,
    charter: Annotated[str | None, typer.Option(help="Hash of the charter that it must be under.")] = None,
    operator: Annotated[
        Path | None,
        typer.Option("--operator", envvar=OPERATOR_VARIABLE, help=f"The operator's folder; ./{HERE} if there."),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="An exported ledger: compute a JSON report anew.")] = None,
    as_json: Json = False,
) -> None:
    """Say whose word a report is; fail if a byte was changed or, with --ledger, a figure is not the ledger's.

    Its charter must be --charter, or signed by the operator whose folder this is. Where neither is known, status 3.
    """
    known = _known(charter, operator)
    show(_checked(file, signature or beside(file, SUFFIX), known, ledger), as_json)
    if known is None:
        raise typer.Exit(UNKNOWN_STATUS)


def _known(charter: str | None, operator: Path | None) -> Known | None:
    """What there is to hold a report's charter to: a hash, or the operator's own key."""
    if charter is not None:
        return Known.charter(charter)
    if operator is None and not (HERE / KEY_FILE).exists():
        return None
    folder = open_operator_folder(operator or HERE)
    key = folder.load_key(read_passphrase(passphrase_prompt(PASSPHRASE_QUESTION, twice=False)))
    return Known("the operator's own key", operator_keys=key.public)


def _checked(file: Path, signature: Path, known: Known | None, ledger: Path | None) -> dict[str, Any]:
    with reading(file):
        raw, signed = file.read_bytes(), signature.read_bytes()
        if ledger is None:
            return described(raw, signed, known, None)
        with ledger.open("rb") as stream:
            return described(raw, signed, known, read_file(stream))
