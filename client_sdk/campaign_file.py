"""The TOML file from which the lead partner drafts a campaign, and the torch module that it starts from.

Rules (protocol 3, 6.3):
1. `model` is `file.py:function` (relative to the file), called without arguments, which returns a torch module; or
   a `state` file of tensors by name, saved by torch. Only tensors are read from it: nothing in it is executed.
2. The order of the parameters is the module's own; which of them are shared is written down by prefix.
3. A genesis trained on a partner's data would be a privacy event of kind none: the module should be freshly
   initialised, or a state confirmed under an earlier charter. The file says so by `genesis`.

    name = "activity"
    clip = 0.5
    denominator = 1500.0
    genesis = "fresh"                  # or "confirmed"
    shared = ["trunk"]                 # left out: all trainable parameters
    model = "model.py:build"           # or: state = "initial.pt"
    [update_rule]
    kind = "adam"
    learning_rate = 0.01
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from client_sdk.model_state import ModelState, genesis
from client_sdk.per_record import check_supported
from client_sdk.shared_parameters import flatten, shapes, split_parameters
from privacy.errors import ConfigurationError
from privacy.protocol.identifiers import DisplayName, Model
from privacy.protocol.messages import Campaign, ParameterShape, UpdateRule
from privacy.protocol.toml_text import parse_toml
from privacy.randomness import RandomSource


class CampaignFile(Model):
    """What stands in the file."""

    name: DisplayName
    update_rule: UpdateRule
    clip: Annotated[float, Field(gt=0)]
    denominator: Annotated[float, Field(gt=0)]
    genesis: Literal["fresh", "confirmed"]
    shared: list[str] | None = None
    model: str | None = None
    state: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.state is None):
            raise ValueError("exactly one of model and state must be given")
        return self


def read_campaign_file(path: Path) -> CampaignFile:
    """Raises ConfigurationError."""
    try:
        return CampaignFile.model_validate(parse_toml(path.read_bytes(), f"a campaign in TOML at {path}"))
    except OSError as error:
        raise ConfigurationError(f"a campaign in TOML at {path}", str(error), "correct the file") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigurationError(f"a campaign in {path}", f"{where}: {first['msg']}", "correct the file") from None


def draft(path: Path, charter: str, source: RandomSource) -> tuple[Campaign, ModelState]:
    """The campaign that `path` describes, unsigned, and its genesis. charter: its digest.

    Raises ConfigurationError, UnsupportedModel.
    """
    described = read_campaign_file(path)
    listed, values = (
        _from_module(described, path) if described.model is not None else _from_tensors(described, path)
    )
    state = genesis(described.update_rule, values, source)
    campaign = Campaign(
        charter=charter,
        name=described.name,
        parameters=listed,
        update_rule=described.update_rule,
        clip=described.clip,
        denominator=described.denominator,
        genesis=state.digest,
    )
    return campaign, state


def _from_module(described: CampaignFile, path: Path) -> tuple[tuple[ParameterShape, ...], NDArray[np.float64]]:
    file, _, function = str(described.model).rpartition(":")
    script = path.parent / file
    if not file or not script.is_file():
        raise ConfigurationError(
            "model as file.py:function, the file beside the campaign's", str(described.model), "correct it"
        )
    build = runpy.run_path(str(script)).get(function)
    module = build() if callable(build) else None
    if not isinstance(module, nn.Module):
        raise ConfigurationError(
            f"a function {function} in {script} that returns a torch module",
            "no such function" if build is None else f"{type(module).__name__}",
            "define it",
        )
    check_supported(module)
    names = split_parameters(module, described.shared).shared
    return shapes(module, names), flatten(module, names)


def _from_tensors(described: CampaignFile, path: Path) -> tuple[tuple[ParameterShape, ...], NDArray[np.float64]]:
    file = path.parent / str(described.state)
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever torch's reader raises, the file is not one of tensors
        came = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ConfigurationError(f"tensors by name in {file}", came, "save a state dict") from None
    tensors = {name: tensor for name, tensor in dict(held).items() if _shared(name, described.shared)}
    if not tensors or not all(isinstance(t, Tensor) and t.is_floating_point() for t in tensors.values()):
        raise ConfigurationError(
            "floating-point tensors by name, at least one of them shared",
            f"{len(tensors)} entries",
            "save model.state_dict(), and check `shared`",
        )
    listed = tuple(ParameterShape(name=name, shape=tuple(tensor.shape)) for name, tensor in tensors.items())
    flat = [tensor.to(torch.float64).reshape(-1).numpy() for tensor in tensors.values()]
    return listed, np.concatenate(flat)


def _shared(name: str, prefixes: list[str] | None) -> bool:
    return prefixes is None or any(name == p.rstrip(".") or name.startswith(p.rstrip(".") + ".") for p in prefixes)
