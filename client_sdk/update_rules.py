"""How the mean of a round moves the parameters: SGD with momentum, or Adam, the same bits on every machine.

Rules (protocol 4.5):
1. float64, elementwise, only + - x / and square root. Each numpy call below is one operation with one rounding
   (IEEE 754): no compiled loop in which a compiler could contract x * y + z into a fused operation.
2. Adam's bias corrections are running products kept in the state: beta ** t is not the same on every machine.
3. The order of the operations is part of the rule; tests/vectors/state_*.json freeze it.
It knows nothing of rounds, salts or hashes: `model_state` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from privacy.errors import MalformedMessage
from privacy.protocol.messages import UpdateRule

Vector = NDArray[np.float64]
OptimiserState = Mapping[str, Vector]
"""By name: float64[d] vectors like the parameters, and float64 scalars of shape ()."""

VELOCITY = "velocity"
FIRST_MOMENT = "first_moment"
SECOND_MOMENT = "second_moment"
BETA1_PRODUCT = "beta1_product"
BETA2_PRODUCT = "beta2_product"

_VECTORS = {"sgd": (VELOCITY,), "adam": (FIRST_MOMENT, SECOND_MOMENT)}
_SCALARS: dict[str, tuple[str, ...]] = {"sgd": (), "adam": (BETA1_PRODUCT, BETA2_PRODUCT)}


def initial_state(rule: UpdateRule, dimension: int) -> OptimiserState:
    """The optimiser's state before the first round: moments 0, running products 1."""
    state: dict[str, Vector] = {name: np.zeros(dimension) for name in _VECTORS[rule.kind]}
    state.update({name: np.array(1.0) for name in _SCALARS[rule.kind]})
    return MappingProxyType(state)


def check_state(rule: UpdateRule, state: OptimiserState, dimension: int) -> None:
    """Raises MalformedMessage unless `state` holds exactly what `rule` keeps, in the right shapes."""
    expected = dict.fromkeys(_VECTORS[rule.kind], (dimension,))
    shapes = {**expected, **dict.fromkeys(_SCALARS[rule.kind], ())}
    came = {name: array.shape for name, array in state.items()}
    if came != shapes:
        raise MalformedMessage(
            f"an optimiser state of {shapes} for the rule {rule.kind}",
            str(came),
            "fetch the state of this campaign from another partner",
        )


def update(
    rule: UpdateRule, parameters: Vector, state: OptimiserState, gradient: Vector
) -> tuple[Vector, OptimiserState]:
    """(new parameters, new optimiser state); all arrays float64[d], none of the arguments is changed.

    Weight decay is added to the gradient, as torch.optim does. SGD: Sutskever et al. 2013 in torch's form
    (v = momentum v + g; theta = theta - rate v). Adam: Kingma and Ba 2015, algorithm 1.
    """
    if rule.weight_decay > 0:
        gradient = gradient + rule.weight_decay * parameters
    if rule.kind == "sgd":
        velocity = rule.momentum * state[VELOCITY] + gradient
        return parameters - rule.learning_rate * velocity, MappingProxyType({VELOCITY: velocity})
    first = rule.beta1 * state[FIRST_MOMENT] + (1.0 - rule.beta1) * gradient
    second = rule.beta2 * state[SECOND_MOMENT] + (1.0 - rule.beta2) * (gradient * gradient)
    product1 = state[BETA1_PRODUCT] * rule.beta1
    product2 = state[BETA2_PRODUCT] * rule.beta2
    step = (first / (1.0 - product1)) / (np.sqrt(second / (1.0 - product2)) + rule.epsilon)
    after = {
        FIRST_MOMENT: first,
        SECOND_MOMENT: second,
        BETA1_PRODUCT: np.asarray(product1),
        BETA2_PRODUCT: np.asarray(product2),
    }
    return parameters - rule.learning_rate * step, MappingProxyType(after)
