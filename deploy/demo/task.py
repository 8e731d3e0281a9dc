"""What is learned and how it is judged: the shared model, one loss a record, ROC-AUC a task.

Rules:
1. `record_loss` gives one value a record and mixes no two records (protocol 6.3).
2. Genesis is zeros: it has seen nobody's data.
3. A task counts on a test set that has at least ten active and ten inactive compounds of it; the same tasks
   count for every method on that set. A method that cannot tell (a task it never saw) has 0.5 there.
Nothing here trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.demo.compounds import FINGERPRINT_BITS, Compounds, pool
from deploy.demo.data import PartnerData

if TYPE_CHECKING:
    import torch

LEAST_OF_EACH_CLASS = 10


class Predictor(Protocol):
    def scores(self, compounds: Compounds) -> NDArray[np.float64]:
        """Higher means more likely active, float64 (n, tasks); only the order within a task matters."""
        ...


@dataclass(frozen=True)
class LinearPredictor:
    """The shared model outside torch; `weights` float64 (tasks, 2048)."""

    weights: NDArray[np.float64]

    def scores(self, compounds: Compounds) -> NDArray[np.float64]:
        return np.asarray(compounds.features() @ self.weights.T, dtype=np.float64)


@dataclass(frozen=True)
class Scores:
    """Mean ROC-AUC over tasks, a partner each: on its own test compounds, and on everyone's."""

    own: tuple[float, ...]
    everyone: tuple[float, ...]

    @property
    def mean_own(self) -> float:
        return float(np.mean(self.own))

    @property
    def mean_everyone(self) -> float:
        return float(np.mean(self.everyone))


def build_model(tasks: int) -> torch.nn.Linear:
    """The shared model at genesis: all zeros, 2048 inputs, one logit a task.

    No bias: it would share the clip with the weights, and the order within a task does not need it.
    """
    import torch

    model = torch.nn.Linear(FINGERPRINT_BITS, tasks, bias=False)
    torch.nn.init.zeros_(model.weight)
    return model


def record_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over a record's measured labels, float32 (batch,).

    `logits` and `targets` are (batch, tasks); a target is 1 (active), 0, or -1 (not measured).
    """
    import torch

    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.clamp(min=0.0), reduction="none")
    return (each * (targets >= 0)).sum(dim=1)


def batch_loss(model: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """`record_loss` as the SDK asks for it; `batch` is (features, targets), both with a row a record."""
    features, targets = batch
    return record_loss(model(features), targets)


def training_tensors(train: Compounds) -> tuple[torch.Tensor, torch.Tensor]:
    """What a partner hands to the SDK, in the order `batch_loss` reads it: features and targets, float32."""
    import torch

    return torch.from_numpy(train.features()), torch.from_numpy(train.targets())


def roc_auc(scores: NDArray[np.float64], active: NDArray[np.bool_]) -> float:
    """The chance that an active scores above an inactive, ties a half (Mann-Whitney U / (actives x inactives)).

    Both arrays are (n,) with both classes present.
    """
    values, place = np.unique(scores, return_inverse=True)
    inactive_at = np.bincount(place[~active], minlength=len(values))
    beaten = np.cumsum(inactive_at) - 0.5 * inactive_at  # inactives below each value, and half of those at it
    return float(beaten[place[active]].mean() / (~active).sum())


def counted_tasks(compounds: Compounds) -> NDArray[np.int64]:
    """The tasks that count on this test set (rule 3)."""
    active = (compounds.labels.astype(bool) & compounds.measured).sum(axis=0)
    inactive = compounds.measured.sum(axis=0) - active
    return np.flatnonzero((active >= LEAST_OF_EACH_CLASS) & (inactive >= LEAST_OF_EACH_CLASS))


def mean_roc_auc(scores: NDArray[np.float64], compounds: Compounds) -> float:
    """Mean over the tasks that count; `scores` (n, tasks)."""
    return float(
        np.mean(
            [
                roc_auc(scores[measured, task], compounds.labels[measured, task].astype(bool))
                for task in counted_tasks(compounds)
                for measured in (compounds.measured[:, task],)
            ]
        )
    )


@dataclass(frozen=True)
class Judged:
    """One predictor's mean ROC-AUC on each partner's own test compounds, and on everyone's."""

    own: tuple[float, ...]
    everyone: float


def judge(predictor: Predictor, tests: tuple[Compounds, ...]) -> Judged:
    everyone = pool(tests)
    scores = predictor.scores(everyone)
    own: list[float] = []
    start = 0
    for test in tests:
        own.append(mean_roc_auc(scores[start : start + len(test)], test))
        start += len(test)
    return Judged(tuple(own), mean_roc_auc(scores, everyone))


def shared_by_all(judged: Judged) -> Scores:
    """The scores of a method that gives everyone the same predictor."""
    return Scores(judged.own, (judged.everyone,) * len(judged.own))


def each_its_own(judged: tuple[Judged, ...]) -> Scores:
    """The scores of a method by which partner i has predictor i."""
    return Scores(tuple(one.own[index] for index, one in enumerate(judged)), tuple(one.everyone for one in judged))


def tests_of(partners: tuple[PartnerData, ...]) -> tuple[Compounds, ...]:
    return tuple(partner.test for partner in partners)
