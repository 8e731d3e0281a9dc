"""`enrol` and `charter`: entering a consortium, and accepting its charter by comparing words (protocol 4.0)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from client_sdk import enrolment, officer_consent
from client_sdk.commands.options import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    Wait,
    open_partner,
    out,
    outside,
    print_json,
)
from client_sdk.durable import write_durably
from client_sdk.enrolment import Offered
from client_sdk.partner import Partner
from client_sdk.policy import capped
from client_sdk.settings import load_settings
from client_sdk.terminal import passphrase_prompt
from privacy.errors import ConfigurationError, ServiceUnavailable
from privacy.protocol.messages import Charter
from privacy.protocol.words import words
from privacy.typed_paths import writing

charter_app = typer.Typer(no_args_is_help=True, help="Show and accept the consortium's charter.")


def enrol(
    config: Config = Path(DEFAULT_CONFIG),
    token_file: Annotated[
        Path | None, typer.Option(help="File with the invitation's token; without it you are asked.")
    ] = None,
    wait: Wait = 0,
) -> None:
    """Make this partner's keys and answer an invitation."""
    load_settings(config)  # before anything is asked
    shown = enrolment.enrol(config, _token(token_file), outside(), passphrase_prompt())
    out().print("Enrolled. Compare these words with the operator, on another line than the service:")
    out().print(f"  [bold]{shown}[/]")
    if wait > 0:
        with open_partner(config) as partner:
            if not enrolment.wait_for_approval(partner, partner.outside.clock.now() + wait):
                raise ServiceUnavailable("the operator's approval", f"none in {wait:g} s", "ask the operator")
        out().print("The operator approved.")


@charter_app.command()
def show(config: Config = Path(DEFAULT_CONFIG), wait: Wait = 0, json: AsJson = False) -> None:
    """Show the newest charter, and the words to compare. Nothing is accepted."""
    with open_partner(config) as partner:
        offered = enrolment.offered_charter(partner, int(wait))
        anew = enrolment.other_keys(partner, offered.charter)
        together = _together(partner, offered.charter)
    if json:
        print_json(_described(offered, anew) | {"all_charters": together})
    else:
        _print_charter(offered, anew)
        _print_together(together)


@charter_app.command()
def accept(
    config: Config = Path(DEFAULT_CONFIG),
    digest: Annotated[
        str | None, typer.Option(help="Hash of the charter whose words were compared; without it you are asked.")
    ] = None,
    consent: Annotated[
        Path | None, typer.Option(help="The officer's consent, where policy.officer_key asks for it.")
    ] = None,
    wait: Wait = 0,
) -> None:
    """Check the newest charter, pin it and sign it."""
    with open_partner(config) as partner:
        offered = enrolment.offered_charter(partner, int(wait))
        anew = enrolment.other_keys(partner, offered.charter)
        _print_together(_together(partner, offered.charter))
        agreed = _confirmed(offered, anew) if digest is None else digest
        enrolment.accept_charter(partner, offered, agreed, consent)
        out().print(f"Accepted charter {offered.charter.digest}.")
        if wait > 0:
            if not enrolment.wait_in_force(partner, partner.outside.clock.now() + wait):
                raise ServiceUnavailable(
                    "an acceptance by every partner", f"not in {wait:g} s", "ask the others; yours is signed"
                )
            out().print("It is in force: every partner signed it.")


@charter_app.command("officer-key")
def officer_key(
    private: Annotated[Path, typer.Argument(help="Where the officer keeps the private key, under a passphrase.")],
    public: Annotated[Path, typer.Argument(help="Public key, for policy.officer_key in partner.toml.")],
) -> None:
    """Make the security officer's key. The passphrase is the officer's own."""
    officer_consent.create_officer_key(private, public, passphrase_prompt(), outside().source)
    out().print(f"{private} stays with the officer; name {public} as policy.officer_key in partner.toml.")


@charter_app.command()
def consent(
    key: Annotated[Path, typer.Argument(help="The officer's private key.")],
    file: Annotated[Path, typer.Argument(help="Where to write the consent.")],
    partner: Annotated[str, typer.Option(help="Id of the officer's partner.")],
    digest: Annotated[str, typer.Option(help="Hash of the charter that the officer has read.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """As the officer: consent to this partner's acceptance of one charter. Needs neither folder nor service."""
    out().print(f"words  [bold]{words(digest)}[/]")
    if not yes:
        typer.confirm("Are these the words of the charter that you have read?", abort=True)
    opened = officer_consent.load_officer_key(key, passphrase_prompt())
    signed = officer_consent.give_consent(digest, partner, opened)
    with writing(file):
        write_durably(file, signed.canonical_bytes + b"\n")
    out().print(f"{file}: pass it to `chorale-partner charter accept --consent`.")


def _token(token_file: Path | None) -> str:
    if token_file is None:
        return str(typer.prompt("Token of the invitation", hide_input=True)).strip()
    try:
        return token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"a token in {token_file}", str(error), "write it there") from None


def _confirmed(offered: Offered, anew: tuple[str, ...]) -> str:
    """The digest, once a person says that the words agree."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "a person who compares the charter's words, or --digest",
            "neither",
            "run `chorale-partner charter show`, compare the words, and pass the hash by --digest",
        )
    _print_charter(offered, anew)
    typer.confirm("Do the other partners read the same words?", abort=True)
    return offered.charter.digest


def _print_charter(offered: Offered, anew: tuple[str, ...]) -> None:
    charter = offered.charter
    to = out()
    to.print(f"[bold]{escape(charter.consortium)}[/], epoch {charter.epoch}")
    to.print(f"hash   {charter.digest}")
    to.print(f"words  [bold]{offered.words}[/]")
    to.print(
        f"a sum of at least {charter.n_min} updates, {charter.colluders} of them from colluders; unit of privacy:"
        f" {escape(charter.privacy_unit)}"
    )
    if charter.allow_none:
        to.print("[bold red]unprotected events are allowed: encrypted, but epsilon is infinite[/]")
    table = Table("event", "kind", "noise z", "sampling", "steps", "count", title="What may happen, at most")
    for row in charter.table:
        event = row.event
        table.add_row(
            escape(row.name),
            event.kind,
            f"{event.noise_multiplier:g}",
            f"{event.sampling_rate:g}",
            str(event.steps),
            str(row.count),
        )
    to.print(table)
    if charter.filter_order is not None:
        to.print(
            f"a Renyi filter of order {charter.filter_order} refuses what would pass a partner's caps:"
            " the counts are ceilings, and together may not be reached"
        )
    roster = Table("partner", "name", "cap alone", "cap in the sum", "delta", "signed", title="Roster")
    for entry in charter.roster:
        caps = entry.caps
        signed = "yes" if entry.partner in offered.accepted_by else "not yet"
        lead = " (lead)" if entry.partner == charter.lead else ""
        roster.add_row(
            entry.partner + lead,
            escape(entry.name),
            f"{caps.epsilon_alone:g}",
            f"{caps.epsilon_in_sum:g}",
            f"{caps.delta:g}",
            signed,
        )
    to.print(roster)
    for name in anew:
        to.print(
            f"[bold]{name} has other keys than in the charter before: ask it, not the service,"
            " whether it enrolled anew[/]"
        )


def _together(partner: Partner, charter: Charter) -> dict[str, float]:
    """By guarantee, the caps of this and every charter accepted before, added up; empty where it has none."""
    if partner.name not in charter.partners:
        return {}
    accepted = [signed.body for signed in partner.charters()]
    return {guarantee.value: total for guarantee, total in capped(charter, partner.name, accepted).items()}


def _print_together(together: dict[str, float]) -> None:
    if together:
        totals = ", ".join(f"{total:g} {name.replace('_', ' ')}" for name, total in together.items())
        out().print(f"Your caps of this and every charter that you accepted add up to epsilon {totals}.")


def _described(offered: Offered, anew: tuple[str, ...]) -> dict[str, Any]:
    charter: Charter = offered.charter
    return {
        "digest": charter.digest,
        "words": offered.words,
        "in_force": offered.in_force,
        "accepted_by": list(offered.accepted_by),
        "other_keys": list(anew),
        "charter": charter.model_dump(mode="json"),
    }
