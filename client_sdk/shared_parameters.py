"""Which of a model's parameters the consortium shares, and moving them between a model and flat vectors.

Rules (protocol 3, 6.3):
1. Only trainable parameters are moved. The shared ones must be the campaign's: names, shapes and order.
2. The rest of the trainable ones are private: they never leave, and are trained under the same clip.
3. Vectors are float64; a model holds their rounding to its own dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from privacy.errors import ConfigurationError
from privacy.protocol.messages import Campaign, ParameterShape

Shared = Callable[[str], bool] | Sequence[str] | str | None
"""A test of a parameter's name, a prefix, or several; None: every trainable parameter is shared."""


@dataclass(frozen=True)
class ParameterSplit:
    """Names of the shared and of the private parameters, each in the model's own order."""

    shared: tuple[str, ...]
    private: tuple[str, ...]


def split_parameters(model: nn.Module, shared: Shared) -> ParameterSplit:
    """Raises ConfigurationError if nothing is shared, or a prefix names no parameter."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if shared is None:
        chosen = set(names)
    elif callable(shared):
        chosen = {name for name in names if shared(name)}
    else:
        prefixes = (shared,) if isinstance(shared, str) else tuple(shared)
        for prefix in prefixes:
            if not any(_under(name, prefix) for name in names):
                raise ConfigurationError(
                    f"a trainable parameter under the prefix {prefix!r}", f"only {', '.join(names)}", "correct it"
                )
        chosen = {name for name in names if any(_under(name, prefix) for prefix in prefixes)}
    if not chosen:
        raise ConfigurationError(
            "at least one shared, trainable parameter", "none", "check requires_grad and the choice of shared ones"
        )
    return ParameterSplit(
        tuple(name for name in names if name in chosen), tuple(name for name in names if name not in chosen)
    )


def shapes(model: nn.Module, names: Sequence[str]) -> tuple[ParameterShape, ...]:
    """What a campaign lists, in the order of `names`."""
    found = dict(model.named_parameters())
    return tuple(ParameterShape(name=name, shape=tuple(found[name].shape)) for name in names)


def check_campaign_model(model: nn.Module, split: ParameterSplit, campaign: Campaign) -> None:
    """Raises ConfigurationError, naming the first difference, unless the model shares the campaign's parameters."""
    ours, theirs = shapes(model, split.shared), campaign.parameters
    if ours == theirs:
        return
    expected, came = f"{len(theirs)} shared parameters", f"{len(ours)}"
    for their, our in zip(theirs, ours, strict=False):
        if their != our:
            expected, came = f"{their.name} {list(their.shape)}", f"{our.name} {list(our.shape)}"
            break
    raise ConfigurationError(
        f"{expected}, as campaign {campaign.name!r} has it",
        came,
        "build the model of that campaign",
    )


def flatten(model: nn.Module, names: Sequence[str]) -> NDArray[np.float64]:
    """float64[d]: the named parameters, one after the other."""
    found = dict(model.named_parameters())
    parts = [found[name].detach().to("cpu", torch.float64).reshape(-1).numpy() for name in names]
    return np.concatenate(parts) if parts else np.zeros(0)


def load(model: nn.Module, names: Sequence[str], values: NDArray[np.float64]) -> None:
    """Overwrite the named parameters in place by float64[d], rounded to each one's dtype."""
    found = dict(model.named_parameters())
    at = 0
    with torch.no_grad():
        for name in names:
            parameter = found[name]
            part = np.array(values[at : at + parameter.numel()])
            parameter.copy_(torch.from_numpy(part).reshape(parameter.shape))
            at += parameter.numel()
    if at != values.size:
        raise ValueError(f"{values.size} values for parameters of {at}")


def _under(name: str, prefix: str) -> bool:
    """`trunk` covers trunk.weight and not trunk2.weight; `trunk.` and a full name work too."""
    stem = prefix.rstrip(".")
    return name == stem or name.startswith(stem + ".")
