"""`report`: this partner's own ledger for people, signed with its key; `report verify`: anyone's, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk.commands.budgets import own_report
from client_sdk.commands.options import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    AsJson,
    Config,
    open_to_read,
    out,
    print_json,
)
from client_sdk.durable import write_durably
from client_sdk.partner import accepted_charters
from privacy.ledger.export import read_file
from privacy.protocol.messages import CharterAcceptance
from privacy.report.catalogue import DEFAULT_LANGUAGE
from privacy.report.period import period_of
from privacy.report.recompute import described
from privacy.report.render import rendered
from privacy.report.signature import SUFFIX, UNKNOWN_STATUS, Known, format_of, sign_report
from privacy.typed_paths import beside, reading, writing

report_app = typer.Typer(help="Report on the privacy budget, and check such a report.")


@report_app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    config: Config = Path(DEFAULT_CONFIG),
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", help="Where to write it: report.pdf unless told. Several times: one report, in each form."
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="pdf, html, csv or json; else as each name ends.")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD in UTC.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    language: Annotated[str, typer.Option(help="en or ko.")] = DEFAULT_LANGUAGE,
) -> None:
    """Write the privacy report of this partner's own ledger, and its signature beside it."""
    if context.invoked_subcommand is not None:
        return
    files = files or [Path("report.pdf")]
    forms = [format_of(form or file.suffix.removeprefix(".")) for file in files]
    with open_to_read(config) as partner:
        made = own_report(partner, period_of(first, last, partner.now()))
        charter = partner.charters()[-1]
        acceptance = partner.sign(CharterAcceptance(charter=charter.digest, partner=partner.name))
        for file, wanted in zip(files, forms, strict=True):
            raw = rendered(made, wanted, language)
            signature = sign_report(made, wanted, raw, charter, [acceptance], partner.name, partner.keys.signing)
            with writing(file):
                write_durably(file, raw)
                write_durably(beside(file, SUFFIX), signature.canonical_bytes)
            out().print(f"{file} and {beside(file, SUFFIX)}", markup=False)


@report_app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A report that either side made.")],
    signature: Annotated[Path | None, typer.Option(help=f"Its signature; FILE{SUFFIX} unless told.")] = None,
    charter: Annotated[str | None, typer.Option(help="Hash of the charter that it must be under.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar=CONFIG_VARIABLE, help=f"Settings of this partner; {DEFAULT_CONFIG} if there."
        ),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="An exported ledger: compute a JSON report anew.")] = None,
    json: AsJson = False,
) -> None:
    """Say whose word a report is; fail if a byte was changed or, with --ledger, a figure is not the ledger's.

    Its charter must be --charter, or one that this partner accepted. Where neither is known, status 3.
    """
    known = _known(charter, config)
    said = _checked(file, signature or beside(file, SUFFIX), known, ledger)
    if json:
        print_json(said)
    else:
        for name, value in said.items():
            out().print(f"{name:<14} {value}", markup=False)
    if known is None:
        raise typer.Exit(UNKNOWN_STATUS)


def _known(charter: str | None, config: Path | None) -> Known | None:
    """What there is to hold a report's charter to: a hash, or the charters that this partner accepted."""
    if charter is not None:
        return Known.charter(charter)
    if config is None and not Path(DEFAULT_CONFIG).exists():
        return None
    return accepted_charters(config or Path(DEFAULT_CONFIG))


def _checked(file: Path, signature: Path, known: Known | None, ledger: Path | None) -> dict[str, Any]:
    with reading(file):
        raw, signed = file.read_bytes(), signature.read_bytes()
        if ledger is None:
            return described(raw, signed, known, None)
        with ledger.open("rb") as stream:
            return described(raw, signed, known, read_file(stream))
