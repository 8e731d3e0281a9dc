"""The rounds of a campaign, one after the other, with a model kept in step.

Rules:
1. Before the loop body the model is what the consortium agreed on; after the round it is what came of it. In the
   body it is an ordinary torch module, without hooks: evaluate or save it there.
2. Nothing is joined before the model was tried once (`training.check_trainable`): the first round of a loop is
   joined inside `contribute`, later ones before the body, so that waiting and evaluating overlap.
3. A partner that joined and did not contribute uploads noise, also when the body raised an error.
4. Shared and private parameters are overwritten together, from what is on disk.
Joining, encryption, opening, decoding and the ledger are the agent's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from client_sdk.attempt import Attempt, JoinedAttempt, Outcome
from client_sdk.model_state import ModelState
from client_sdk.per_record import BLOCK, LossFunction, Records, TrainSet
from client_sdk.private_heads import PrivateHeads
from client_sdk.round_agent import RoundAgent
from client_sdk.shared_parameters import (
    ParameterSplit,
    Shared,
    check_campaign_model,
    flatten,
    load,
    split_parameters,
)
from client_sdk.training import (
    DEFAULT_HOME_RATE,
    Contribution,
    Streams,
    Training,
    check_trainable,
    contribution,
    statistics_contribution,
)
from privacy.dp.mechanism import PROBES
from privacy.dp.privatise import private_mean
from privacy.errors import AttemptOver, UnsafeParameters, WrongState
from privacy.protocol.messages import Campaign, Plan
from privacy.protocol.plan_checks import check_noise_error
from privacy.randomness import Keystream


@dataclass(frozen=True)
class Pace:
    """How this machine trains. block: records in a padded block. threads: torch's. home_rate: see `Training`."""

    block: int = BLOCK
    threads: int = 1
    home_rate: float = DEFAULT_HOME_RATE


class Round:
    """One attempt of one round, as the loop body sees it."""

    def __init__(self, rounds: Rounds, attempt: Attempt) -> None:
        self._rounds = rounds
        self.attempt = attempt
        self.joined: JoinedAttempt | None = None
        self.contributed = False
        self.over = False
        self.outcome: Outcome | None = None

    @property
    def plan(self) -> Plan:
        return self.attempt.plan

    @property
    def number(self) -> int:
        return self.plan.round

    @property
    def kind(self) -> str:
        """`training` or `statistics`."""
        return self.plan.kind

    @property
    def state(self) -> ModelState:
        """What the round starts from; once it ended, what to go on from."""
        return self.attempt.state if self.outcome is None else self.outcome.state

    def contribute(self, train_set: TrainSet, loss_fn: LossFunction) -> None:
        """Train on a Poisson batch of `train_set`, privatise, encrypt, upload.

        train_set: tensors with a row for each record, or a map-style dataset. loss_fn(model, batch): one loss a
        record, shape [b]; the batch is a tuple of tensors [b, ...]. Raises UnsupportedModel, before anything is
        joined in the first round of a loop; WrongState if called twice. Where the attempt ended before a cohort
        with this partner came, nothing is trained and `over` says so. A statistics round takes nothing of the
        training set: this partner's noise goes into it, so that a loop outlives an audit between its rounds.
        """
        if self.kind == "statistics":
            self._rounds.agent.notice(
                f"round {self.number} is a statistics round: this partner adds noise, and no record"
            )
            return
        self._require("training")
        self._rounds.train(self, Records(train_set), loss_fn)

    def contribute_statistics(self, vectors: NDArray[np.float32]) -> None:
        """For a statistics round: float32[records, d], one vector a record, clipped in norm like a gradient."""
        self._require("statistics")
        mechanism = self.attempt.mechanism
        if mechanism is None:
            raise UnsafeParameters("a noised statistics plan", self.plan.event.kind, "refuse this plan")
        self._rounds.agent.check_records(len(vectors))
        if self.try_join():
            streams = self._rounds.streams(self.join())
            self.upload(statistics_contribution([vectors], mechanism, streams))

    def join(self) -> JoinedAttempt:
        """Join, once; waits for the cohort. Raises AttemptOver where none with this partner came."""
        if self.over:
            raise AttemptOver("an attempt under way", "one that ended without this partner", "take the next")
        if self.joined is None:
            self.joined = self._rounds.agent.join(self.attempt)
        return self.joined

    def try_join(self) -> bool:
        """Join; False where the attempt ended without this partner: nothing is charged, the loop goes on."""
        if not self.over:
            try:
                self.join()
            except AttemptOver:
                self.over = True
        return not self.over

    def upload(self, made: Contribution) -> None:
        """Hand over what was made; what it means for private parameters is on disk before."""
        joined = self.join()
        self._rounds.prepare_private(self, made)
        self.contributed = True  # even if the upload fails: this attempt is not trained for again
        self._rounds.agent.contribute(joined, made.values)

    def _require(self, kind: str) -> None:
        if self.kind != kind or self.contributed or self.outcome is not None:
            raise WrongState(
                f"one contribution to a {kind} round that is under way",
                f"a {self.kind} round, {'contributed to' if self.contributed else 'not contributed to'} before",
                "contribute once in the loop body, by the method of the round's kind",
            )


class Rounds:
    """Iterates over the rounds of a campaign; made by `Consortium.rounds`."""

    def __init__(
        self,
        agent: RoundAgent,
        campaign: Campaign,
        state: ModelState,
        model: nn.Module,
        shared: Shared,
        until: int | None,
        pace: Pace,
    ) -> None:
        self.agent = agent
        self.campaign = campaign
        self.state = state
        self._model = model
        self._until = until
        self._pace = pace
        self._split: ParameterSplit = split_parameters(model, shared)
        check_campaign_model(model, self._split, campaign)
        if self._split.private:
            private = flatten(model, self._split.private).size
            check_noise_error(agent.charter, campaign.length + PROBES, private)
        initial = flatten(model, self._split.private)
        self._private = PrivateHeads(agent.folder, campaign.digest, campaign.update_rule, initial)
        self._attempts: Iterator[Attempt] | None = None
        self._round: Round | None = None
        self._tried = False
        self._overwrite(state)

    def __iter__(self) -> Rounds:
        return self

    def __next__(self) -> Round:
        self.settle()
        if self._until is not None and self.state.round >= self._until:
            raise StopIteration
        if self._attempts is None:
            self._attempts = self.agent.follow(self.campaign, self.state, self._until)
        while True:
            try:
                attempt = next(self._attempts)
            except StopIteration:
                # The last round may have been seen through on the way here, after a crash.
                self._overwrite(self.agent.current_state(self.campaign))
                raise
            for outcome in attempt.before:
                self._private.settle(outcome.round_digest, outcome.state if outcome.confirmed else None)
            self._overwrite(attempt.state)
            current = Round(self, attempt)
            if not self._tried or current.try_join():
                self._round = current
                return current

    def recover(self, ended: Mapping[str, str | None]) -> None:
        """After a crash between a confirmation and what followed it. ended: the state after each attempt, by R."""
        self._private.recover(ended, self.state)
        self._overwrite(self.state)

    def settle(self) -> None:
        """End the round under way: noise if nothing was contributed, then wait for its outcome."""
        current, self._round = self._round, None
        if current is None or not current.try_join():
            return
        self.upload_noise(current)
        current.outcome = self.agent.finish(current.join())
        self._private.settle(
            current.outcome.round_digest, current.outcome.state if current.outcome.confirmed else None
        )
        self._overwrite(current.outcome.state)

    def abandon(self) -> None:
        """The loop body failed: noise for an attempt that was joined, and no waiting."""
        current, self._round = self._round, None
        if current is not None and current.joined is not None:
            self.upload_noise(current)

    def train(self, current: Round, records: Records, loss_fn: LossFunction) -> None:
        self.agent.check_records(len(records))
        training = self._training(records, loss_fn)
        attempt = current.attempt
        if not self._tried:
            check_trainable(training, self.campaign, attempt.plan, attempt.mechanism)
            self._tried = True
        if current.try_join():
            current.upload(self._make(training, current.join()))

    def upload_noise(self, current: Round) -> None:
        if current.contributed:
            return
        joined = current.join()
        if current.kind == "statistics":
            mechanism = current.attempt.mechanism
            assert mechanism is not None  # every statistics plan is noised: the agent checked it
            empty = np.zeros((0, mechanism.dimension), dtype=np.float32)
            made = statistics_contribution([empty], mechanism, self.streams(joined))
        else:
            made = self._make(self._training(Records(None), None), joined)
        current.upload(Contribution(made.values))

    def streams(self, joined: JoinedAttempt) -> Streams:
        def stream(purpose: str) -> Keystream:
            return self.agent.keystream_for(joined, purpose)

        return Streams(sample=stream("sample"), noise=stream("noise"), layers=stream("layers"))

    def prepare_private(self, current: Round, made: Contribution) -> None:
        """The private denominator is the campaign's over the size of the roster: public, and one for all."""
        if made.private_gradient is not None:
            denominator = self.campaign.denominator / self.agent.charter.n_max
            mean = private_mean(made.private_gradient, denominator)
            self._private.prepare_gradient(current.attempt.round_digest, mean)
        elif made.private_values is not None:
            self._private.prepare_values(current.attempt.round_digest, made.private_values)

    def _make(self, training: Training, joined: JoinedAttempt) -> Contribution:
        attempt = joined.attempt
        return contribution(
            training,
            self.campaign,
            attempt.plan,
            attempt.mechanism,
            attempt.layout.offset,
            self.streams(joined),
        )

    def _training(self, records: Records, loss_fn: LossFunction | None) -> Training:
        pace = self._pace
        return Training(self._model, self._split, loss_fn, records, pace.block, pace.threads, pace.home_rate)

    def _overwrite(self, state: ModelState) -> None:
        self.state = state
        self._private.follow(state)
        load(self._model, self._split.shared, state.parameters)
        if self._split.private:
            load(self._model, self._split.private, self._private.values)
