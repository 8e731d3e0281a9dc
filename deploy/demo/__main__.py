"""`make demo`: six partners, one service, real molecules, on this machine, from nothing to results.

    python -m deploy.demo            run it
    python -m deploy.demo console    serve the finished consortium's console again

1/5 installing is the Makefile's. Exits non-zero where a gate fails. What is kept lies in out/demo/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deploy.demo.compare import train_all
from deploy.demo.consortium import LEAD, PARTNERS, CommandFailed, Consortium
from deploy.demo.data import Deal, prepare
from deploy.demo.results import accusations, gates, round_costs, spent_by, states_of
from deploy.demo.settings import DemoSettings
from deploy.demo.show import picture, print_results, write_json
from deploy.demo.task import LinearPredictor, Scores, judge, tests_of
from privacy.errors import ChoraleError

OUT = Path("out/demo")
CONSORTIUM = OUT / "consortium"
CAMPAIGN = "Activity of 30 targets"
SECONDS_A_ROUND_AT_MOST = 60


@contextmanager
def bar(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("    {task.description:38}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def molecules(console: Console, settings: DemoSettings) -> Deal:
    console.print("[bold]2/5[/] molecules: 30 targets of ChEMBL, fingerprints, six partners (a minute, once)")
    with bar(console) as progress:
        task = progress.add_task("reading", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        deal = prepare(OUT / "data", settings.deal, told)
    counts = ", ".join(f"{p} {n:,}" for p, n in zip(PARTNERS, deal.train_compounds, strict=True))
    console.print(f"    {sum(deal.train_compounds):,} compounds to train on ({counts}),")
    console.print(f"    {sum(deal.test_compounds):,} of other scaffolds to test on")
    return deal


def campaign_toml(settings: DemoSettings) -> str:
    model = Path(__file__).resolve().parent / "genesis.py"
    return (
        f'name = "{CAMPAIGN}"\nclip = {settings.clip}\ndenominator = {settings.denominator}\ngenesis = "fresh"\n'
        f'model = "{model}:build"\n\n[update_rule]\nkind = "sgd"\nlearning_rate = {settings.learning_rate}\n'
        f"momentum = {settings.momentum}\n"
    )


def constitute(console: Console, consortium: Consortium, deal: Deal) -> str:
    console.print("[bold]3/5[/] consortium: keys, invitations, charter and campaign, signed by all")
    start = time.monotonic()
    with bar(console) as progress:
        task = progress.add_task("folders", total=3 + 2 * len(PARTNERS))

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        consortium.make_folders()
        consortium.constitute(deal.train_compounds, step)
        step("campaign")
        campaign = consortium.sign_campaign(campaign_toml(consortium.settings))
    console.print(f"    charter and campaign signed in {time.monotonic() - start:.0f} s; campaign {campaign[:16]}")
    return campaign


def rounds(console: Console, consortium: Consortium, campaign: str) -> float:
    settings = consortium.settings
    console.print(f"[bold]4/5[/] {settings.rounds} rounds, blind, epsilon {settings.epsilon_in_sum:g} in the sum")
    script = Path(__file__).resolve().parent / "train.py"
    data = str((OUT / "data").resolve())
    consortium.start_partners(
        script,
        [
            (data, str(index), str(settings.rounds), str(consortium.record(partner).resolve()))
            for index, partner in enumerate(PARTNERS)
        ],
    )
    start = time.monotonic()
    conductor = consortium.start_conductor(campaign)
    until = start + SECONDS_A_ROUND_AT_MOST * settings.rounds
    while conductor.poll() is None:
        consortium.check_alive(("service", *PARTNERS))
        if time.monotonic() > until:
            raise CommandFailed(f"the rounds took longer than {until - start:.0f} s")
        time.sleep(0.5)
    consortium.check_alive(("conductor",))
    seconds = time.monotonic() - start
    consortium.wait(PARTNERS, 120)
    return seconds


def exported(consortium: Consortium, partner: str) -> LinearPredictor:
    folder = consortium.partner_folder(partner) / "model"
    consortium.partner(partner, "export", str(folder))
    tensors = torch.load(folder / "model.pt", weights_only=True)
    return LinearPredictor(tensors["weight"].double().numpy())


def results(console: Console, consortium: Consortium, deal: Deal, seconds: float) -> bool:
    console.print("[bold]5/5[/] results: what each could do alone, and what all could do together")
    settings = consortium.settings
    partners = deal.partners()
    with bar(console) as progress:
        task = progress.add_task("what each could do alone, and pooled", total=None)
        predictors = train_all(OUT / "data", lambda done, total: progress.update(task, completed=done, total=total))
    predictors["federated"] = tuple(exported(consortium, partner) for partner in PARTNERS)
    scores: dict[str, Scores] = {name: judge(each, tests_of(partners)) for name, each in predictors.items()}
    spent = spent_by(consortium)
    states = states_of(consortium)
    parameters = predictors["federated"][0].weights.size  # type: ignore[attr-defined]
    costs = round_costs(consortium, parameters)
    passed = gates(settings, scores, spent, states, accusations(consortium))
    print_results(console, scores, spent, settings.delta, costs, passed)
    for partner in PARTNERS:
        consortium.partner(partner, "report", str(OUT.resolve() / "reports" / partner))
    (OUT / "results.svg").write_text(picture(scores), encoding="utf-8")
    write_json(
        OUT / "results.json", scores=scores, spent=spent, costs=costs, gates=passed, settings=settings,
        seconds_of_all_rounds=seconds, final_state=states[LEAD][-1],
    )  # fmt: skip
    return all(gate.passed for gate in passed)


def run(console: Console, count: int) -> int:
    settings = replace(DemoSettings(), rounds=count)
    deal = molecules(console, settings)
    # A consortium is made anew each time: keys, ledger, model. The dealt molecules stay.
    shutil.rmtree(CONSORTIUM, ignore_errors=True)
    CONSORTIUM.mkdir(parents=True)
    with Consortium(CONSORTIUM.resolve(), settings) as consortium:
        campaign = constitute(console, consortium, deal)
        seconds = rounds(console, consortium, campaign)
        console.print(
            f"    {settings.rounds} rounds in {seconds / 60:.1f} minutes, {seconds / settings.rounds:.1f} s each"
        )
        passed = results(console, consortium, deal, seconds)
    console.print(f"\nthe officer's reports: {OUT}/reports/*/report.html   the picture: {OUT}/results.svg")
    console.print("the console, in the browser: [bold]make console[/]")
    return 0 if passed else 1


def serve_console(console: Console) -> int:
    if not (CONSORTIUM / "operator" / "operator.toml").exists():
        console.print("nothing to show yet: run [bold]make demo[/] first")
        return 1
    with Consortium(CONSORTIUM.resolve(), DemoSettings()) as consortium:
        consortium.start_service()
        for officer, scope in (("the consortium's officer", "consortium"), (f"the officer of {LEAD}", LEAD)):
            link = json.loads(consortium.server("officer-link", f"officer-{scope}", "--scope", scope, "--json"))
            console.print(f"{officer} signs in here, once: {link['url']}", soft_wrap=True)
        console.print("Ctrl-C ends it")
        consortium.wait(("service",), 30 * 86_400)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description="Six partners on one machine.")
    parser.add_argument("what", nargs="?", choices=("run", "console"), default="run")
    parser.add_argument("--rounds", type=int, default=DemoSettings().rounds, help="fewer, for a quick look")
    chosen = parser.parse_args()
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
