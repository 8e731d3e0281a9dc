"""The conductor: signs each plan of a campaign once the last round is confirmed (protocol 3).

Rules:
1. One at a time: a lease at the service, renewed while waiting, and a lock on the operator's folder.
2. A plan is in the operator's own record before it is posted (plan_record); after a crash the records say where
   to go on (next_step), so nothing is kept in memory that matters.
3. What a plan starts from is verified, not believed (trusted); so is that earlier attempts of its round have ended.
4. An attempt that does not end is ended: where nothing has changed since its open deadline for as long as was given
   to open, and OVERDUE_SECONDS at least, it is aborted, and that is an alarm.
It shows nothing itself: a `Watcher` is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aggregator.operator.answers import RoundDocument, RoundSummary
from aggregator.operator.client import OperatorClient
from aggregator.operator.next_step import (
    AbortLate,
    Await,
    Finished,
    Post,
    Propose,
    Recorded,
    RoundKind,
    next_step,
)
from aggregator.operator.plan_record import PlanRecord
from aggregator.operator.planning import Phases, check_room, kind_of, signed_plan
from aggregator.operator.trusted import ConfirmedRound, closed_round, confirmed_round, void_round
from privacy.clock import Clock
from privacy.dp.events import TableRow
from privacy.errors import ChoraleError, WeakerThanCharter, WrongState
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort, Campaign, Charter, Plan, Signed, VectorLayout
from privacy.protocol.round_state import RoundState
from privacy.protocol.signing import SigningKey, Verifier, sign

LEASE_SECONDS = 120
# How often who watches sees what partners did within one state.
REFRESH_SECONDS = 2
# A shorter silence after the last deadline may be a partner that is still decoding.
OVERDUE_SECONDS = 300


class Watcher(Protocol):
    """Told what happens, in order; times are the caller's business."""

    def proposed(self, plan: Plan) -> None: ...

    def changed(self, document: RoundDocument) -> None: ...

    def ended(self, document: RoundDocument) -> None: ...

    def notice(self, text: str) -> None: ...


@dataclass(frozen=True)
class Assignment:
    """What is to be conducted. last_round: the number of the last round to be confirmed; of a row of kind
    *statistics* how many rounds are to be."""

    charter: Charter
    campaign: Signed[Campaign]
    row: TableRow
    layout: VectorLayout
    phases: Phases
    last_round: int
    max_attempts: int


class Conductor:
    """One campaign, until its last round is confirmed. holder: this conductor's name on the lease."""

    def __init__(
        self,
        client: OperatorClient,
        record: PlanRecord,
        key: SigningKey,
        assignment: Assignment,
        holder: str,
        clock: Clock,
        verifier: Verifier,
        watcher: Watcher,
    ) -> None:
        self._client = client
        self._record = record
        self._key = key
        self._assignment = assignment
        self._campaign = assignment.campaign.digest
        self._holder = holder
        self._clock = clock
        self._verifier = verifier
        self._watcher = watcher
        self._renew_at = 0.0
        self._kinds: dict[str, RoundKind] = {}
        # (round, version) of the document that is waited on, and since when it has been so.
        self._unchanged: tuple[tuple[str, int], float] | None = None

    def run(self) -> None:
        """Raises Conflict while another conducts, BudgetExhausted, RolledBack, WrongState after max_attempts."""
        self._renew()
        try:
            while self._once():
                pass
        finally:
            self._release()

    def _once(self) -> bool:
        recorded = [_recorded(held.plan.body, held.posted) for held in self._record.of_campaign(self._campaign)]
        attempts = self._client.rounds(self._campaign)
        step = next_step(
            attempts,
            recorded,
            last_round=self._assignment.last_round,
            max_attempts=self._assignment.max_attempts,
            now=self._clock.now(),
            kind=kind_of(self._assignment.row),
            statistics=self._statistics(attempts, recorded),
        )
        match step:
            case Finished():
                return False
            case Await(round_digest):
                self._await(round_digest)
            case Post(round_digest):
                self._post(round_digest)
            case AbortLate(round_digest):
                self._abort_late(round_digest)
            case Propose():
                self._propose(step)
        return True

    def _propose(self, step: Propose) -> None:
        work = self._assignment
        self._check_ended(step.number)
        base = work.campaign.body.genesis if step.after is None else self._confirmed_state(step)
        check_room(work.charter, work.row, self._client.budgets())
        signed = signed_plan(
            work.charter,
            work.campaign,
            work.row,
            work.layout,
            number=step.number,
            attempt=step.attempt,
            base_state=base,
            deadlines=work.phases.deadlines(self._clock.now()),
            key=self._key,
            verifier=self._verifier,
        )
        self._renew()
        self._record.add(signed)
        self._post(signed.digest)

    def _statistics(self, attempts: Sequence[RoundSummary], recorded: Sequence[Recorded]) -> set[str]:
        """R of the statistics rounds among the attempts: the service's list does not tell, their plans do.

        Plans that are not in this folder's record are asked for: all of them to count statistics rounds, else those
        of the newest two numbers, for a round before these was trained, or there would be none after it.
        """
        self._kinds |= {plan.round: plan.kind for plan in recorded}
        newest = max((attempt.number for attempt in attempts), default=0)
        oldest = 0 if kind_of(self._assignment.row) == "statistics" else newest - 1
        for attempt in attempts:
            if attempt.round not in self._kinds and attempt.number >= oldest:
                signed = self._client.round(attempt.round).plan
                plan = self._verifier.verify(signed, {OPERATOR: self._assignment.charter.operator_keys})
                if plan.digest != attempt.round:
                    raise WeakerThanCharter(
                        f"the plan of attempt {attempt.round[:16]}",
                        f"another's, {plan.digest[:16]}",
                        "the service tells one plan for another: do not go on",
                    )
                self._kinds[attempt.round] = plan.kind
        return {digest for digest, kind in self._kinds.items() if kind == "statistics"}

    def _confirmed(self, round_digest: str) -> ConfirmedRound:
        work = self._assignment
        return confirmed_round(
            self._client.round(round_digest),
            self._client.cohort(round_digest),
            self._client.confirmations(round_digest),
            work.charter,
            work.campaign.body,
            self._verifier,
        )

    def _confirmed_state(self, step: Propose) -> str:
        assert step.after is not None
        confirmed = self._confirmed(step.after)
        if confirmed.plan.round != step.number - 1 or confirmed.plan.kind != "training":
            raise WeakerThanCharter(
                f"training round {step.number - 1}",
                f"the plan of {confirmed.plan.kind} round {confirmed.plan.round}",
                "the service lists an attempt under another's number: do not go on",
            )
        return confirmed.state

    def _check_ended(self, number: int) -> None:
        charter = self._assignment.charter
        for line in self._client.rounds(self._campaign):
            if line.number != number:
                continue
            document = self._client.round(line.round)
            if document.state is RoundState.CONFIRMED and self._kinds.get(line.round) == "statistics":
                self._confirmed(line.round)
            elif document.state is RoundState.CLOSED:
                closed_round(document, charter, self._verifier)
            else:
                cohort, votes = self._client.cohort(line.round), self._client.void_votes(line.round)
                void_round(document, cohort, votes, charter, self._verifier)

    def _post(self, round_digest: str) -> None:
        held = next(h for h in self._record.of_campaign(self._campaign) if h.plan.digest == round_digest)
        self._client.post_plan(held.plan)
        self._record.mark_posted(round_digest)
        self._watcher.proposed(held.plan.body)

    def _abort_late(self, round_digest: str) -> None:
        self._watcher.notice(
            "an earlier attempt of this round was confirmed late: aborting the one that is joining"
        )
        self._abort(round_digest, "an earlier attempt of this round was confirmed")

    def _abort(self, round_digest: str, reason: str) -> None:
        abort = Abort(charter=self._assignment.charter.digest, plan=round_digest, reason=reason)
        try:
            self._client.abort(sign(abort, OPERATOR, self._key))
        except WrongState as error:
            self._watcher.notice(f"too late to abort it: {error.came}")

    def _await(self, round_digest: str) -> None:
        document = self._client.round(round_digest)
        parted = False
        while not document.state.ended:
            self._watcher.changed(document)
            parted = parted or self._parted(document)
            if self._overdue(document):
                self._watcher.notice(
                    f"ALARM: round {document.number}, attempt {document.attempt} is {document.state} long after its"
                    f" deadlines: {len(document.openings)} openings, {len(document.confirmations)} confirmations,"
                    f" {len(document.voids)} void votes. Aborting it; what it cost stays charged"
                )
                self._abort(round_digest, "it did not end by itself after its open deadline")
            self._renew()
            document = self._client.round_past(document, REFRESH_SECONDS)
            if document.state is RoundState.JOINING and document.attempt > 1:
                return  # an earlier attempt may be confirmed while this one joins: next_step is to look again
        self._watcher.ended(document)

    def _parted(self, document: RoundDocument) -> bool:
        if document.state is RoundState.OPENING and len(set(document.confirmations.values())) > 1:
            self._watcher.notice(f"ALARM: partners confirm different states of round {document.number}")
            return True
        return False

    def _overdue(self, document: RoundDocument) -> bool:
        """Rule 4; once for each time that it was waited for."""
        now, deadlines = self._clock.now(), document.plan.body.deadlines
        seen = (document.round, document.version)
        if self._unchanged is None or self._unchanged[0] != seen:
            self._unchanged = (seen, now)
        patience = max(OVERDUE_SECONDS, deadlines.open - deadlines.upload)
        if now <= max(deadlines.open, self._unchanged[1]) + patience:
            return False
        self._unchanged = (seen, now)
        return True

    def _renew(self) -> None:
        now = self._clock.now()
        if now >= self._renew_at:
            self._client.lease(self._campaign, self._holder, LEASE_SECONDS)
            self._renew_at = now + LEASE_SECONDS / 3

    def _release(self) -> None:
        try:
            self._client.lease(self._campaign, self._holder, 0)
        except ChoraleError as error:
            self._watcher.notice(f"the lease could not be given back and ends by itself: {error.came}")


def _recorded(plan: Plan, posted: bool) -> Recorded:
    return Recorded(plan.digest, plan.round, plan.attempt, plan.deadlines.join, posted, plan.kind)
