"""One gradient for each record, by Opacus, so that no record's gradient depends on its company.

Rules (protocol 6.2, 6.3):
1. Records pass the model in padded blocks of one fixed size, a multiple of 16; padding repeats a record and its
   gradient is dropped. What a record's gradient is then depends on the record alone.
2. `loss_fn(model, batch)` returns one value a record, shape [b]. The batch is a tuple of tensors [b, ...].
3. What Opacus cannot clip, or what mixes records (BatchNorm), is refused with the layer's name; what it cannot see
   is caught by trying: `check_independence`.
4. Layers that draw (dropout) draw from a generator seeded by our own keystream, never from a default seed: only
   then is one record's mask independent of who else is in the batch.
Between uses a model carries no hooks: it may be evaluated, saved or copied as usual.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModule
from opacus.validators import ModuleValidator
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from client_sdk.shared_parameters import ParameterSplit
from privacy.dp.privatise import MechanismPlan, RecordSum
from privacy.errors import ConfigurationError, UnsupportedModel

Batch = tuple[Tensor, ...]
LossFunction = Callable[[nn.Module, Batch], Tensor]
TrainSet = Tensor | Sequence[Tensor] | Dataset[Any]
"""Tensors with equal first dimensions, or a map-style dataset whose items are a tensor or a tuple of tensors."""

Rows = list[NDArray[np.float32]]
BLOCK = 64
BLOCK_MULTIPLE = 16
_NORM_TOLERANCE = 2.0**-10


class Records:
    """A partner's records by index, gathered into blocks."""

    def __init__(self, train_set: TrainSet | None) -> None:
        self._tensors: tuple[Tensor, ...] | None = None
        self._dataset: Any = None
        if train_set is None:
            self._tensors = ()
        elif isinstance(train_set, Tensor):
            self._tensors = (train_set,)
        elif isinstance(train_set, TensorDataset):
            self._tensors = tuple(train_set.tensors)
        elif isinstance(train_set, Dataset):
            self._dataset = train_set
        else:
            self._tensors = tuple(train_set)
        lengths = {len(self._dataset)} if self._tensors is None else {len(tensor) for tensor in self._tensors}
        if len(lengths) > 1:
            raise ConfigurationError(
                "tensors of one length, a row for each record", f"lengths {sorted(lengths)}", "align them"
            )
        self._length = lengths.pop() if lengths else 0

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: NDArray[np.int64]) -> Batch:
        """The records at `indices`, as tensors [len(indices), ...]."""
        if self._tensors is not None:
            rows = torch.from_numpy(indices)
            return tuple(tensor[rows.to(tensor.device)] for tensor in self._tensors)
        items = [self._dataset[int(index)] for index in indices]
        items = [item if isinstance(item, tuple | list) else (item,) for item in items]
        return tuple(torch.stack([torch.as_tensor(part) for part in parts]) for parts in zip(*items, strict=True))


@dataclass(frozen=True)
class RecordGradients:
    """float32 tensors [records, ...], one for each parameter, shared and private."""

    shared: Rows
    private: Rows


class PerRecord:
    """Per-record gradients of one model with hooks on; made by `hooked`."""

    def __init__(self, model: nn.Module, split: ParameterSplit, loss_fn: LossFunction, block: int) -> None:
        self.model = model
        self.block = block
        self._loss_fn = loss_fn
        found = dict(model.named_parameters())
        self._shared = [found[name] for name in split.shared]
        self._private = [found[name] for name in split.private]

    def blocks(self, records: Records, indices: NDArray[np.int64]) -> Iterator[RecordGradients]:
        """The gradients of the records at `indices`, a block at a time, padding dropped."""
        for start in range(0, indices.size, self.block):
            members = indices[start : start + self.block]
            padded = np.concatenate([members, np.repeat(members[-1:], self.block - members.size)])
            yield self.gradients(records.gather(padded), members.size)

    def gradients(self, batch: Batch, keep: int) -> RecordGradients:
        """Gradients of a full block; the first `keep` records of it are returned.

        Raises UnsupportedModel if the loss is not one value a record.
        """
        losses = self._loss_fn(self.model, batch)
        if losses.shape != (self.block,):
            raise UnsupportedModel(
                f"one loss a record from loss_fn(model, batch): shape [{self.block}] for this block",
                f"shape {list(losses.shape)}",
                "use reduction='none' and sum over all but the first dimension",
            )
        losses.sum().backward()  # type: ignore[no-untyped-call]
        found = RecordGradients(
            [_rows(parameter, self.block, keep) for parameter in self._shared],
            [_rows(parameter, self.block, keep) for parameter in self._private],
        )
        for parameter in (*self._shared, *self._private):
            parameter.grad = None
            parameter.grad_sample = None  # type: ignore[attr-defined]
        return found


@contextmanager
def hooked(
    model: nn.Module, split: ParameterSplit, loss_fn: LossFunction, seed: int, block: int = BLOCK, threads: int = 1
) -> Iterator[PerRecord]:
    """The model in training mode with Opacus's hooks on; afterwards everything is as it was.

    seed: of the generator that layers such as dropout draw from, from a keystream (rule 4). threads: torch's.
    Raises UnsupportedModel.
    """
    if block < BLOCK_MULTIPLE or block % BLOCK_MULTIPLE:
        raise ConfigurationError(f"a block of a multiple of {BLOCK_MULTIPLE} records", str(block), "choose 64")
    check_supported(model)
    training = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    model.train()
    wrapped: GradSampleModule | None = None
    try:
        wrapped = GradSampleModule(model, batch_first=True, loss_reduction="sum")
        with torch.random.fork_rng(), torch.enable_grad(), warnings.catch_warnings():
            # Inputs need no gradients here, which torch's backward hooks warn of.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            torch.manual_seed(seed)
            yield PerRecord(model, split, loss_fn, block)
    except NotImplementedError as error:
        raise UnsupportedModel(
            "layers that Opacus has per-record gradients for", _first_sentence(error), "replace that layer"
        ) from error
    finally:
        if wrapped is not None:
            wrapped.to_standard_module()
        torch.set_num_threads(before)
        for module, mode in training.items():
            module.training = mode
        for parameter, gradient in gradients.items():
            parameter.grad = gradient


def check_supported(model: nn.Module) -> None:
    """Raises UnsupportedModel, saying which layer and why, for what Opacus cannot give per-record gradients of."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UnsupportedModel("trainable parameters", "none", "set requires_grad")
    training = {module: module.training for module in model.modules()}
    model.train()  # the validator judges layers as they train
    try:
        reasons = [
            f"layer {name or 'itself'} ({type(layer).__name__}): {_first_sentence(error)}"
            for name, layer in model.named_modules()
            if type(layer) in ModuleValidator.VALIDATORS
            for error in ModuleValidator.VALIDATORS[type(layer)](layer)
        ]
    finally:
        for module, mode in training.items():
            module.training = mode
    for name, module in model.named_modules():
        if list(module.buffers(recurse=False)) and any(p.requires_grad for p in module.parameters()):
            reasons.append(f"layer {name or 'itself'} ({type(module).__name__}): buffers are shared by records")
    if hasattr(model, "autograd_grad_sample_hooks"):
        reasons.append("the model already carries Opacus hooks")
    if reasons:
        raise UnsupportedModel(
            "a model whose records do not touch each other, with a gradient for each",
            "; ".join(dict.fromkeys(reasons)),
            "replace such layers (GroupNorm for BatchNorm; opacus.validators.ModuleValidator.fix helps)",
        )


def check_independence(per_record: PerRecord, records: Records, plan: MechanismPlan, tried: int = 3) -> None:
    """Try whether a record's integers change with its place and company in a block (protocol 6.2).

    The first, a middle and the last record each pass alone, and among others at the first, a middle and the last
    place, in two orders. Raises UnsupportedModel if any integer differs, or the unclipped norm by 2^-10. Dropout is
    left out of it: its masks are drawn for each place, which rule 4 covers.
    """
    if len(records) == 0:
        return
    together = replace(plan, dimension=0, private_dimension=plan.dimension + plan.private_dimension)
    block = per_record.block
    company = np.arange(block, dtype=np.int64) % len(records)
    with _without_dropout(per_record):
        for record in np.unique(np.linspace(0, len(records) - 1, tried).astype(np.int64)):
            alone = _trial(per_record, records, np.full(block, record), 0, together)
            for order in (company, company[::-1]):
                for place in (0, block // 2, block - 1):
                    among = order.copy()
                    among[place] = record
                    found = _trial(per_record, records, among, place, together)
                    moved = int(np.abs(found.integers - alone.integers).max())
                    if moved or abs(found.norm - alone.norm) > _NORM_TOLERANCE * alone.norm:
                        raise UnsupportedModel(
                            "a record's integers that do not depend on its place or company in a block",
                            f"record {int(record)} at place {place} differs by up to {moved} fine units, and its"
                            f" gradient's norm is {found.norm:.6g} instead of {alone.norm:.6g}",
                            "remove what mixes records in model and loss_fn; on a GPU, switch TF32 off",
                        )


@dataclass(frozen=True)
class _Trial:
    """integers: int64[d], clipped. norm: before clipping, which hides what only scales a gradient."""

    integers: NDArray[np.int64]
    norm: float


def _trial(
    per_record: PerRecord, records: Records, members: NDArray[np.int64], place: int, plan: MechanismPlan
) -> _Trial:
    found = per_record.gradients(records.gather(members), members.size)
    rows = [tensor[place : place + 1] for tensor in (*found.shared, *found.private)]
    one = RecordSum(plan)
    one.add_records((), rows)
    norm = float(np.sqrt(sum(np.square(row, dtype=np.float64).sum() for row in rows)))
    return _Trial(one.private, norm)


@contextmanager
def _without_dropout(per_record: PerRecord) -> Iterator[None]:
    layers = [m for m in per_record.model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


def _rows(parameter: nn.Parameter, block: int, keep: int) -> NDArray[np.float32]:
    found = getattr(parameter, "grad_sample", None)
    if found is None:  # this loss does not reach the parameter
        return np.zeros((keep, parameter.numel()), dtype=np.float32)
    if not isinstance(found, Tensor) or found.shape[0] != block:
        raise UnsupportedModel(
            f"a gradient for each of {block} records of a parameter of shape {list(parameter.shape)}",
            "several or another number",
            "run the model once in loss_fn, batch dimension first",
        )
    rows: NDArray[np.float32] = found[:keep].detach().to("cpu", torch.float32).reshape(keep, -1).numpy()
    return rows


def _first_sentence(error: Exception) -> str:
    return str(error).splitlines()[0].split(". ")[0].strip()
