"""Waiting for a campaign to count: the lead has drafted it, the operator has yet to countersign.

A partner may start its script first; it then asks again, in growing steps, until its patience ends.
"""

from __future__ import annotations

from client_sdk.agent import Agent
from privacy.errors import NotFound
from privacy.protocol.messages import Campaign

DEFAULT_PATIENCE = 600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


def wait_for_campaign(agent: Agent, wanted: str | None, patience: float = DEFAULT_PATIENCE) -> Campaign:
    """By name or digest; None: the one that is in force. Raises NotFound after `patience` seconds."""
    outside = agent.partner.outside
    until = outside.clock.now() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            return agent.find_campaign(wanted)
        except NotFound as error:
            if outside.clock.now() + pause > until:
                raise
            if pause == _FIRST_PAUSE:
                outside.progress.notice(f"waiting for {error.expected}; so far: {error.came}")
        outside.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
