"""The consortium, seen from a data scientist's script.

    from client_sdk import Consortium
    with Consortium.open("partner.toml") as consortium:
        for rnd in consortium.rounds(model):
            rnd.contribute(train_set, loss_fn)

Leaving the `with` block ends the round under way: quietly (`break`) the round is seen through; by an error, noise
is uploaded for a round that was joined, and nobody waits; by Ctrl-C nothing is sent, and the next start goes on.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from torch import nn

from client_sdk.agent import Agent
from client_sdk.campaign_wait import DEFAULT_PATIENCE, wait_for_campaign
from client_sdk.keystore import Passphrase
from client_sdk.per_record import BLOCK
from client_sdk.progress import Progress
from client_sdk.rounds import Pace, Rounds
from client_sdk.shared_parameters import Shared
from client_sdk.terminal import passphrase_prompt, terminal_progress
from client_sdk.training import DEFAULT_HOME_RATE
from privacy.protocol.messages import Charter

CONFIG_VARIABLE = "CHORALE_PARTNER_CONFIG"
DEFAULT_CONFIG = "partner.toml"


class Consortium:
    """An open partner folder, for training in. One process at a time has it open."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._rounds: Rounds | None = None

    @classmethod
    def open(
        cls,
        config: str | Path | None = None,
        *,
        passphrase: Passphrase | None = None,
        progress: Progress | None = None,
    ) -> Consortium:
        """config: default $CHORALE_PARTNER_CONFIG (set by `chorale-partner run`), then ./partner.toml.

        Raises ConfigurationError, FolderInUse, KeystoreLocked.
        """
        path = Path(config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
        asked = passphrase or passphrase_prompt()
        return cls(Agent.open(path, passphrase=asked, progress=progress or terminal_progress()))

    @property
    def charter(self) -> Charter:
        """The pinned charter."""
        return self.agent.charter

    def rounds(
        self,
        model: nn.Module,
        shared: Shared = None,
        until: int | None = None,
        *,
        campaign: str | None = None,
        patience: float = DEFAULT_PATIENCE,
        block: int = BLOCK,
        threads: int = 1,
        home_rate: float = DEFAULT_HOME_RATE,
    ) -> Rounds:
        """The rounds of a campaign, from wherever this partner stands; `model` is overwritten from disk at once.

        model: any torch module that Opacus can clip. shared: which parameters are the consortium's (a test of the
        name, a prefix, several); None: all trainable ones. until: stop once this round is confirmed; None: go on
        for as long as there are rounds. campaign: name or digest; None: the one there is. patience: seconds to
        wait until it is signed. block: records in a padded block, a multiple of 16. threads: torch's. home_rate:
        learning rate of steps at home (*local* and *none* rounds), a public constant: their step is
        home_rate x sum / denominator of the campaign.
        """
        if self._rounds is not None:
            self._rounds.settle()
        chosen = wait_for_campaign(self.agent, campaign, patience)
        state = self.agent.current_state(chosen)
        self._rounds = Rounds(self.agent, chosen, state, model, shared, until, Pace(block, threads, home_rate))
        self._rounds.recover(
            {
                record.plan: record.state
                for record in self.agent.partner.journal.records(chosen.digest)
                if record.ending is not None
            }
        )
        return self._rounds

    def close(self) -> None:
        self.agent.close()

    def __enter__(self) -> Consortium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._rounds is not None and kind is None:
                self._rounds.settle()
            elif self._rounds is not None and kind is not None and issubclass(kind, Exception):
                self._rounds.abandon()
        finally:
            self.close()
