"""`chorale-server backup`, `restore` and `recover`: they work on the service's folder, on its own machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aggregator.operator.asking import confirm, show
from aggregator.operator.options import Json, Yes
from aggregator.operator.screens import errors
from privacy.clock import SystemClock
from privacy.errors import ConfigurationError, LedgerBroken
from privacy.ledger.export import read_file
from privacy.ledger.handed_back import HandedBack, read

SERVICE_SUBFOLDER = "service"
ServiceFolder = Annotated[Path, typer.Option("--service", help="The service's folder.")]


def service_folder(folder: Path) -> Path:
    """`folder`, or the service's folder within what `init` made."""
    from aggregator.settings import SETTINGS_FILE

    inner = folder / SERVICE_SUBFOLDER
    return inner if (inner / SETTINGS_FILE).is_file() else folder


def backup(
    target: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    service: ServiceFolder = Path(SERVICE_SUBFOLDER),
    as_json: Json = False,
) -> None:
    """Write a backup of the service as it is now, while it runs. Keep server.key apart: it is not in it."""
    from aggregator.backup.making import make_backup
    from aggregator.settings import Settings

    settings = Settings.load(service_folder(service))
    with _progress("copying blobs") as told:
        signed = make_backup(settings, target, SystemClock(), told)
    made = {
        "backup": str(target),
        "made": datetime.fromtimestamp(signed.body.made_at, UTC).isoformat(),
        "entries": signed.body.chain.count,
        "head": signed.body.chain.head,
        "blobs": signed.body.blobs,
    }
    show(made, as_json)


def restore(
    backup: Annotated[Path, typer.Argument(help="A folder that `backup` wrote.")],
    target: Annotated[Path, typer.Argument(help="The service's new folder, which is not there yet.")],
    server_key: Annotated[Path, typer.Option(help="The copy that was kept of the service's server.key.")],
    as_json: Json = False,
) -> None:
    """Make a service's folder from a backup, verified. It is served after `recover`."""
    from aggregator.backup.restoring import restore as restore_backup

    with _progress("checking blobs") as told:
        signed = restore_backup(backup, target, server_key, told)
    made = {
        "service": str(target),
        "entries": signed.body.chain.count,
        "head": signed.body.chain.head,
        "blobs": signed.body.blobs,
        "next": f"chorale-server recover {target}",
    }
    show(made, as_json)


def recover(
    folder: Annotated[Path, typer.Argument(help="The service's folder, as `restore` made it.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="What each partner's `chorale-partner recovery` wrote.")
    ] = None,
    plans: Annotated[
        Path | None, typer.Option(help="The operator's plans.jsonl: plans that were posted stay used up.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="A partner whose file will not come.")] = None,
    nothing_lost: Annotated[
        bool,
        typer.Option("--nothing-lost", help="The service had stopped before the backup was made."),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take in what partners know and a restored service lost, so that it may be served again."""
    from aggregator.backup import recovering
    from aggregator.operator.plan_record import posted_plans
    from aggregator.settings import Settings

    settings = Settings.load(service_folder(folder))
    if nothing_lost:
        if files or plans or without:
            raise ConfigurationError(
                "files, or --nothing-lost", "both", "give what partners know, if anything was lost"
            )
        confirm(None, "Was the service stopped before this backup was made, and not started since?", yes)
        head = recovering.declare_whole(settings, SystemClock())
        show({"service": str(folder), "entries": head.count, "head": head.head}, as_json)
        return
    handed = [_read(file) for file in files or ()]
    posted = () if plans is None else posted_plans(plans)
    found = recovering.recover(settings, SystemClock(), handed, posted, without or ())
    made = {
        "service": str(folder),
        "entries handed back": found.entries,
        "charges recovered": found.charges,
        "attempts confirmed": found.confirmed,
        "attempts closed": found.closed,
        "entries": found.head.count,
        "head": found.head.head,
    }
    show(made, as_json)


def _read(file: Path) -> HandedBack:
    try:
        with file.open("rb") as stream:
            return read(read_file(stream))
    except OSError as error:
        raise ConfigurationError(f"a file at {file}", str(error.strerror), "check its name") from None
    except LedgerBroken as error:
        raise LedgerBroken(error.line, f"{error.expected} in {file}", error.came, error.remedy) from None


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's stderr; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
