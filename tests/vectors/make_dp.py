"""Vectors of the privacy mechanism: noise draws, batches, and whole uploads, to the bit (protocol 6.2, 6.3)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.dp.discrete_gaussian import MagnitudeTable, draw_noise, exact_value, noise_tables
from privacy.dp.mechanism import MechanismPlan
from privacy.dp.privatise import RecordSum, privatise
from privacy.dp.sampling import poisson_sample
from privacy.randomness import Keystream

FOLDER = Path(__file__).parent


def seed(purpose: str) -> bytes:
    return hashlib.sha256(f"chorale/1 vector {purpose}".encode()).digest()


class WordsThatFollow(Keystream):
    """A keystream whose words are given: no real one shows a tie within 2^50 draws."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(bytes(32))
        self.left = words

    def words(self, count: int) -> NDArray[np.uint64]:
        taken, self.left = self.left[:count], self.left[count:]
        return np.array(taken, dtype=np.uint64)


def table_digest(table: MagnitudeTable) -> str:
    """SHA-256 over the thresholds, each 24 bytes, most significant first."""
    return hashlib.sha256(b"".join(t.to_bytes(24, "big") for t in table.thresholds)).hexdigest()


def ties() -> list[dict[str, Any]]:
    listed = []
    for name, table in zip(("x1", "x2"), noise_tables(), strict=True):
        for magnitude in (0, 7, 2000, 7000):
            threshold = table.thresholds[magnitude]
            high, low = threshold >> 128, threshold & ((1 << 128) - 1)
            for sign, more in ((0, low - 1), (1, low - 1), (0, low), (1, low + 1)):
                word, pair = high << 1 | sign, [more >> 64, more & ((1 << 64) - 1)]
                listed.append(
                    {
                        "table": name,
                        "word": f"{word:016x}",
                        "more": [f"{w:016x}" for w in pair],
                        "value": exact_value(word, table, WordsThatFollow(pair)),
                    }
                )
    return listed


def noise() -> dict[str, Any]:
    small, large = noise_tables()
    draws = []
    for number, count in enumerate((1, 40, 40)):
        key = seed(f"noise {number}")
        draws.append({"seed": key.hex(), "draws": draw_noise(count, Keystream(key)).tolist()})
    key = seed("noise over a block's end")
    long = draw_noise(65_536 + 30, Keystream(key))
    return {
        "note": "thresholds are P(|x| <= m) 2^191, rounded down; digests are over 24-byte big-endian thresholds",
        "tables": [
            {
                "table": name,
                "length": len(table.thresholds),
                "sha256": table_digest(table),
                "thresholds": {str(m): f"{table.thresholds[m]:048x}" for m in (0, 1, 100, 1000, 5000)},
            }
            for name, table in (("x1", small), ("x2", large))
        ],
        "draws": draws,
        "long": {
            "seed": key.hex(),
            "count": long.size,
            "last": long[-32:].tolist(),
            "sha256": hashlib.sha256(long.astype("<i8").tobytes()).hexdigest(),
        },
        "ties": ties(),
    }


def batches() -> dict[str, Any]:
    good = []
    for number, (records, rate) in enumerate([(0, 0.5), (60, 0.05), (60, 0.5), (40, 1.0), (30, 1e-9), (50, 0.1)]):
        key = seed(f"batch {number}")
        batch = poisson_sample(records, rate, Keystream(key)).tolist()
        good.append({"seed": key.hex(), "records": records, "sampling_rate": rate, "batch": batch})
    bad = [{"records": 5, "sampling_rate": rate, "error": "unsafe-parameters"} for rate in (0.0, -0.5, 1.5)]
    return {"good": good, "bad": bad}


USUAL = {
    "clip": 0.5,
    "noise_multiplier": 1.1,
    "honest": 4,
    "dimension": 12,
    "shift": 15,
    "lane_offset": 341,
    "probes": 8,
    "private_dimension": 0,
}


def gradients(purpose: str, records: int, width: int, size: float) -> NDArray[np.float32]:
    """Uniform in +-size, in float32, from a keystream."""
    words = Keystream(seed(purpose)).words(records * width) >> np.uint64(40)
    return ((words.astype(np.float64) * 2.0**-23 - 1.0) * size).astype(np.float32).reshape(records, width)


def upload(name: str, rows: NDArray[np.float32], **fields: Any) -> dict[str, Any]:
    """rows: shared coordinates, then private ones; all in one tensor each."""
    plan = MechanismPlan(**{**USUAL, **fields})
    sums = RecordSum(plan)
    sums.add_records([rows[:, : plan.dimension]], [rows[:, plan.dimension :]])
    key = seed(f"upload {name}")
    update = privatise(sums, Keystream(key))
    return {
        "name": name,
        "plan": {**USUAL, **fields},
        "fine_clip": plan.fine_clip,
        "bound": plan.bound,
        "seed": key.hex(),
        "gradients_float32_le": [row.astype("<f4").tobytes().hex() for row in rows],
        "shared_sum": sums.shared.tolist(),
        "private_sum": sums.private.tolist(),
        "records": sums.records,
        "clipped": sums.clipped,
        "zeroed": sums.zeroed,
        "values": update.values.tolist(),
        "private_float64_le": update.private.astype("<f8").tobytes().hex(),
    }


def uploads() -> dict[str, Any]:
    mixed = gradients("mixed", 5, 12, 0.2)
    mixed[1] *= 50
    spoiled = mixed.copy()
    spoiled[2, 3], spoiled[4, 11] = np.nan, -np.inf
    extreme = np.zeros((3, 12), dtype=np.float32)
    extreme[0, 0], extreme[1, 1], extreme[2] = 3.4e38, -1e-45, 1e20
    rounding = np.full((2, 5), 0.51, dtype=np.float32)
    rounding[1, 4] = 0
    good = [
        upload("clipped and not", mixed),
        upload("an empty batch", np.zeros((0, 12), dtype=np.float32)),
        upload("NaN and infinity", spoiled),
        upload("extremes", extreme),
        upload("many records reach the bound", np.tile(mixed, (60, 1)), shift=16, lane_offset=168),
        upload("no shift", mixed, shift=0, lane_offset=42 << 18),
        upload("a private part", gradients("heads", 4, 15, 0.3), private_dimension=3),
        upload(
            "rounded beyond the clip",
            rounding,
            dimension=5,
            noise_multiplier=float(2**17),
            honest=1,
            clip=2.0,
        ),
    ]
    bad = [
        {"plan": {**USUAL, **fields}, "error": "unsafe-parameters", "why": why}
        for fields, why in (
            ({"shift": 17}, "noise less than 4 units wide"),
            ({"shift": 14}, "a lane that leaves less than 32 sigma"),
            ({"lane_offset": 335}, "a lane that leaves less than 32 sigma"),
            ({"noise_multiplier": 0.0}, "no noise"),
            ({"noise_multiplier": 1e-3}, "a fine clip of 2^26 or more"),
            ({"clip": -1.0}, "a negative clip"),
            ({"honest": 0}, "nobody honest"),
            ({"noise_multiplier": 1e5, "dimension": 400}, "rounding outgrows the clip"),
        )
    ]
    return {"good": good, "bad": bad}


def main() -> None:
    for name, content in (("noise", noise()), ("batches", batches()), ("uploads", uploads())):
        (FOLDER / f"dp_{name}.json").write_text(json.dumps(content, indent=1) + "\n")
