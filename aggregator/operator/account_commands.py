"""`chorale-server account`: people who sign in to the console, made and ended by the operator.

The first account is made here like every other: nobody registers, and the service comes with no account.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from aggregator.operator import answers, screens
from aggregator.operator.asking import confirm, show
from aggregator.operator.names import check_account
from aggregator.operator.options import HERE, Json, OperatorPath, Yes, operator_session

app = typer.Typer(no_args_is_help=True, help="Accounts of the console.")


class Role(StrEnum):
    officer = "officer"
    operator = "operator"
    auditor = "auditor"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="By which the person signs in: small letters, digits, . _ @ + -")],
    role: Annotated[Role, typer.Option(help="What the person may do; an auditor reads.")],
    scope: Annotated[str, typer.Option(help="`consortium`, or the id of one partner.")],
    email: Annotated[
        str | None, typer.Option(help="As the identity provider verified it; the account then has no password.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="The provider's identifier (sub), instead of an email.")
    ] = None,
    operator: OperatorPath = HERE,
    as_json: Json = False,
) -> None:
    """Make an account, and a one-time link by which its holder sets password and second factor."""
    check_account(name)
    wanted = {"name": name, "role": role.value, "scope": scope, "email": email, "subject": subject}
    with operator_session(operator) as session:
        session.check_scope(scope)
        _show_opened(session.client.create_account(wanted), as_json)


@app.command("list")
def list_accounts(operator: OperatorPath = HERE, as_json: Json = False) -> None:
    """Every account: role, scope, whether it is in use, and how its holder signs in."""
    with operator_session(operator) as session:
        accounts = session.client.accounts()
    if as_json:
        show({"accounts": [account.model_dump() for account in accounts]}, as_json)
        return
    screens.screen.print(screens.accounts_screen(accounts))


@app.command()
def reset(name: str, operator: OperatorPath = HERE, yes: Yes = False, as_json: Json = False) -> None:
    """Take password and second factor away, end all sessions, enable; and make a new one-time link."""
    confirm(None, f"Reset {name}, and end all of its sessions?", yes)
    with operator_session(operator) as session:
        _show_opened(session.client.reset_account(name), as_json)


@app.command()
def disable(name: str, operator: OperatorPath = HERE, yes: Yes = False, as_json: Json = False) -> None:
    """End an account's sessions, and let it sign in no more."""
    confirm(None, f"Disable {name}, and end all of its sessions?", yes)
    with operator_session(operator) as session:
        account = session.client.disable_account(name)
    show({"name": account.name, "state": account.state}, as_json)


def officer_link(
    officer: str,
    scope: Annotated[str, typer.Option(help="`consortium`, or the id of one partner.")],
    operator: OperatorPath = HERE,
    as_json: Json = False,
) -> None:
    """Print a one-time link by which OFFICER visits the console without an account, to read."""
    with operator_session(operator) as session:
        session.check_scope(scope)
        link = session.client.officer_link(officer, scope)
    if as_json:
        show({"officer": officer, "scope": scope, "url": link.url, "expires": link.expires}, as_json)
    else:
        typer.echo(link.url)


def _show_opened(opened: answers.AccountOpened, as_json: bool) -> None:
    account = opened.account
    shown: dict[str, Any] = {"name": account.name, "role": account.role, "scope": account.scope}
    if opened.link is not None:
        shown |= {"url": opened.link.url, "expires": opened.link.expires}
    if not as_json and opened.link is not None:
        shown["expires"] = screens.moment(opened.link.expires)
    show(shown, as_json)
