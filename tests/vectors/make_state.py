"""Vectors of model states: encodings, hashes, and three rounds of each update rule to the bit (protocol 3, 4.5)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from client_sdk.model_state import ModelState, apply_sum
from client_sdk.update_rules import initial_state
from privacy.dp.events import PrivacyEvent
from privacy.protocol.messages import Campaign, UpdateRule
from privacy.randomness import Keystream
from tests.client_sdk.campaigns import campaign, charter, mechanism, plan

FOLDER = Path(__file__).parent
SHAPES = (("layer.weight", (3, 4)), ("layer.bias", (3,)))
RULES = {
    "sgd": UpdateRule(kind="sgd", learning_rate=0.3, momentum=0.9, weight_decay=1e-3),
    "adam": UpdateRule(kind="adam", learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=1e-3),
}
LOCAL = PrivacyEvent(kind="local", noise_multiplier=1.5, sampling_rate=0.25, steps=3)
ROUNDS = 3
CONTRIBUTORS = 3


def words(purpose: str, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return Keystream(hashlib.sha256(purpose.encode()).digest()).words(count)


def start(rule: UpdateRule, length: int) -> ModelState:
    """Parameters k 2^-63 - 1, exact in float64 and without a library's generator."""
    parameters = (words("state vector parameters", length) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return ModelState(0, parameters, initial_state(rule, length), bytes(range(32)))


def sums(number: int, length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    drawn = words(f"state vector sum {number}", length) % np.uint64(200_001)
    return drawn.astype(np.int64) - 100_000


def rounds(of: Campaign, state: ModelState, event: PrivacyEvent, scale: float | None) -> list[dict[str, Any]]:
    listed = []
    for number in range(1, ROUNDS + 1):
        under = plan(of, event=event, number=number, base=state.digest, scale=scale)
        values = sums(number, under.layout.length)
        key = hashlib.sha256(f"summed key {number}".encode()).digest()
        state = apply_sum(state, of, under, mechanism(of, under), values, CONTRIBUTORS, key)
        listed.append(
            {
                "round": number,
                "sum": [int(value) for value in values[: of.length]],
                "summed_key": key.hex(),
                "state": state.to_bytes().hex(),
                "digest": state.digest,
            }
        )
    return listed


def vector(name: str) -> dict[str, Any]:
    """One file: `name` is rule-mode."""
    rule_name, mode = name.split("-")
    rule = RULES[rule_name]
    event = LOCAL if mode == "local" else charter().table[0].event
    of = campaign(SHAPES, rule, clip=0.5, denominator=16.0)
    genesis = start(rule, of.length)
    first = plan(of, event=event, scale=1e5 if mode == "local" else None)
    fixed = mechanism(of, first)
    return {
        "about": "apply_sum: from `genesis`, each round's sum (probes left out) and summed key give its state.",
        "update_rule": rule.model_dump(),
        "kind": event.kind,
        "unit": None if fixed is None else fixed.unit.hex(),
        "scale": first.layout.scale,
        "denominator": of.denominator,
        "contributors": CONTRIBUTORS,
        "genesis": genesis.to_bytes().hex(),
        "genesis_digest": genesis.digest,
        "rounds": rounds(of, genesis, event, first.layout.scale),
        "refused": [{"why": why, "state": raw.hex()} for why, raw in malformed(genesis.to_bytes()).items()],
    }


def malformed(good: bytes) -> dict[str, bytes]:
    """Encodings that must be refused."""
    nan = np.array([np.nan]).tobytes()
    return {
        "empty": b"",
        "truncated in the head": good[:40],
        "truncated in the last number": good[:-1],
        "a byte too many": good + b"\x00",
        "another version": good.replace(b"chorale/1", b"chorale/2", 1),
        "NaN in the parameters": good[:64] + nan + good[72:],
        "a length beyond the data": good[:56] + (2**60).to_bytes(8, "little") + good[64:],
        "no parameters": good[:56] + bytes(8) + good[64:],
    }


NAMES = ("sgd-distributed", "adam-distributed", "sgd-local")


def main() -> None:
    for name in NAMES:
        path = FOLDER / f"state_{name.replace('-', '_')}.json"
        path.write_text(json.dumps(vector(name), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
