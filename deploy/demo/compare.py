"""Everything that the federated model is compared with, trained on two processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from deploy.demo.baselines import train_forests, train_mlp
from deploy.demo.consortium import PARTNERS
from deploy.demo.data import open_deal, pool
from deploy.demo.settings import DemoSettings, ForestSettings, FreeSettings, MlpSettings
from deploy.demo.simulation import simulate_free
from deploy.demo.task import Predictor


def train_one(data: Path, what: str, index: int) -> tuple[str, int, Predictor]:
    """One baseline, in a process of its own."""
    import torch

    torch.set_num_threads(1)
    partners = open_deal(data, DemoSettings().deal).partners()
    if what == "alone_forest":
        return what, index, train_forests(partners[index].train, ForestSettings())
    if what == "alone_mlp":
        return what, index, train_mlp(partners[index].train, MlpSettings())
    if what == "pooled":
        return what, index, train_mlp(pool([p.train for p in partners]), MlpSettings())
    return what, index, simulate_free(tuple(p.train for p in partners), FreeSettings(), seed=1)


def train_all(data: Path, ended: Callable[[int, int], None]) -> dict[str, tuple[Predictor, ...]]:
    """Every method's predictors, one a partner, on two processes; `ended(done, total)` after each."""
    wanted = [("pooled", 0), ("federated_no_dp", 0)]
    wanted += [(what, index) for what in ("alone_mlp", "alone_forest") for index in range(len(PARTNERS))]
    trained: dict[tuple[str, int], Predictor] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        running = [workers.submit(train_one, data, *each) for each in wanted]
        for done in as_completed(running):
            what, index, predictor = done.result()
            trained[what, index] = predictor
            ended(len(trained), len(wanted))
    count = len(PARTNERS)
    return {
        what: tuple(trained[what, index if (what, 1) in trained else 0] for index in range(count))
        for what, _ in dict.fromkeys((what, 0) for what, _ in wanted)
    }
