"""`chorale-partner`: everything a partner does from a terminal.

An error of the project ends the command with status 1 and says what was expected, what came and what to do; a wrong
command line ends it with 2. Commands that need torch load it themselves: the others start at once.
"""

from __future__ import annotations

import typer

from client_sdk.commands.audits import audit_app
from client_sdk.commands.budgets import budget_app
from client_sdk.commands.charters import charter_app, enrol
from client_sdk.commands.ledgers import ledger_app, recovery
from client_sdk.commands.reports import report_app
from client_sdk.commands.running import campaign_app, export, run, status
from client_sdk.terminal import show_error
from privacy.errors import ChoraleError

app = typer.Typer(
    name="chorale-partner",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A partner of a Chorale consortium: train one model together, without showing anyone your data.",
)
app.command()(enrol)
app.add_typer(charter_app, name="charter")
app.add_typer(campaign_app, name="campaign")
app.command(context_settings={"allow_interspersed_args": False})(run)
app.command()(status)
app.add_typer(budget_app, name="budget")
app.add_typer(ledger_app, name="ledger")
app.command()(recovery)
app.add_typer(audit_app, name="audit")
app.add_typer(report_app, name="report")
app.command()(export)


def main() -> None:
    try:
        app()
    except ChoraleError as error:
        show_error(error)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
