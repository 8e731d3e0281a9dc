"""One campaign followed: what this partner does about each of its attempts, and the state it stands on meanwhile.

Rules:
1. An attempt is handed out only after its plan has passed the pinned charter, the campaign, this machine's policy
   and the own budget, and starts from the very state that this partner holds.
2. What a crash cut off is finished first: stored bytes are sent again, an opening is sent again, a state is
   confirmed. A charged attempt is never trained for twice; if its upload was not finished it stays charged.
3. Rounds that others finished meanwhile are decoded from what the service stores; where that is gone, the state is
   fetched from a partner, and counts only if t partners confirmed it.
Between two attempts the caller joins, contributes and finishes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from client_sdk import campaigns, joining, states, upload
from client_sdk.answers import RoundDocument
from client_sdk.attempt import Attempt, Outcome
from client_sdk.finish import Finisher, mechanism_of
from client_sdk.meter import Meters
from client_sdk.model_state import ModelState
from client_sdk.partner import Partner
from client_sdk.policy import Policy
from client_sdk.transport import LONG_POLL_SECONDS
from privacy.protocol.messages import Campaign, Plan, Signed
from privacy.protocol.plan_checks import check_plan
from privacy.protocol.round_state import RoundState


class Following:
    """The attempts of `campaign`, from `state` on, until `stopping` is set."""

    def __init__(
        self,
        partner: Partner,
        policy: Policy,
        meters: Meters,
        stopping: threading.Event,
        campaign: Campaign,
        state: ModelState,
    ) -> None:
        self._partner = partner
        self._policy = policy
        self._meters = meters
        self._stopping = stopping
        self.campaign = campaign
        self.state = state

    def attend(self, take_part: bool, until: int | None) -> Iterator[Attempt | Outcome]:
        """Attempts to take part in, and outcomes of those seen through here; see `Agent.attend`."""
        position = 0
        before: tuple[Outcome, ...] = ()
        while not self._over(until):
            lines = self._partner.service.rounds(self.campaign.digest, position, LONG_POLL_SECONDS)
            states.answer_requests(self._partner, self.campaign)
            for line in lines:
                position += 1
                if self._settled(line.round, line.number):
                    continue
                item = self._look(line.round, take_part, before)
                if isinstance(item, Attempt):
                    before = ()
                    yield item
                    if self._settled(line.round, line.number):
                        item = None
                    else:
                        item = self._see_through(self._partner.service.round(line.round))
                if isinstance(item, Outcome):
                    before += (item,) if take_part else ()
                    yield item
                if self._over(until):
                    return

    def finish(self, plan: Signed[Plan]) -> Outcome:
        """Wait for the seal, open, decode, apply, confirm; from here on this partner holds the outcome's state."""
        outcome = Finisher(self._partner, self.campaign, plan, self.state, self._meters.of(plan.digest)).run()
        self.state = outcome.state
        self._meters.end(plan.digest)
        return outcome

    def _over(self, until: int | None) -> bool:
        reached = until is not None and self.state.round >= until
        return reached or self._stopping.is_set()

    def _settled(self, round_digest: str, number: int) -> bool:
        """Whether nothing is left to do here for an attempt."""
        record = self._partner.journal.record(round_digest)
        if record is not None and record.ending is not None:
            return True
        if record is not None and record.cohort is not None:
            return False
        # Of a round that is behind, without this partner in it, not even the state it started from is at hand.
        return number <= self.state.round

    def _look(self, round_digest: str, take_part: bool, before: tuple[Outcome, ...]) -> Attempt | Outcome | None:
        """What to do about one attempt: hand it out, see it through here, or (None) nothing."""
        document = self._partner.service.round(round_digest)
        plan = check_plan(document.plan, self._partner.charter, self.campaign, self._partner.verifier)
        record = self._partner.journal.record(round_digest)
        if record is None and document.state in (RoundState.CLOSED, RoundState.VOID):
            return None
        self._stand_on(plan.base_state)
        if self._may_train(document, take_part):
            if not self._partner.ledger_watch.compared:
                self._partner.ledger_watch.sync(self._partner.service)
            self._policy.check_plan(plan, self._partner.charter)
            return Attempt(
                signed_plan=document.plan,
                campaign=self.campaign,
                mechanism=mechanism_of(self._partner, plan, self.campaign),
                layout=self._partner.lanes(plan),
                state=self.state,
                before=before,
            )
        return self._see_through(document)

    def _see_through(self, document: RoundDocument) -> Outcome:
        """Finish an attempt without training: what is stored is sent, and what there is to open and decode is."""
        if not document.state.ended:
            # Afterwards there is nothing to train or open for, and what made this cohort refused is no hindrance.
            joining.accept(self._partner, document)
        record = self._partner.journal.record(document.round)
        if record is not None and record.manifest is not None:
            with self._meters.of(document.round).phase("upload", "stored"):
                upload.send(self._partner, document.round)
        return self.finish(document.plan)

    def _may_train(self, document: RoundDocument, take_part: bool) -> bool:
        """Rule 2: joined or not, an attempt is handed out only until its cohort was accepted."""
        record = self._partner.journal.record(document.round)
        if not take_part or (record is not None and record.cohort is not None):
            return False
        joined = record is not None and record.signed_join is not None
        return document.state is RoundState.JOINING or (joined and document.state is RoundState.UPLOADING)

    def _stand_on(self, base: str) -> None:
        """Hold the state that a plan starts from: the current one, an older one on disk, or one fetched."""
        if self.state.digest != base:
            self._partner.progress.notice(f"going on from state {base[:16]}, which the next plan names")
            self.state = campaigns.fetch_state(self._partner, self.campaign, base)
