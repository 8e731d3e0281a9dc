"""`ledger`: this partner's own chain, or the service's, as a file that verifies without either (docs/ledger.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client_sdk.commands.options import DEFAULT_CONFIG, AsJson, Config, open_to_read, out, print_json
from client_sdk.durable import write_pieces
from client_sdk.partner import Partner
from privacy.ledger.export import own_export, read_file, with_entries
from privacy.ledger.verification import verify_export
from privacy.ledger.verified_export import VerifiedExport
from privacy.protocol.messages import ChainHead, OwnCheckpoint
from privacy.typed_paths import reading, writing

ledger_app = typer.Typer(no_args_is_help=True, help="Ledgers as files that verify without the service.")


class Of(StrEnum):
    own = "own"
    service = "service"


@ledger_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write it: JSON Lines.")],
    of: Annotated[Of, typer.Option(help="Whose chain: this partner's own, or the service's.")] = Of.own,
    config: Config = Path(DEFAULT_CONFIG),
    json: AsJson = False,
) -> None:
    """Write a ledger with all it takes to verify it, and verify what was written.

    The service's must hold every checkpoint that this partner has seen.
    """
    with open_to_read(config) as partner:
        if of is Of.own:
            with writing(file):
                write_pieces(file, own_lines(partner))
            found = _verified(file, partner.charter.digest, ())
        else:
            with writing(file):
                write_pieces(file, with_entries(partner.service.ledger_preamble(), partner.service.ledger))
            found = _verified(file, partner.charter.digest, partner.ledger_watch.seen())
    _show(found, json)


@ledger_app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A file that either side's `ledger export` wrote.")],
    charter: Annotated[str | None, typer.Option(help="Hash that its newest charter must have.")] = None,
    json: AsJson = False,
) -> None:
    """Verify an exported ledger with nothing but the file; name the line that is wrong."""
    _show(_verified(file, charter, ()), json)


def recovery(
    file: Annotated[Path, typer.Argument(help="Where to write it: JSON Lines. Nothing in it is secret.")],
    config: Config = Path(DEFAULT_CONFIG),
) -> None:
    """Write what this partner holds of the consortium, for a service that was restored from an old backup."""
    from client_sdk.handing_back import recovery_lines

    with open_to_read(config) as partner, writing(file):
        write_pieces(file, recovery_lines(partner))
    out().print(f"{file}: give it to the operator, for `chorale-server recover`.", markup=False)


def own_lines(partner: Partner) -> Iterator[bytes]:
    """This partner's own chain; it signs the head, and its acceptance of each charter anew, where it still can."""
    charters = [(signed, [partner.acceptance(signed.body)]) for signed in partner.charters()]
    head = partner.own_ledger.head
    checkpoint = OwnCheckpoint(charter=partner.charter.digest, partner=partner.name, chain=head)
    return own_export(charters, partner.sign(checkpoint), partner.own_ledger.lines())


def _verified(file: Path, charter: str | None, seen: Iterable[ChainHead]) -> VerifiedExport:
    with reading(file), file.open("rb") as stream:
        return verify_export(read_file(stream), charter, seen=seen)


def _show(found: VerifiedExport, as_json: bool) -> None:
    if as_json:
        print_json(found.described())
        return
    for name, value in found.told().items():
        out().print(f"{name:<14} {value}", markup=False)
