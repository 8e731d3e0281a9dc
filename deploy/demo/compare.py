"""What each partner could do alone, and all with their data in one place: trained early, while cores are idle."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.demo.baselines import train_forests, train_mlp
from deploy.demo.consortium import PARTNERS
from deploy.demo.data import open_deal, pool
from deploy.demo.settings import DemoSettings, ForestSettings, MlpSettings
from deploy.demo.task import Predictor

# What is trained here gives way to the consortia, which are being constituted meanwhile.
NICENESS = 15


def train_one(data: Path, what: str, index: int) -> tuple[str, int, Predictor]:
    """One baseline, in a process of its own."""
    import torch

    os.nice(NICENESS)
    torch.set_num_threads(1)
    partners = open_deal(data, DemoSettings().deal).partners()
    if what == "alone_forest":
        return what, index, train_forests(partners[index].train, ForestSettings())
    if what == "alone_mlp":
        return what, index, train_mlp(partners[index].train, MlpSettings())
    return what, index, train_mlp(pool([p.train for p in partners]), MlpSettings())


class Baselines:
    """Started early, waited for late. Leaving the `with` block ends what is still under way."""

    def __init__(self, data: Path) -> None:
        wanted = [("pooled", 0)]
        wanted += [(what, index) for what in ("alone_mlp", "alone_forest") for index in range(len(PARTNERS))]
        self._workers = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        self._running: list[Future[tuple[str, int, Predictor]]] = [
            self._workers.submit(train_one, data, *each) for each in wanted
        ]

    def wait(self, ended: Callable[[int, int], None]) -> dict[str, tuple[Predictor, ...]]:
        """Every method's predictors, one a partner; `ended(done, total)` after each."""
        trained: dict[tuple[str, int], Predictor] = {}
        for done in as_completed(self._running):
            what, index, predictor = done.result()
            trained[what, index] = predictor
            ended(len(trained), len(self._running))
        alone = {
            what: tuple(trained[what, index] for index in range(len(PARTNERS)))
            for what in ("alone_mlp", "alone_forest")
        }
        return {**alone, "pooled": (trained["pooled", 0],) * len(PARTNERS)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.shutdown(wait=kind is None, cancel_futures=True)
