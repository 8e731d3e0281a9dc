"""The partner's agent: follows a campaign, takes part in its attempts, and keeps the model in step.

Rules:
1. Which attempts it hands out, and what it finishes by itself, is following.py's decision.
2. Between two attempts of `follow` the caller joins, contributes and finishes, each once for an attempt.
It trains nothing and knows no torch: `session` does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from client_sdk import campaigns, joining, states, upload
from client_sdk.attempt import Attempt, JoinedAttempt, Outcome
from client_sdk.following import Following
from client_sdk.keystore import Passphrase
from client_sdk.meter import Meters
from client_sdk.model_state import ModelState
from client_sdk.partner import Outside, Partner
from client_sdk.policy import Policy
from client_sdk.progress import Progress, Silent
from client_sdk.settings import Settings
from privacy.clock import Clock, SystemClock
from privacy.protocol.messages import Campaign, Charter, Signed
from privacy.randomness import Keystream, RandomSource, SystemRandom, hedged_seed


class Agent:
    """One open partner folder. Use as a context manager, one process at a time."""

    def __init__(self, partner: Partner) -> None:
        self.partner = partner
        self.policy = Policy(partner.settings, partner.journal, partner.own_ledger)
        self._meters = Meters(partner.outside.clock, partner.progress, partner.transport.traffic)
        self._followed: dict[str, Following] = {}
        self._stopping = threading.Event()
        self._shard_bytes: int | None = None

    @classmethod
    def open(
        cls,
        config: Path,
        *,
        clock: Clock | None = None,
        source: RandomSource | None = None,
        passphrase: Passphrase | None = None,
        progress: Progress | None = None,
        outside: Outside | None = None,
    ) -> Agent:
        """Raises ConfigurationError, FolderInUse, KeystoreLocked, LedgerBroken."""
        world = outside or Outside(clock or SystemClock(), source or SystemRandom(), progress or Silent())
        agent = cls(Partner.open(config, world, passphrase))
        agent.partner.wipe_old_keys()
        return agent

    def close(self) -> None:
        self.partner.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what it is -----------------------------------------------------------------------------------

    @property
    def charter(self) -> Charter:
        return self.partner.charter

    @property
    def settings(self) -> Settings:
        return self.partner.settings

    @property
    def folder(self) -> Path:
        return self.partner.folder

    def stop(self) -> None:
        """Let `follow` and `watch` end after the attempt under way; may be called from another thread."""
        self._stopping.set()

    # --- campaigns and states -------------------------------------------------------------------------

    def campaign(self, digest: str) -> Campaign:
        """A campaign in force under the pinned charter, verified; pinned at its first use. Waits for it once."""
        return campaigns.pinned(self.partner, digest)

    def find_campaign(self, wanted: str | None) -> Campaign:
        """By digest or name; None: the one that is in force. Raises NotFound, ConfigurationError if several are."""
        return campaigns.find(self.partner, wanted)

    def current_state(self, campaign: Campaign) -> ModelState:
        """What this partner goes on from: the newest state on its disk, else the genesis, fetched and kept."""
        held = states.StateFolder(self.partner, campaign.digest).newest()
        return held if held is not None else self.fetch_state(campaign, campaign.genesis)

    def publish_genesis(self, draft: Campaign, state: ModelState) -> Signed[Campaign]:
        """The lead's part: sign the campaign whose genesis is `state`, post it, and box the state to everyone.

        Raises WeakerThanCharter where draft, charter and state do not belong together. Harmless to call again.
        """
        return campaigns.publish_genesis(self.partner, draft, state)

    def fetch_state(self, campaign: Campaign, state_digest: str) -> ModelState:
        """The genesis, or a state that t partners confirmed, from the disk or from a partner; kept on disk.

        Raises WeakerThanCharter for a state that does not count.
        """
        return campaigns.fetch_state(self.partner, campaign, state_digest)

    def serve_states(self, campaign: Campaign) -> int:
        """Answer other partners' state-requests; how many were answered."""
        return states.answer_requests(self.partner, campaign)

    # --- rounds ---------------------------------------------------------------------------------------

    def follow(self, campaign: Campaign, state: ModelState, until: int | None = None) -> Iterator[Attempt]:
        """Attempts to take part in, as they come. Between two of them the caller joins, contributes and finishes.

        Ends after `stop`, or once this partner's state is that of round `until`; where a crash had cut the last
        round off, that is without an attempt: `current_state` has the state. Raises PolicyRefused,
        BudgetExhausted, RolledBack, LedgerBroken.
        """
        for item in self.attend(campaign, state, take_part=True, until=until):
            if isinstance(item, Attempt):
                yield item

    def watch(self, campaign: Campaign, state: ModelState) -> Iterator[Outcome]:
        """Outcomes of rounds in which this partner does not train: it opens what it must, decodes and confirms."""
        for item in self.attend(campaign, state, take_part=False):
            if isinstance(item, Outcome):
                yield item

    def attend(
        self, campaign: Campaign, state: ModelState, take_part: bool, until: int | None = None
    ) -> Iterator[Attempt | Outcome]:
        """What `follow` and `watch` are made of: attempts to take part in, and outcomes of those seen through here.

        An outcome comes as soon as it is there, also one of an attempt that a crash cut off, or that the caller
        left; it then stands in the next attempt's `before` as well.
        """
        states.StateFolder(self.partner, campaign.digest).keep(state)
        following = self._following(campaign, state)
        following.state = state
        yield from following.attend(take_part, until)

    def join(self, attempt: Attempt) -> JoinedAttempt:
        """Join and wait for the cohort; charged from here on.

        Raises AttemptOver where no cohort with this partner came: nothing is charged, `follow` goes on.
        """
        return joining.join(self.partner, attempt, self._meters.of(attempt.round_digest))

    def contribute(self, joined: JoinedAttempt, values: NDArray[np.int32]) -> None:
        """Encrypt int32[layout.length], write it down, upload it; once for an attempt.

        An upload that comes too late is lost and stays charged; that is said through `progress`, not raised.
        Raises Conflict for a second contribution, OutOfRange, StorageFull.
        """
        with self._meters.of(joined.round_digest).phase("encrypt", f"round {joined.plan.round}"):
            upload.prepare(self.partner, joined, values, self._upload_shard_bytes())
        with self._meters.of(joined.round_digest).phase("upload", f"round {joined.plan.round}"):
            upload.send(self.partner, joined.round_digest)

    def finish(self, joined: JoinedAttempt) -> Outcome:
        """Wait for the seal, open, decode, apply, confirm; the outcome's state is the one to go on from."""
        return self._followed[joined.attempt.campaign.digest].finish(joined.attempt.signed_plan)

    def check_records(self, records: int) -> None:
        """Whether the charter's delta is small enough for so many records. Raises UnsafeParameters."""
        self.policy.check_records(self.charter, self.partner.name, records)

    def notice(self, text: str) -> None:
        self.partner.progress.notice(text)

    def keystream_for(self, joined: JoinedAttempt, purpose: str) -> Keystream:
        """A keystream for this attempt alone: its seed is hedged with the device secret, R and J (protocol 5.1)."""
        seed = hedged_seed(
            self.partner.outside.source,
            self.partner.keys.device_secret,
            purpose,
            bytes.fromhex(joined.round_digest),
            bytes.fromhex(joined.cohort_digest),
        )
        return Keystream(seed)

    def _following(self, campaign: Campaign, state: ModelState) -> Following:
        if campaign.digest not in self._followed:
            self._followed[campaign.digest] = Following(
                self.partner, self.policy, self._meters, self._stopping, campaign, state
            )
        return self._followed[campaign.digest]

    def _upload_shard_bytes(self) -> int:
        if self._shard_bytes is None:
            self._shard_bytes = self.partner.service.about().limits.shard_bytes
        return self._shard_bytes
