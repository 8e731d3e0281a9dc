"""What a partner can do alone, and what all could do if they showed each other their data.

Rules: a baseline sees one training set and its own settings; every constant was chosen on validation scaffolds,
like the shared model's. One thread each. A task of which a training set lacks a class is scored 0 throughout,
which is 0.5 ROC-AUC. Nothing here is private, and nothing here leaves a partner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy.demo.compounds import FINGERPRINT_BITS, Compounds, Progress, silent
from deploy.demo.settings import ForestSettings, MlpSettings
from deploy.demo.task import record_loss

if TYPE_CHECKING:
    import torch
    from sklearn.ensemble import RandomForestClassifier


@dataclass(frozen=True)
class Forests:
    """One forest for each task of which both classes were seen."""

    by_task: Mapping[int, RandomForestClassifier]

    def scores(self, compounds: Compounds) -> NDArray[np.float64]:
        """Share of trees that say active, float64 (n, tasks); 0 where nothing was measured: nobody asks there."""
        bits = compounds.fingerprints()
        scores = np.zeros(compounds.labels.shape)
        for task, forest in self.by_task.items():
            asked = compounds.measured[:, task]
            if asked.any():
                scores[asked, task] = forest.predict_proba(bits[asked])[:, 1]
        return scores


def train_forests(train: Compounds, settings: ForestSettings, progress: Progress = silent) -> Forests:
    """A forest a task, on the training compounds in which it was measured."""
    from sklearn.ensemble import RandomForestClassifier

    bits = train.fingerprints()
    tasks = train.labels.shape[1]
    by_task = {}
    for task in range(tasks):
        progress("random forests", task, tasks)
        measured = train.measured[:, task]
        labels = train.labels[measured, task]
        if len(np.unique(labels)) == 2:
            forest = RandomForestClassifier(
                n_estimators=settings.trees,
                max_features=settings.max_features,
                min_samples_leaf=settings.min_samples_leaf,
                random_state=settings.seed + task,
                n_jobs=1,
            )
            by_task[task] = forest.fit(bits[measured], labels)
    progress("random forests", tasks, tasks)
    return Forests(by_task)


@dataclass(frozen=True)
class Mlp:
    """A trained multi-task network; tasks never seen in training score 0."""

    network: torch.nn.Module
    seen: NDArray[np.bool_]

    def scores(self, compounds: Compounds) -> NDArray[np.float64]:
        import torch

        self.network.eval()
        with torch.no_grad():
            logits = self.network(torch.from_numpy(compounds.features())).double().numpy()
        return np.where(self.seen, logits, 0.0)


def train_mlp(train: Compounds, settings: MlpSettings, progress: Progress = silent) -> Mlp:
    """Adam on the cross-entropy of measured labels, for a fixed number of epochs (no early stop)."""
    import torch

    torch.manual_seed(settings.seed)
    tasks = train.labels.shape[1]
    network = torch.nn.Sequential(
        torch.nn.Linear(FINGERPRINT_BITS, settings.hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(settings.dropout),
        torch.nn.Linear(settings.hidden, tasks),
    )
    features, targets = torch.from_numpy(train.features()), torch.from_numpy(train.targets())
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    for epoch in range(settings.epochs):
        progress("neural network", epoch, settings.epochs)
        for rows in torch.split(torch.randperm(len(train)), settings.batch):
            optimiser.zero_grad()
            record_loss(network(features[rows]), targets[rows]).mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    progress("neural network", settings.epochs, settings.epochs)
    active = (train.labels.astype(bool) & train.measured).sum(axis=0)
    return Mlp(network, (active > 0) & (active < train.measured.sum(axis=0)))
