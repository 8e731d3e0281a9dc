"""`campaign sign`, `run`, `status` and `export`: what needs the agent at work, or the model."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from client_sdk.commands.budgets import own_budget
from client_sdk.commands.options import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    AsJson,
    Config,
    open_to_read,
    out,
    print_json,
)
from client_sdk.partner import PINNED_CHARTER, Partner
from client_sdk.policy import Policy
from client_sdk.terminal import passphrase_prompt, terminal_progress
from privacy.errors import ConfigurationError

campaign_app = typer.Typer(no_args_is_help=True, help="Draft a campaign, as the lead partner.")

CampaignName = Annotated[str | None, typer.Option(help="Name or hash; without it, the one there is.")]


@campaign_app.command()
def sign(
    file: Annotated[Path, typer.Argument(help="The campaign in TOML.", exists=True, dir_okay=False)],
    config: Config = Path(DEFAULT_CONFIG),
    json: AsJson = False,
) -> None:
    """Make the genesis, box it to every partner, and sign the campaign for the operator to countersign."""
    from client_sdk.agent import Agent
    from client_sdk.campaign_signing import sign_once

    with Agent.open(config, passphrase=passphrase_prompt(), progress=terminal_progress()) as agent:
        campaign = sign_once(agent, file)
    if json:
        print_json({"campaign": campaign.digest, "genesis": campaign.genesis, "parameters": campaign.length})
    else:
        out().print(f"campaign {campaign.digest}\ngenesis  {campaign.genesis}")
        out().print(f"{campaign.length:,} shared parameters")
        out().print("Signed and posted. It counts once the operator countersigned it.")


def run(
    script: Annotated[Path | None, typer.Argument(help="A script with a training loop.")] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed to the script.")] = None,
    config: Config = Path(DEFAULT_CONFIG),
    follow: Annotated[
        bool, typer.Option("--follow", help="Train nothing: decode, confirm and serve states.")
    ] = False,
    until: Annotated[int | None, typer.Option(help="With --follow: stop once this round is confirmed.")] = None,
    campaign: CampaignName = None,
) -> None:
    """Run a training script, or follow the rounds without training."""
    if (script is None) == (not follow):
        raise ConfigurationError("a script, or --follow", "both" if follow else "neither", "give one of them")
    if script is not None:
        _run_script(script, arguments or [], config)
    else:
        _follow(config, campaign, until)


def _run_script(script: Path, arguments: list[str], config: Path) -> None:
    if not script.is_file():
        raise ConfigurationError("a Python script", str(script), "check the path")
    os.environ[CONFIG_VARIABLE] = str(config.resolve())
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name="__main__")


def _follow(config: Path, wanted: str | None, until: int | None) -> None:
    from client_sdk.agent import Agent
    from client_sdk.campaign_wait import wait_for_campaign

    to = out()
    with Agent.open(config, passphrase=passphrase_prompt(), progress=terminal_progress()) as agent:
        campaign = wait_for_campaign(agent, wanted)
        state = agent.current_state(campaign)
        to.print(f"following {escape(campaign.name)} from round {state.round}; Ctrl-C ends it, nothing is lost")
        if until is not None and state.round >= until:
            return
        for outcome in agent.watch(campaign, state):
            to.print(f"round {outcome.plan.round}: {outcome.ended}, state {outcome.state.digest[:16]}")
            if until is not None and outcome.state.round >= until:
                return


def status(config: Config = Path(DEFAULT_CONFIG), json: AsJson = False) -> None:
    """What this folder holds: charter, attempts and their ends, and whether the policy stopped it."""
    with open_to_read(config) as partner:
        found = _status(partner)
    if json:
        print_json(found)
        return
    to = out()
    to.print(f"[bold]{found['name']}[/] ({found['partner']}) at {found['service']}")
    to.print(f"charter  {found['charter'] or 'none accepted yet'}")
    to.print(f"ledger   {found['ledger']['count']} charges, head {found['ledger']['head']}")
    if found["stopped"]:
        to.print(f"[bold red]stopped[/]: {found['stopped']}")
    table = Table("round", "plan", "contributed", "opened", "state after", "end")
    for attempt in found["attempts"][-20:]:
        table.add_row(
            str(attempt["round"]),
            attempt["plan"][:16],
            "yes" if attempt["contributed"] else "no",
            "yes" if attempt["opened"] else "no",
            (attempt["state"] or "")[:16],
            attempt["ending"] or "under way",
        )
    to.print(table)


def export(
    folder: Annotated[Path, typer.Argument(help="Folder for model.pt and MODEL_CARD.md.")],
    config: Config = Path(DEFAULT_CONFIG),
    campaign: CampaignName = None,
) -> None:
    """Write the newest confirmed model as a torch state dict, with a card that says what it cost."""
    from client_sdk.agent import Agent
    from client_sdk.export import export as write

    with open_to_read(config) as partner:
        agent = Agent(partner)
        chosen = agent.find_campaign(campaign)
        state = agent.current_state(chosen)
        made = write(folder, state, chosen, agent.charter, own_budget(agent.partner))
    out().print(f"{made.tensors} (SHA-256 {made.tensors_digest})\n{made.card}")


def _status(partner: Partner) -> dict[str, Any]:
    stop = Policy(partner.settings, partner.journal, partner.own_ledger).stopped()
    pinned = partner.journal.fact(PINNED_CHARTER)
    return {
        "partner": partner.name,
        "name": partner.settings.partner.name,
        "service": partner.settings.server.url,
        "charter": None if pinned is None else partner.charter.digest,
        "ledger": partner.own_ledger.head.model_dump(mode="json"),
        "stopped": None if stop is None else str(stop),
        "attempts": [
            {
                "round": record.round,
                "plan": record.plan,
                "campaign": record.campaign,
                "contributed": record.manifest is not None,
                "opened": record.opening is not None,
                "state": record.state,
                "ending": record.ending,
                "reason": record.reason,
            }
            for record in partner.journal.records()
        ],
    }
