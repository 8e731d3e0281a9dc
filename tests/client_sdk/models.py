"""Small torch models and data for the tests; every draw is from a seeded torch generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from client_sdk.per_record import Batch

FEATURES = 6
TASKS = 3


class TwoHeads(nn.Module):
    """A shared trunk and a private head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(FEATURES, 4)
        self.head = nn.Linear(4, TASKS)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = torch.tanh(self.trunk(inputs))
        found: Tensor = self.head(hidden)
        return found


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(FEATURES, TASKS)


def two_heads(seed: int = 0) -> TwoHeads:
    torch.manual_seed(seed)
    return TwoHeads()


def records(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, FEATURES, generator=generator)
    return inputs, (torch.rand(count, TASKS, generator=generator) < 0.5).float()


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    inputs, targets = batch
    losses = nn.functional.binary_cross_entropy_with_logits(model(inputs), targets, reduction="none")
    return losses.sum(dim=1)
