"""`make demo`: six partners, one service, real molecules, on this machine, from nothing to results.

    python -m deploy.demo            run it
    python -m deploy.demo console    serve the finished consortium's console again

1/5 installing is the Makefile's. Exits non-zero where a gate fails. What is kept lies in out/demo/.
CHORALE_DEMO_ROUNDS=10 is the quick form: so few rounds beat nobody, so accuracy is shown and not judged.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deploy.demo.compare import Baselines
from deploy.demo.consortium import PARTNERS, CommandFailed, Consortium, each_of
from deploy.demo.data import Deal, prepare
from deploy.demo.officers import ways_in
from deploy.demo.results import accuracy_gates, protocol_gates, round_costs, spent_by, states_of, summary
from deploy.demo.settings import DemoSettings, FreeSettings
from deploy.demo.show import picture, print_results, write_json
from deploy.demo.task import LinearPredictor, Scores, judge, shared_by_all, tests_of
from deploy.demo.terms import free_terms, private_terms
from privacy.errors import ChoraleError

OUT = Path("out/demo")
CONSORTIUM = OUT / "consortium"
WITHOUT_PRIVACY = OUT / "without-privacy"
ROUNDS_VARIABLE = "CHORALE_DEMO_ROUNDS"
SECONDS_A_ROUND_AT_MOST = 60


@contextmanager
def bar(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("    {task.description:44}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def molecules(console: Console, settings: DemoSettings) -> Deal:
    console.print("[bold]2/5[/] molecules: 30 targets of ChEMBL, fingerprints, six partners (half a minute, once)")
    with bar(console) as progress:
        task = progress.add_task("reading", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        deal = prepare(OUT / "data", settings.deal, told)
    counts = ", ".join(f"{p} {n:,}" for p, n in zip(PARTNERS, deal.train_compounds, strict=True))
    console.print(f"    {sum(deal.train_compounds):,} compounds to train on: {counts}", soft_wrap=True)
    console.print(f"    {sum(deal.test_compounds):,} of other scaffolds to test on")
    return deal


def constitute(console: Console, consortia: Sequence[Consortium], deal: Deal) -> list[str]:
    """The campaign of each consortium."""
    console.print(
        "[bold]3/5[/] two consortia, one protected and one not: keys, charter and campaign, signed by all"
    )
    start = time.monotonic()
    campaigns = []
    with bar(console) as progress:
        task = progress.add_task("folders", total=len(consortia) * (4 + 2 * len(PARTNERS)))

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        for consortium in consortia:
            consortium.make_folders()
            consortium.constitute(deal.train_compounds, step)
            step("campaign")
            campaigns.append(consortium.sign_campaign())
    console.print(
        f"    signed in {time.monotonic() - start:.0f} s; beside this, each one trains what it could do alone"
    )
    return campaigns


def rounds(consortium: Consortium, campaign: str) -> float:
    """Run all rounds; seconds."""
    script = Path(__file__).resolve().parent / "train.py"
    data = str((OUT / "data").resolve())
    count = consortium.terms.rounds
    consortium.start_partners(
        script,
        [
            (data, str(index), str(count), str(consortium.record(partner).resolve()))
            for index, partner in enumerate(consortium.terms.partners)
        ],
    )
    start = time.monotonic()
    conductor = consortium.start_conductor(campaign)
    until = start + SECONDS_A_ROUND_AT_MOST * (count + 5)
    while conductor.poll() is None:
        consortium.check_alive(("service", *consortium.terms.partners))
        if time.monotonic() > until:
            raise CommandFailed(f"the rounds took longer than {until - start:.0f} s")
        time.sleep(0.5)
    consortium.check_alive(("conductor",))
    seconds = time.monotonic() - start
    consortium.wait(consortium.terms.partners, 120)
    return seconds


def exported(consortium: Consortium, partner: str) -> LinearPredictor:
    folder = consortium.partner_folder(partner) / "model"
    consortium.partner(partner, "export", str(folder))
    tensors = torch.load(folder / "model.pt", weights_only=True)
    return LinearPredictor(tensors["weight"].double().numpy())


def write_reports(consortium: Consortium, partner: str) -> None:
    folder = OUT.resolve() / "reports" / partner
    wanted = [option for form in ("pdf", "html", "json") for option in ("--out", str(folder / f"report.{form}"))]
    consortium.partner(partner, "report", *wanted)


def results(console: Console, consortium: Consortium, scores: dict[str, Scores], deal: Deal, quick: bool) -> bool:
    settings = DemoSettings()
    spent = spent_by(consortium)
    states = states_of(consortium)
    costs = round_costs(consortium, deal.parameters)
    gates = protocol_gates(consortium, spent, states)
    if not quick:
        gates = [*accuracy_gates(scores), *gates]
    print_results(console, scores, spent, settings.delta, costs, gates)
    each_of(PARTNERS, lambda partner: write_reports(consortium, partner))
    most = max(each.in_sum for each in spent.values())
    (OUT / "results.svg").write_text(picture(scores, most), encoding="utf-8")
    write_json(OUT / "results.json", scores=scores, spent=spent, costs=costs, gates=gates)
    count, parameters = consortium.terms.rounds, deal.parameters
    write_json(OUT / "summary.json", **summary(settings, count, parameters, scores, spent, states, costs))
    return all(gate.passed for gate in gates)


def run(console: Console, count: int) -> int:
    settings = replace(DemoSettings(), rounds=count)
    quick = count < DemoSettings().rounds
    free = replace(FreeSettings(), rounds=min(count, FreeSettings().rounds))
    deal = molecules(console, settings)
    # Consortia are made anew each time: keys, ledger, model. The dealt molecules stay.
    for folder in (CONSORTIUM, WITHOUT_PRIVACY):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    with (
        Consortium(CONSORTIUM.resolve(), private_terms(settings)) as protected,
        Consortium(WITHOUT_PRIVACY.resolve(), free_terms(settings, free)) as unprotected,
        Baselines(OUT / "data", deal) as baselines,
    ):
        campaign, free_campaign = constitute(console, (protected, unprotected), deal)
        planned = DemoSettings()
        of = "" if not quick else f" of the {planned.rounds}"
        console.print(f"[bold]4/5[/] {count}{of} rounds, blind, for epsilon {planned.epsilon_in_sum:g} in the sum")
        seconds = rounds(protected, campaign)
        console.print(
            f"    {count} rounds in {seconds / 60:.1f} minutes; now {free.rounds} of the other consortium"
        )
        rounds(unprotected, free_campaign)
        console.print("[bold]5/5[/] results")
        with bar(console) as progress:
            task = progress.add_task("what each could do alone, and pooled", total=None)
            scores = baselines.wait(lambda done, total: progress.update(task, completed=done, total=total))
        tests = tests_of(deal.partners())
        # All six hold the same model, which a gate makes sure of: one of them exports it.
        for name, consortium in (("federated", protected), ("federated_no_dp", unprotected)):
            scores[name] = shared_by_all(judge(exported(consortium, consortium.terms.lead), tests))
        passed = results(console, protected, scores, deal, quick)
    console.print(f"\nthe officer's reports: {OUT}/reports/*/report.pdf   the picture: {OUT}/results.svg")
    console.print("the console, in the browser: [bold]make console[/]")
    console.print(f"an auditor's look at the files alone: python -m deploy.demo.check {OUT}")
    return 0 if passed else 1


def serve_console(console: Console) -> int:
    if not (CONSORTIUM / "operator" / "operator.toml").exists():
        console.print("nothing to show yet: run [bold]make demo[/] first")
        return 1
    with Consortium(CONSORTIUM.resolve(), private_terms(DemoSettings())) as consortium:
        consortium.start_service()
        for who, how in ways_in(consortium.server, consortium.url, consortium.terms.lead):
            console.print(f"{who}, {how}", soft_wrap=True)
        console.print("Ctrl-C ends it")
        consortium.wait(("service",), 30 * 86_400)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description="Six partners on one machine.")
    parser.add_argument("what", nargs="?", choices=("run", "console"), default="run")
    told = os.environ.get(ROUNDS_VARIABLE, str(DemoSettings().rounds))
    parser.add_argument("--rounds", type=int, default=told, help=f"fewer, for a quick look; or {ROUNDS_VARIABLE}")
    chosen = parser.parse_args()
    if not 1 <= chosen.rounds <= DemoSettings().rounds:
        parser.error(f"rounds from 1 to {DemoSettings().rounds}: the charter's table has no more")
    console = Console()
    # Asked to end, end the processes of the consortium too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(console, chosen.rounds) if chosen.what == "run" else serve_console(console)
    except (CommandFailed, ChoraleError) as error:
        console.print(f"[bold red]the demo stopped[/]: {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("ended")
        return 130


if __name__ == "__main__":
    sys.exit(main())
