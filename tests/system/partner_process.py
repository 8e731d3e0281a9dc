"""A partner's process that contributes plain integers until a round is reached: no model, no training.

python -m tests.system.partner_process CONFIG CAMPAIGN UNTIL [DIE_AT]. It prints a JSON line for each phase and
outcome. With DIE_AT it kills itself as that phase begins: a test that kills from outside can come too late.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

from client_sdk.agent import Agent
from client_sdk.attempt import Attempt, Outcome
from privacy.clock import SystemClock
from privacy.protocol.messages import Campaign
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import passphrase, values_for


class Lines:
    """Progress as lines, so that a test can kill the process at a phase."""

    def __init__(self, die_at: str) -> None:
        self._die_at = die_at

    def phase(self, name: str, detail: str = "") -> None:
        print(json.dumps({"phase": name}), flush=True)
        if name == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def transfer(self, name: str, done: int, total: int) -> None:
        return None

    def notice(self, text: str) -> None:
        print(json.dumps({"notice": text}), flush=True)


def main(config: str, campaign_digest: str, until: str, die_at: str = "") -> None:
    progress = Lines(die_at)
    with Agent.open(
        Path(config), clock=SystemClock(), source=SystemRandom(), passphrase=passphrase, progress=progress
    ) as agent:
        campaign: Campaign = agent.campaign(campaign_digest)
        state = agent.current_state(campaign)
        for item in agent.attend(campaign, state, take_part=True, until=int(until)):
            if isinstance(item, Attempt):
                joined = agent.join(item)
                agent.contribute(joined, values_for(agent.partner.name))
                outcome = agent.finish(joined)
            else:
                outcome = item
            show(outcome)


def show(outcome: Outcome) -> None:
    values = None if outcome.values is None else sha256(outcome.values.tobytes()).hexdigest()
    print(
        json.dumps(
            {
                "outcome": outcome.ended,
                "round": outcome.plan.round,
                "state": outcome.state.digest,
                "values": values,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
