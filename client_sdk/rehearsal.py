"""A rehearsal at home: the code that trains, run on canaries alone. It charges nothing and sends nothing.

Rules:
1. Everything between a record and an opened sum is what rounds use: `training.contribution` with Opacus's
   hooks, clipping, the sample, the integer noise, the lanes; the lanes of all contributors are added and taken
   apart. Encryption is left out: it is exact, or refuses.
2. Canary i's gradient lies along coordinate i alone and is a thousand times longer than the clip: it counts as
   one clip's length, or clipping is broken.
3. A fair coin decides whether a canary takes part. Coins come from the one door to randomness, and are looked at
   only after the sum is there.
4. All h contributors are played here, the other h - 1 without records: the sum has the noise that the claim is
   about.
What the sum says is for privacy/dp/audit.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client_sdk.per_record import Batch, Records
from client_sdk.shared_parameters import shapes, split_parameters
from client_sdk.training import Streams, Training, contribution
from privacy.dp.events import PrivacyEvent
from privacy.dp.mechanism import PROBES, MechanismPlan
from privacy.dp.planner import plan_lanes
from privacy.dp.probes import ProbeStatistic, probe_statistic
from privacy.he.lanes import LaneLayout
from privacy.protocol.identifiers import ZERO_DIGEST
from privacy.protocol.messages import Campaign, Deadlines, Plan, UpdateRule, VectorLayout
from privacy.randomness import Keystream, RandomSource, hedged_seed

CANARIES: Final = 20_000
NOISE_MULTIPLIER: Final = 2.0
HONEST: Final = 4
"""Enough that noise divided by sqrt(h) once too often is halved."""
STRETCH: Final = 1000.0


@dataclass(frozen=True)
class Stage:
    """What is rehearsed. event: one round's. honest: h, all of whom contribute. dimension: shared coordinates."""

    event: PrivacyEvent
    honest: int
    dimension: int
    clip: float = 1.0

    @property
    def mechanism(self) -> MechanismPlan:
        lanes = plan_lanes(self.event.noise_multiplier, self.honest, self.honest)
        return MechanismPlan(
            clip=self.clip,
            noise_multiplier=self.event.noise_multiplier,
            honest=self.honest,
            dimension=self.dimension,
            shift=lanes.shift,
            lane_offset=lanes.lane_offset,
        )

    @property
    def lanes(self) -> LaneLayout:
        return LaneLayout(plan_lanes(self.event.noise_multiplier, self.honest, self.honest).width, self.honest)

    def plan(self, number: int = 1) -> Plan:
        """A round's plan that nobody signs: it names no charter, so no partner would join it."""
        mechanism = self.mechanism
        return Plan(
            charter=ZERO_DIGEST,
            campaign=ZERO_DIGEST,
            round=number,
            attempt=number,
            kind="training",
            base_state=ZERO_DIGEST,
            layout=VectorLayout.model_validate(
                {
                    "parameters": self.dimension,
                    "probes": PROBES,
                    "lane_width": self.lanes.width,
                    "shift": mechanism.shift,
                }
            ),
            event=self.event,
            deadlines=Deadlines(join=0, upload=0, open=0),
        )

    def campaign(self, model: nn.Module) -> Campaign:
        return Campaign(
            charter=ZERO_DIGEST,
            name="rehearsal",
            parameters=shapes(model, split_parameters(model, None).shared),
            update_rule=UpdateRule(kind="sgd", learning_rate=1.0),
            clip=self.clip,
            denominator=1.0,
            genesis=ZERO_DIGEST,
        )


class Canaries(nn.Module):
    """A model with one weight for each canary; its gradient with respect to weight i is canary i's alone."""

    def __init__(self, count: int, length: float) -> None:
        super().__init__()
        self.length = length
        self.weights = nn.Embedding(count, 1, _weight=torch.zeros(count, 1))

    def forward(self, canary: torch.Tensor) -> torch.Tensor:
        weights: torch.Tensor = self.weights(canary)
        return self.length * weights[:, 0]


@dataclass(frozen=True)
class Rehearsed:
    """scores: int64[canaries], the opened sum. coins: whether each took part. probes: what a decoder would find."""

    scores: NDArray[np.int64]
    coins: NDArray[np.bool_]
    probes: ProbeStatistic


def rehearse_noise(
    source: RandomSource,
    canaries: int = CANARIES,
    noise_multiplier: float = NOISE_MULTIPLIER,
    honest: int = HONEST,
) -> Rehearsed:
    """One round of canaries, each trained on with probability 1 if its coin says so (gamma 1).

    A claim of epsilon at noise multiplier z and gamma 1 is what its scores are to be held against.
    """
    event = PrivacyEvent(kind="distributed", noise_multiplier=noise_multiplier, sampling_rate=1.0, steps=1)
    stage = Stage(event, honest, canaries)
    words = np.frombuffer(source.bytes((canaries + 7) // 8), dtype=np.uint8)
    coins = np.unpackbits(words)[:canaries].astype(np.bool_)
    model = Canaries(canaries, STRETCH * stage.clip)
    taking_part = torch.from_numpy(np.flatnonzero(coins))
    uploads = [_upload(stage, model, Records(taking_part), source)]
    uploads += [_upload(stage, model, Records(None), source) for _ in range(honest - 1)]
    opened = add_lanes(stage.lanes, uploads)
    probes = probe_statistic(opened[canaries:], honest, stage.mechanism)
    return Rehearsed(opened[:canaries], coins, probes)


def add_lanes(lanes: LaneLayout, uploads: list[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Packed, added as coefficients, taken apart: int64, the sum of the uploads. Raises OutOfRange."""
    total = lanes.pack(uploads[0])
    for values in uploads[1:]:
        total += lanes.pack(values)
    return lanes.unpack(total, len(uploads), uploads[0].size)


def streams(source: RandomSource) -> Streams:
    """Hedged as in a round, but for a device secret, which a rehearsal has none of."""

    def stream(purpose: str) -> Keystream:
        return Keystream(hedged_seed(source, bytes(32), purpose, b"rehearsal"))

    return Streams(sample=stream("sample"), noise=stream("noise"), layers=stream("layers"))


def _upload(stage: Stage, model: nn.Module, records: Records, source: RandomSource) -> NDArray[np.int32]:
    training = Training(model, split_parameters(model, None), _loss, records)
    return contribution(
        training, stage.campaign(model), stage.plan(), stage.mechanism, stage.lanes.offset, streams(source)
    ).values


def _loss(model: Any, batch: Batch) -> torch.Tensor:
    loss: torch.Tensor = model(batch[0])
    return loss


class WatchedRecords(Records):
    """Records that remember who was asked for: what was trained on, not what a sampler says it chose."""

    def __init__(self, count: int) -> None:
        super().__init__(torch.arange(count))
        self._asked: list[NDArray[np.int64]] = []

    def gather(self, indices: NDArray[np.int64]) -> Batch:
        self._asked.append(indices)
        return super().gather(indices)

    def take_batch(self) -> NDArray[np.int64]:
        """Who was asked for since the last call, less the padding: repetitions of a block's last record."""
        asked, self._asked = self._asked, []
        return np.concatenate([_unpadded(block) for block in asked]) if asked else np.zeros(0, dtype=np.int64)


def rehearse_sampling(
    source: RandomSource, records: int, sampling_rate: float, rounds: int, progress: Callable[[int], None]
) -> list[NDArray[np.int64]]:
    """The batches that so many rounds of training use, as the model sees them. progress(round) after each."""
    event = PrivacyEvent(
        kind="distributed", noise_multiplier=NOISE_MULTIPLIER, sampling_rate=sampling_rate, steps=1
    )
    stage = Stage(event, HONEST, 1)
    watched, model = WatchedRecords(records), _OneWeight()
    batches = []
    for number in range(1, rounds + 1):
        _upload(stage, model, watched, source)
        batches.append(watched.take_batch())
        progress(number)
    return batches


class _OneWeight(nn.Module):
    """The least that has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(1, 1, bias=False)

    def forward(self, record: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.weight(record.to(torch.float32)[:, None])[:, 0]
        return loss


def _unpadded(block: NDArray[np.int64]) -> NDArray[np.int64]:
    others = np.flatnonzero(block != block[-1])
    return block[: others[-1] + 2] if others.size else block[:1]
