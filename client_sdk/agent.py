"""The partner's agent: follows a campaign, takes part in its attempts, and keeps the model in step.

Rules:
1. It yields an attempt only after the plan has passed the pinned charter, the campaign, this machine's policy and
   the own budget, and starts from the very state that this partner holds.
2. What a crash cut off is finished first: stored bytes are sent again, an opening is sent again, a state is
   confirmed. A charged attempt is never trained for twice; if its upload was not finished it stays charged.
3. Rounds that others finished meanwhile are decoded from what the service stores; where that is gone, the state is
   fetched from a partner, and counts only if t partners confirmed it.
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
from client_sdk.answers import RoundDocument
from client_sdk.attempt import Attempt, JoinedAttempt, Outcome
from client_sdk.finish import Finisher, mechanism_of
from client_sdk.keystore import Passphrase
from client_sdk.meter import Meter
from client_sdk.model_state import ModelState
from client_sdk.partner import Outside, Partner
from client_sdk.policy import Policy
from client_sdk.progress import Progress, Silent
from client_sdk.settings import Settings
from client_sdk.transport import LONG_POLL_SECONDS
from privacy.clock import Clock, SystemClock
from privacy.errors import WeakerThanCharter
from privacy.protocol.messages import Campaign, Charter, Plan, Signed
from privacy.protocol.plan_checks import check_plan
from privacy.protocol.round_state import RoundState
from privacy.randomness import Keystream, RandomSource, SystemRandom, hedged_seed


class Agent:
    """One open partner folder. Use as a context manager, one process at a time."""

    def __init__(self, partner: Partner) -> None:
        self.partner = partner
        self.policy = Policy(partner.settings, partner.journal, partner.own_ledger)
        self._meters: dict[str, Meter] = {}
        self._states: dict[str, ModelState] = {}
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
        if draft.genesis != state.digest or draft.charter != self.charter.digest:
            raise WeakerThanCharter(
                f"a campaign under charter {self.charter.digest[:16]} with genesis {state.digest[:16]}",
                f"charter {draft.charter[:16]}, genesis {draft.genesis[:16]}",
                "draft it from this state and this charter",
            )
        state.check(draft)
        states.StateFolder(self.partner, draft.digest).keep(state)
        signed = self.partner.sign(draft)
        self.partner.service.post_campaign(signed)
        states.publish(self.partner, draft, state)
        return signed

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
        self._states[campaign.digest] = state
        position = 0
        before: tuple[Outcome, ...] = ()
        while not self._over(campaign, until):
            lines = self.partner.service.rounds(campaign.digest, position, LONG_POLL_SECONDS)
            self.serve_states(campaign)
            for line in lines:
                position += 1
                if self._settled(line.round, line.number, campaign):
                    continue
                item = self._look(campaign, line.round, take_part, before)
                if isinstance(item, Attempt):
                    before = ()
                    yield item
                    if self._settled(line.round, line.number, campaign):
                        item = None
                    else:
                        item = self._see_through(campaign, self.partner.service.round(line.round))
                if isinstance(item, Outcome):
                    before += (item,) if take_part else ()
                    yield item
                if self._over(campaign, until):
                    return

    def _over(self, campaign: Campaign, until: int | None) -> bool:
        reached = until is not None and self._states[campaign.digest].round >= until
        return reached or self._stopping.is_set()

    def _settled(self, round_digest: str, number: int, campaign: Campaign) -> bool:
        """Whether nothing is left to do here for an attempt."""
        record = self.partner.journal.record(round_digest)
        if record is not None and record.ending is not None:
            return True
        if record is not None and record.cohort is not None:
            return False
        # Of a round that is behind, without this partner in it, not even the state it started from is at hand.
        return number <= self._states[campaign.digest].round

    def _look(
        self, campaign: Campaign, round_digest: str, take_part: bool, before: tuple[Outcome, ...]
    ) -> Attempt | Outcome | None:
        """What to do about one attempt: hand it out, see it through here, or (None) nothing."""
        document = self.partner.service.round(round_digest)
        plan = check_plan(document.plan, self.charter, campaign, self.partner.verifier)
        record = self.partner.journal.record(round_digest)
        if record is None and document.state in (RoundState.CLOSED, RoundState.VOID):
            return None
        self._stand_on(campaign, plan.base_state)
        if self._may_train(document, take_part):
            if not self.partner.ledger_watch.compared:
                self.partner.ledger_watch.sync(self.partner.service)
            self.policy.check_plan(plan, self.charter)
            return Attempt(
                signed_plan=document.plan,
                campaign=campaign,
                mechanism=mechanism_of(self.partner, plan, campaign),
                layout=self.partner.lanes(plan),
                state=self._states[campaign.digest],
                before=before,
            )
        return self._see_through(campaign, document)

    def _see_through(self, campaign: Campaign, document: RoundDocument) -> Outcome:
        """Finish an attempt without training: what is stored is sent, and what there is to open and decode is."""
        if not document.state.ended:
            # Afterwards there is nothing to train or open for, and what made this cohort refused is no hindrance.
            joining.accept(self.partner, document)
        record = self.partner.journal.record(document.round)
        if record is not None and record.manifest is not None:
            with self._meter(document.round).phase("upload", "stored"):
                upload.send(self.partner, document.round)
        return self._finish(campaign, document.plan)

    def _may_train(self, document: RoundDocument, take_part: bool) -> bool:
        """Rule 2: joined or not, an attempt is handed out only until its cohort was accepted."""
        record = self.partner.journal.record(document.round)
        if not take_part or (record is not None and record.cohort is not None):
            return False
        joined = record is not None and record.signed_join is not None
        return document.state is RoundState.JOINING or (joined and document.state is RoundState.UPLOADING)

    def _stand_on(self, campaign: Campaign, base: str) -> None:
        """Hold the state that a plan starts from: the current one, an older one on disk, or one fetched."""
        if self._states[campaign.digest].digest != base:
            self.partner.progress.notice(f"going on from state {base[:16]}, which the next plan names")
            self._states[campaign.digest] = self.fetch_state(campaign, base)

    def join(self, attempt: Attempt) -> JoinedAttempt:
        """Join and wait for the cohort; charged from here on.

        Raises AttemptOver where no cohort with this partner came: nothing is charged, `follow` goes on.
        """
        return joining.join(self.partner, attempt, self._meter(attempt.round_digest))

    def contribute(self, joined: JoinedAttempt, values: NDArray[np.int32]) -> None:
        """Encrypt int32[layout.length], write it down, upload it; once for an attempt.

        An upload that comes too late is lost and stays charged; that is said through `progress`, not raised.
        Raises Conflict for a second contribution, OutOfRange, StorageFull.
        """
        with self._meter(joined.round_digest).phase("encrypt", f"round {joined.plan.round}"):
            upload.prepare(self.partner, joined, values, self._upload_shard_bytes())
        with self._meter(joined.round_digest).phase("upload", f"round {joined.plan.round}"):
            upload.send(self.partner, joined.round_digest)

    def finish(self, joined: JoinedAttempt, state: ModelState) -> Outcome:
        """Wait for the seal, open, decode, apply, confirm; the outcome's state is the one to go on from.

        `state`: the one that the attempt's plan starts from (`joined.attempt.state`).
        """
        del state  # the agent holds it, checked against the plan, since the attempt was handed out
        return self._finish(joined.attempt.campaign, joined.attempt.signed_plan)

    def _finish(self, campaign: Campaign, plan: Signed[Plan]) -> Outcome:
        meter = self._meter(plan.digest)
        base = self._states[campaign.digest]
        outcome = Finisher(self.partner, campaign, plan, base, meter).run()
        self._states[campaign.digest] = outcome.state
        del self._meters[plan.digest]
        return outcome

    def check_records(self, records: int) -> None:
        """Whether the charter's delta is small enough for so many records. Raises UnsafeParameters."""
        self.policy.check_records(self.charter, self.partner.name, records)

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

    # --- housekeeping ---------------------------------------------------------------------------------

    def _meter(self, round_digest: str) -> Meter:
        if round_digest not in self._meters:
            self._meters[round_digest] = Meter(
                self.partner.outside.clock, self.partner.progress, self.partner.transport.traffic
            )
        return self._meters[round_digest]

    def _upload_shard_bytes(self) -> int:
        if self._shard_bytes is None:
            self._shard_bytes = self.partner.service.about().limits.shard_bytes
        return self._shard_bytes
