"""What each partner could do alone, and all with their data in one place: measured while cores are idle."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.demo.baselines import train_forests, train_mlp
from deploy.demo.compounds import pool
from deploy.demo.data import Deal, open_deal
from deploy.demo.settings import DemoSettings, ForestSettings, MlpSettings
from deploy.demo.task import Judged, Predictor, Scores, each_its_own, judge, shared_by_all, tests_of


def measure(data: Path, what: str, index: int) -> tuple[str, int, Judged]:
    """One baseline, in a process of its own that runs when nothing else wants the core."""
    import torch

    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    torch.set_num_threads(1)
    partners = open_deal(data, DemoSettings().deal).partners()
    predictor: Predictor
    if what == "alone_forest":
        predictor = train_forests(partners[index].train, ForestSettings())
    elif what == "alone_mlp":
        predictor = train_mlp(partners[index].train, MlpSettings())
    else:
        predictor = train_mlp(pool([p.train for p in partners]), MlpSettings())
    return what, index, judge(predictor, tests_of(partners))


class Baselines:
    """Started early, waited for late. Leaving the `with` block ends what is still under way."""

    def __init__(self, folder: Path, deal: Deal) -> None:
        self._partners = len(deal.train_compounds)
        # The longest first, so that no core waits for the last one.
        largest = sorted(range(self._partners), key=lambda index: -deal.train_compounds[index])
        wanted = [("pooled", 0)]
        wanted += [(what, index) for what in ("alone_forest", "alone_mlp") for index in largest]
        self._workers = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))
        self._running: list[Future[tuple[str, int, Judged]]] = [
            self._workers.submit(measure, folder, *each) for each in wanted
        ]

    def wait(self, ended: Callable[[int, int], None]) -> dict[str, Scores]:
        """Every method's scores; `ended(done, total)` after each baseline."""
        judged: dict[tuple[str, int], Judged] = {}
        for done in as_completed(self._running):
            what, index, found = done.result()
            judged[what, index] = found
            ended(len(judged), len(self._running))
        alone = {
            what: each_its_own(tuple(judged[what, index] for index in range(self._partners)))
            for what in ("alone_mlp", "alone_forest")
        }
        return {**alone, "pooled": shared_by_all(judged["pooled", 0])}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.shutdown(wait=kind is None, cancel_futures=True)
