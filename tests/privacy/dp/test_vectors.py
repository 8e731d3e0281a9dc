"""Frozen vectors: what any implementation must draw, sample and upload, and what it must refuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privacy.dp.discrete_gaussian import draw_noise, noise_tables
from privacy.dp.mechanism import MechanismPlan
from privacy.dp.privatise import RecordSum, privatise
from privacy.dp.sampling import poisson_sample
from privacy.errors import ChoraleError
from privacy.randomness import Keystream
from tests.vectors.make_dp import WordsThatFollow, table_digest

FOLDER = Path(__file__).parents[2] / "vectors"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"dp_{name}.json").read_text())
    return loaded


def test_tables() -> None:
    for table, vector in zip(noise_tables(), load("noise")["tables"], strict=True):
        assert len(table.thresholds) == vector["length"]
        assert table_digest(table) == vector["sha256"]
        for magnitude, threshold in vector["thresholds"].items():
            assert table.thresholds[int(magnitude)] == int(threshold, 16)


def test_draws() -> None:
    vectors = load("noise")
    for vector in vectors["draws"]:
        drawn = draw_noise(len(vector["draws"]), Keystream(bytes.fromhex(vector["seed"])))
        assert drawn.tolist() == vector["draws"]
    long = vectors["long"]
    drawn = draw_noise(long["count"], Keystream(bytes.fromhex(long["seed"])))
    assert drawn[-32:].tolist() == long["last"]
    assert hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest() == long["sha256"]


@pytest.mark.parametrize("vector", load("noise")["ties"], ids=lambda v: f"{v['table']}-{v['word']}-{v['more'][1]}")
def test_ties(vector: dict[str, Any]) -> None:
    word, zero = int(vector["word"], 16), 0
    first = [word, zero] if vector["table"] == "x1" else [zero, word]
    stream = WordsThatFollow([*first, *(int(w, 16) for w in vector["more"])])
    assert draw_noise(1, stream)[0] == vector["value"] * (1 if vector["table"] == "x1" else 256)


@pytest.mark.parametrize("vector", load("batches")["good"], ids=lambda v: f"{v['records']}-{v['sampling_rate']}")
def test_batches(vector: dict[str, Any]) -> None:
    stream = Keystream(bytes.fromhex(vector["seed"]))
    assert poisson_sample(vector["records"], vector["sampling_rate"], stream).tolist() == vector["batch"]


@pytest.mark.parametrize("vector", load("batches")["bad"], ids=lambda v: str(v["sampling_rate"]))
def test_batches_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ChoraleError) as refusal:
        poisson_sample(vector["records"], vector["sampling_rate"], Keystream(bytes(32)))
    assert refusal.value.code == vector["error"]


@pytest.mark.parametrize("vector", load("uploads")["good"], ids=lambda v: v["name"])
def test_uploads(vector: dict[str, Any]) -> None:
    plan = MechanismPlan(**vector["plan"])
    assert (plan.fine_clip, plan.bound) == (vector["fine_clip"], vector["bound"])
    raw = b"".join(bytes.fromhex(row) for row in vector["gradients_float32_le"])
    rows = np.frombuffer(raw, dtype="<f4").reshape(-1, plan.dimension + plan.private_dimension)
    sums = RecordSum(plan)
    sums.add_records([rows[:, : plan.dimension]], [rows[:, plan.dimension :]])
    assert sums.shared.tolist() == vector["shared_sum"]
    assert sums.private.tolist() == vector["private_sum"]
    assert [sums.records, sums.clipped, sums.zeroed] == [vector[k] for k in ("records", "clipped", "zeroed")]
    update = privatise(sums, Keystream(bytes.fromhex(vector["seed"])))
    assert update.values.tolist() == vector["values"]
    assert update.private.astype("<f8").tobytes().hex() == vector["private_float64_le"]


@pytest.mark.parametrize("vector", load("uploads")["bad"], ids=lambda v: v["why"])
def test_plans_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ChoraleError) as refusal:
        MechanismPlan(**vector["plan"])
    assert refusal.value.code == vector["error"]
