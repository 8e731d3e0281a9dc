"""`audit noise`, `audit sampling`, `audit sum`: experiments against what is claimed (docs/experiments.md).

The first two charge nothing, send nothing and read no record: canaries and made-up records go through the code that
trains. The third is a round of its own, of canaries. Status 1 means that the claim is refuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from client_sdk.commands.options import DEFAULT_CONFIG, AsJson, Config, out, print_json
from client_sdk.commands.running import CampaignName
from client_sdk.settings import load_settings
from client_sdk.terminal import passphrase_prompt, terminal_progress
from privacy.dp import accountant
from privacy.dp.audit import CONFIDENCE, NoiseAudit, audit_noise, guess_coins
from privacy.dp.audit_sampling import ALARM_DEVIATIONS, SamplingAudit, audit_sampling
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.probes import ProbeStatistic
from privacy.randomness import SystemRandom

audit_app = typer.Typer(no_args_is_help=True, help="Experiments that can refute what is claimed.")
_LIMITS = "What this can show and what it cannot: docs/experiments.md."


@audit_app.command()
def noise(
    config: Config = Path(DEFAULT_CONFIG),
    canaries: Annotated[int, typer.Option(min=1000, max=200_000, help="Coordinates, one a canary.")] = 20_000,
    noise_multiplier: Annotated[float, typer.Option(min=0.1, max=100.0, help="z of the rehearsed round.")] = 2.0,
    honest: Annotated[int, typer.Option(min=1, max=100, help="h: contributors of the rehearsed sum.")] = 4,
    delta: Annotated[float | None, typer.Option(help="Of the claim; else the caps' in the settings.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Rehearsals, each a verdict of its own.")] = 1,
    json: AsJson = False,
) -> None:
    """Train on canaries alone and guess from the sum which took part: is epsilon above what is claimed?"""
    from client_sdk.rehearsal import rehearse_noise

    at = load_settings(config).settings.caps.delta if delta is None else delta
    event = PrivacyEvent(kind="distributed", noise_multiplier=noise_multiplier, sampling_rate=1.0, steps=1)
    claimed = accountant.epsilon(((event, 1),), at, Guarantee.IN_SUM, honest)
    found: list[tuple[NoiseAudit, ProbeStatistic]] = []
    with _bar("rehearsing", runs) as advance:
        for number in range(1, runs + 1):
            made = rehearse_noise(SystemRandom(), canaries, noise_multiplier, honest)
            found.append((audit_noise(guess_coins(made.scores, made.coins), claimed, at), made.probes))
            advance(number)
    refuted = any(audit.refuted or probes.missing for audit, probes in found)
    if json:
        runs_shown = [
            {**asdict(audit), "refuted": audit.refuted, "probe_deviations": probes.deviations}
            for audit, probes in found
        ]
        print_json({"refuted": refuted, "claimed": claimed, "delta": at, "runs": runs_shown})
    else:
        _print_noise(found, claimed, at)
    if refuted:
        raise typer.Exit(1)


@audit_app.command()
def sampling(
    records: Annotated[int, typer.Option(min=10, max=100_000, help="Made-up records.")] = 1000,
    sampling_rate: Annotated[float, typer.Option(min=1e-6, max=0.999, help="gamma, of each round.")] = 0.05,
    rounds: Annotated[int, typer.Option(min=10, max=100_000, help="Rounds rehearsed.")] = 400,
    json: AsJson = False,
) -> None:
    """Train many rounds and look at who was in each batch: is it Poisson sampling at the rate that is accounted?"""
    from client_sdk.rehearsal import rehearse_sampling

    with _bar("rehearsing", rounds) as advance:
        batches = rehearse_sampling(SystemRandom(), records, sampling_rate, rounds, advance)
    audit = audit_sampling(batches, records, sampling_rate)
    if json:
        print_json({**asdict(audit), "refuted": audit.refuted})
    else:
        _print_sampling(audit)
    if audit.refuted:
        raise typer.Exit(1)


@audit_app.command(name="sum")
def sum_(
    config: Config = Path(DEFAULT_CONFIG),
    campaign: CampaignName = None,
    json: AsJson = False,
) -> None:
    """Put canaries into the next statistics round and judge the opened sum; charged like any round of its row."""
    from client_sdk.agent import Agent
    from client_sdk.campaign_wait import wait_for_campaign
    from client_sdk.canary_sum import audit_next_sum

    with Agent.open(config, passphrase=passphrase_prompt(), progress=terminal_progress()) as agent:
        outcome, audit = audit_next_sum(agent, wait_for_campaign(agent, campaign))
    event, contributors = outcome.plan.event, len(outcome.report.contributors)
    if json:
        shown = {**asdict(audit), "refuted": audit.refuted, "probe_deviations": outcome.report.probe_z}
        print_json({"round": outcome.round_digest, "contributors": contributors, **shown})
    else:
        to = out()
        to.print(f"a sum of {contributors}, z {event.noise_multiplier:g}: epsilon {audit.claimed:.3f} claimed")
        guesses = audit.guesses
        to.print(
            f"{guesses.correct} of {guesses.guessed} guesses right, of {guesses.canaries:,} canaries of its own"
        )
        to.print(f"epsilon is above {audit.lower_bound:.3f} ({audit.confidence:.0%})")
        to.print("[bold red]refuted[/]" if audit.refuted else "not refuted")
        to.print(_LIMITS)
    if audit.refuted:
        raise typer.Exit(1)


def _print_noise(found: list[tuple[NoiseAudit, ProbeStatistic]], claimed: float, delta: float) -> None:
    to = out()
    to.print(f"claimed: epsilon {claimed:.3f} at delta {delta:g}, for one round at sampling rate 1")
    table = Table("guessed", "right", f"epsilon is above ({CONFIDENCE:.0%})", "probes", "verdict")
    for audit, probes in found:
        wrong = audit.refuted or probes.missing
        table.add_row(
            f"{audit.guesses.guessed} of {audit.guesses.canaries:,}",
            str(audit.guesses.correct),
            f"{audit.lower_bound:.3f}",
            f"{probes.deviations:+.1f} sigma",
            "[bold red]refuted[/]" if wrong else "not refuted",
        )
    to.print(table)
    if any(audit.refuted or probes.missing for audit, probes in found):
        to.print("[bold red]This machine's noise or clipping is not what is claimed: do not take part.[/]")
    to.print(_LIMITS)


def _print_sampling(audit: SamplingAudit) -> None:
    to = out()
    to.print(f"{audit.rounds} rounds of {audit.records:,} records at sampling rate {audit.sampling_rate:g}")
    table = Table("figure", "standard deviations from Poisson sampling", "verdict")
    for name, deviations in audit.deviations.items():
        wrong = abs(deviations) > ALARM_DEVIATIONS
        table.add_row(name, f"{deviations:+.1f}", "[bold red]refuted[/]" if wrong else "not refuted")
    to.print(table)
    if audit.twice:
        to.print(f"[bold red]{audit.twice} records stood in one batch more than once.[/]")
    if audit.refuted:
        to.print("[bold red]These batches are not what the accountant assumes: do not take part.[/]")
    to.print(_LIMITS)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
