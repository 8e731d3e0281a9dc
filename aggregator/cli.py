"""`chorale-server`: makes a service, runs it, and does the operator's work on it.

Rules:
1. Only `init`, `serve`, `backup`, `restore` and `recover` touch the service's folder; every other command speaks
   HTTP, signed with the operator key, which the service's process never sees.
2. What is signed is shown first; `--yes` is for scripts.
3. A refusal is printed on stderr with what was expected, what came and what to do, and ends with status 1.
The decisions are in aggregator/operator; this only asks, calls and prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from aggregator.backup import commands as backup_commands
from aggregator.backup.commands import SERVICE_SUBFOLDER, service_folder
from aggregator.operator import account_commands, ledger_commands, report_commands, screens
from aggregator.operator.asking import confirm, passphrase_prompt, print_line, show
from aggregator.operator.budget_plan import budget_plan
from aggregator.operator.charter_draft import build_charter, costs, order_choice, read_draft
from aggregator.operator.conduct_display import ConductDisplay
from aggregator.operator.conductor import Assignment, Conductor
from aggregator.operator.folder import KEY_FILE, create_operator_key, read_passphrase, write_settings
from aggregator.operator.names import check_partners, service_address
from aggregator.operator.options import HERE, SUBFOLDER, Json, OperatorPath, Yes, operator_session
from aggregator.operator.overview import overview
from aggregator.operator.plan_record import PlanRecord
from aggregator.operator.planning import Phases, PublicScale, table_row, vector_layout
from aggregator.operator.trusted import (
    approved_enrolments,
    enrolment_of,
    pinned_server_keys,
    signed_charter,
)
from privacy.errors import ChoraleError, ConfigurationError
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort
from privacy.protocol.plan_checks import check_charter
from privacy.protocol.signing import sign, verify
from privacy.protocol.words import words
from privacy.randomness import SystemRandom

INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
charter_app = typer.Typer(no_args_is_help=True, help="Charters.")
round_app = typer.Typer(no_args_is_help=True, help="Round attempts.")
app.add_typer(charter_app, name="charter")
app.add_typer(round_app, name="round")
app.add_typer(account_commands.app, name="account")
app.add_typer(report_commands.app, name="report")
app.command("budget-plan")(budget_plan)


@app.command()
def init(
    folder: Path,
    host: Annotated[str, typer.Option(help="Where the service listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8470,
    public_url: Annotated[str, typer.Option(help="Its address as others reach it.")] = "",
    shard_bytes: Annotated[int | None, typer.Option(help="Bytes a shard; 8 MiB unless told.")] = None,
    as_json: Json = False,
) -> None:
    """Make FOLDER/service, which the service runs from, and FOLDER/operator, which holds the operator's key."""
    from aggregator.storage.folder import SERVER_KEY_FILE, create_server_folder

    url = service_address(host, port, public_url)
    service, operator = folder / SERVICE_SUBFOLDER, folder / SUBFOLDER
    for key_file in (service / SERVER_KEY_FILE, operator / KEY_FILE):
        if key_file.exists():
            raise ConfigurationError(
                "a folder without keys", str(key_file), "use it as it is, or name another folder"
            )
    passphrase = read_passphrase(passphrase_prompt("Passphrase for the operator's key", twice=True))
    source = SystemRandom()
    operator_keys = create_operator_key(operator, passphrase, source)
    server_keys = create_server_folder(
        service, operator_keys, source, host=host, port=port, public_url=public_url, shard_bytes=shard_bytes
    )
    write_settings(operator, url, server_keys)
    made = {"service": str(service), "operator": str(operator), "url": url}
    show(made, as_json)
    if not as_json:
        screens.screen.print(f"serve it: chorale-server serve {service}")


@app.command()
def serve(folder: Annotated[Path, typer.Argument()] = Path(SERVICE_SUBFOLDER)) -> None:
    """Run the service of FOLDER (or of FOLDER/service) until it is told to stop."""
    from aggregator.app import serve as run
    from aggregator.settings import Settings

    run(Settings.load(service_folder(folder)))


@app.command()
def invite(
    partners: Annotated[list[str], typer.Argument(metavar="PARTNER...")],
    days: Annotated[float, typer.Option(min=0.01, max=90, help="How long the invitation holds.")] = 7.0,
    again: Annotated[
        bool, typer.Option("--again", help="PARTNER lost its folder: its former keys end with its answer.")
    ] = False,
    operator: OperatorPath = HERE,
    as_json: Json = False,
) -> None:
    """Make a single-use invitation for each PARTNER; its token is shown once."""
    check_partners(partners)
    with operator_session(operator) as session:
        url = session.folder.settings.url
        made: list[dict[str, Any]] = []
        try:
            for partner in partners:
                one = session.client.invite(partner, int(days * 86400), again)
                made.append({"partner": partner, "token": one.token, "expires": one.expires, "url": url})
        finally:
            # Shown also where a later one fails: no token can be asked for again.
            if as_json and made:
                show(made[0] if len(partners) == len(made) == 1 else {"invitations": made}, as_json)
            for invitation in () if as_json else made:
                screens.screen.print(screens.invitation_screen(invitation))


@app.command()
def approve(partner: str, operator: OperatorPath = HERE, yes: Yes = False, as_json: Json = False) -> None:
    """Approve PARTNER's enrolment, after its words were compared with the partner outside this service."""
    with operator_session(operator) as session:
        enrolment = enrolment_of(session.enrolment(partner))
        confirm(screens.enrolment_screen(enrolment), "Does the partner read the same words?", yes)
        session.folder.remember_approval(partner, enrolment.digest)
        answer = session.client.approve(partner)
    show({"partner": partner, "state": answer.state, "words": words(enrolment.digest)}, as_json)


@charter_app.command("draft")
def charter_draft(file: Path, operator: OperatorPath = HERE, yes: Yes = False, as_json: Json = False) -> None:
    """Draft a charter from FILE (TOML) and the approved enrolments; sign and post it for the partners to accept."""
    draft = read_draft(file)
    with operator_session(operator) as session:
        latest = session.charter_record()
        if latest is not None:
            signed_charter(latest, session.key.public)
        enrolments = approved_enrolments(session.client.enrolments(), session.folder.approvals())
        server_keys = pinned_server_keys(session.client.about(), session.folder.settings.server_keys)
        charter = build_charter(draft, enrolments, latest, session.key.public, server_keys)
        check_charter(charter)
        found = costs(charter)
        chosen = order_choice(charter) if draft.filter_order == "best" else None
        if not as_json:
            screens.screen.print(screens.charter_screen(charter, found, chosen))
        confirm(None, "Sign and post it?", yes)
        session.client.post_charter(sign(charter, OPERATOR, session.key))
    if as_json:
        said = {"filter_order": charter.filter_order, "order_chosen": None if chosen is None else asdict(chosen)}
        table = [asdict(cost) for cost in found]
        show({"charter": charter.digest, "words": words(charter.digest), "costs": table, **said}, as_json)


@app.command()
def conduct(
    campaign: Annotated[str, typer.Argument(help="Its name, or the start of its hash.")],
    rounds: Annotated[
        int,
        typer.Option(min=1, help="Until this many rounds are confirmed; with --canaries, statistics rounds."),
    ],
    row: Annotated[str | None, typer.Option(help="Row of the charter's table; the first unless told.")] = None,
    join_seconds: Annotated[int, typer.Option(min=1)] = 600,
    upload_seconds: Annotated[int, typer.Option(min=1)] = 3600,
    open_seconds: Annotated[int, typer.Option(min=1)] = 3600,
    max_attempts: Annotated[int, typer.Option(min=1, help="Attempts of one round.")] = 3,
    scale: Annotated[float | None, typer.Option(help="Units per 1.0, for rows of kind local and none.")] = None,
    lane_width: Annotated[int, typer.Option(help="Lane bits, for rows of kind local and none.")] = 24,
    canaries: Annotated[
        int | None,
        typer.Option(
            help="Coordinates of a sum of canaries (partners run `audit sum`), for rows of kind statistics."
        ),
    ] = None,
    operator: OperatorPath = HERE,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sign the plans of CAMPAIGN, one round after another; run it again after a crash and it goes on."""
    phases = Phases(join_seconds, upload_seconds, open_seconds)
    public = None if scale is None else PublicScale(scale, lane_width)
    with operator_session(operator) as session, session.folder.conducting():
        charter = session.charter_in_force()
        signed = session.campaign_in_force(
            session.campaign(campaign, charter),
            charter,
            lambda unsigned: confirm(screens.campaign_screen(unsigned), "Countersign this campaign?", yes),
        )
        event_row = table_row(charter, row)
        assignment = Assignment(
            charter=charter,
            campaign=signed,
            row=event_row,
            layout=vector_layout(charter, signed.body, event_row, public, canaries),
            phases=phases,
            last_round=rounds,
            max_attempts=max_attempts,
        )
        display = ConductDisplay(
            rounds, charter.n_max, session.clock, screens.errors, json_lines=print_line if as_json else None
        )
        with display, _stoppable():
            Conductor(
                session.client,
                PlanRecord(session.folder.plans),
                session.key,
                assignment,
                session.folder.conductor_name,
                session.clock,
                session.verifier,
                display,
            ).run()


@round_app.command("show")
def roundshow(
    round_digest: Annotated[
        str | None, typer.Argument(metavar="[R]", help="The newest attempt unless told.")
    ] = None,
    operator: OperatorPath = HERE,
    as_json: Json = False,
) -> None:
    """One round attempt: its phases, who did what, the seal, and who refused by which check."""
    with operator_session(operator) as session:
        document = session.client.round(session.round(round_digest))
    if as_json:
        typer.echo(document.model_dump_json(indent=2))
    else:
        screens.screen.print(screens.round_screen(document))


@round_app.command("abort")
def round_abort(
    round_digest: Annotated[str, typer.Argument(metavar="R")],
    reason: Annotated[str, typer.Option(help="For everyone's log.")],
    operator: OperatorPath = HERE,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """End an attempt that nobody has opened, or one past its open deadline. Charges stay."""
    with operator_session(operator) as session:
        document = session.client.round(session.round(round_digest))
        plan = verify(document.plan, {OPERATOR: session.key.public})
        confirm(screens.round_screen(document), "Abort this attempt?", yes)
        abort = Abort(charter=plan.charter, plan=plan.digest, reason=reason)
        after = session.client.abort(sign(abort, OPERATOR, session.key))
    show({"round": after.round, "state": after.state.value}, as_json)


@app.command()
def status(operator: OperatorPath = HERE, as_json: Json = False) -> None:
    """Charter, roster, campaigns, rounds by state, and every participant's budget on one screen."""
    with operator_session(operator) as session:
        view = overview(session)
    if as_json:
        show(asdict(view), as_json)
    else:
        screens.screen.print(screens.status_screen(view))


app.add_typer(ledger_commands.app, name="ledger")
app.command()(backup_commands.backup)
app.command()(backup_commands.restore)
app.command()(backup_commands.recover)
app.command("officer-link")(account_commands.officer_link)


def main() -> None:
    """The entry point."""
    try:
        app(prog_name="chorale-server")
    except ChoraleError as error:
        screens.show_error(error)
        sys.exit(1)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C ends conducting quietly: all that matters is in the two records."""
    try:
        yield
    except KeyboardInterrupt:
        screens.errors.print("stopped; running it again goes on")
        raise typer.Exit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
