"""States: encoding, hash, malformed input, and the update rules, frozen and against torch's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.model_state import ModelState, apply_sum, genesis
from client_sdk.update_rules import initial_state, update
from privacy.errors import ChoraleError, MalformedMessage, OutOfRange, TooLarge, UnsafeParameters
from privacy.protocol.messages import UpdateRule
from tests.client_sdk.campaigns import campaign, mechanism, plan
from tests.vectors import make_state

FILES = sorted(Path(make_state.__file__).parent.glob("state_*.json"))
SHAPES = make_state.SHAPES
RULES = list(make_state.RULES.values())


def state_of(rule: UpdateRule) -> ModelState:
    return make_state.start(rule, 15)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_frozen_vectors(path: Path) -> None:
    frozen = json.loads(path.read_text(encoding="utf-8"))
    name = path.stem.removeprefix("state_").replace("_", "-")
    assert frozen == json.loads(json.dumps(make_state.vector(name)))
    for bad in frozen["refused"]:
        with pytest.raises(ChoraleError):
            ModelState.from_bytes(bytes.fromhex(bad["state"]))


def test_there_are_vectors_of_each_rule_and_mode() -> None:
    assert len(FILES) == len(make_state.NAMES)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.sampled_from(RULES),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**53 - 1),
)
def test_encoding_round_trips(values: list[float], rule: UpdateRule, salt: bytes, number: int) -> None:
    state = ModelState(number, np.array(values), initial_state(rule, len(values)), salt)
    raw = state.to_bytes()
    again = ModelState.from_bytes(raw)
    assert again.to_bytes() == raw
    assert again == state
    assert again.digest == state.digest


@given(st.data())
def test_any_flipped_bit_is_refused_or_changes_the_hash(data: st.DataObject) -> None:
    state = state_of(RULES[1])
    raw = bytearray(state.to_bytes())
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << (bit % 8)
    try:
        other = ModelState.from_bytes(bytes(raw))
    except ChoraleError:
        return
    assert other.digest != state.digest
    assert other.to_bytes() == bytes(raw)


def test_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        ModelState.from_bytes(state_of(RULES[0]).to_bytes(), limit=100)


def test_a_state_does_not_change_under_its_hash() -> None:
    values = np.zeros(4)
    state = ModelState(0, values, initial_state(RULES[0], 4), bytes(32))
    values[0] = 1.0
    assert state.parameters[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        state.parameters[0] = 1.0


def test_the_salt_stays_out_of_the_representation() -> None:
    assert "salt" not in repr(state_of(RULES[0]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_rules_agree_with_torch(rule: UpdateRule) -> None:
    state = state_of(rule)
    theirs = torch.nn.Parameter(torch.from_numpy(state.parameters.copy()))
    if rule.kind == "sgd":
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            [theirs], lr=rule.learning_rate, momentum=rule.momentum, weight_decay=rule.weight_decay
        )
    else:
        optimiser = torch.optim.Adam(
            [theirs],
            lr=rule.learning_rate,
            betas=(rule.beta1, rule.beta2),
            eps=rule.epsilon,
            weight_decay=rule.weight_decay,
        )
    ours, moments = state.parameters, state.optimiser
    for number in range(5):
        gradient = make_state.sums(number, 15) / 1e5
        theirs.grad = torch.from_numpy(gradient)
        optimiser.step()
        ours, moments = update(rule, ours, moments, gradient)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


def test_a_state_of_another_campaign_is_refused() -> None:
    rule = RULES[0]
    of = campaign(SHAPES, rule)
    with pytest.raises(MalformedMessage, match="15 parameters"):
        ModelState(0, np.zeros(14), initial_state(rule, 14), bytes(32)).check(of)
    with pytest.raises(MalformedMessage, match="optimiser"):
        state_of(RULES[1]).check(of)


def test_a_sum_of_the_wrong_shape_is_refused() -> None:
    of = campaign(SHAPES, RULES[0])
    under = plan(of)
    for wrong in (np.zeros(15, np.int64), np.zeros(under.layout.length, np.int32)):
        with pytest.raises(OutOfRange, match="decode the sum"):
            apply_sum(state_of(RULES[0]), of, under, mechanism(of, under), wrong, 3, b"S")


def test_a_diverging_model_is_refused() -> None:
    rule = UpdateRule(kind="sgd", learning_rate=1e308)
    of = campaign(SHAPES, rule)
    under = plan(of)
    values = np.full(under.layout.length, 10**6, dtype=np.int64)
    with pytest.raises(UnsafeParameters, match="smaller learning rate"):
        apply_sum(state_of(rule), of, under, mechanism(of, under), values, 3, b"S")


def test_the_salt_is_renewed_by_the_summed_key() -> None:
    of = campaign(SHAPES, RULES[0])
    under = plan(of)
    values = np.zeros(under.layout.length, dtype=np.int64)
    one = apply_sum(state_of(RULES[0]), of, under, mechanism(of, under), values, 3, b"S")
    other = apply_sum(state_of(RULES[0]), of, under, mechanism(of, under), values, 3, b"T")
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert one.digest != other.digest


def test_genesis_takes_its_salt_from_the_source() -> None:
    class Sevens:
        def bytes(self, count: int) -> bytes:
            return b"\x07" * count

    state = genesis(RULES[1], np.ones(3, dtype=np.float32), Sevens())
    assert (state.round, state.salt, state.parameters.dtype) == (0, b"\x07" * 32, np.float64)
