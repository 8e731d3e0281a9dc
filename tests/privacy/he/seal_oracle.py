"""SEAL's adder as the judge of ours, and a product in python integers. Its decryptor is in `deploy.demo`, which
uses it as well. For tests alone."""

from __future__ import annotations

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from deploy.demo.seal_oracle import ciphertext, coefficient_form, decrypt, words
from privacy.he.parameters import DEFAULT
from privacy.he.ring import seal_context

__all__ = ["add", "ciphertext", "coefficient_form", "decrypt", "negacyclic_product", "words"]

DEGREE = DEFAULT.degree
Q = DEFAULT.modulus


def add(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SEAL's Evaluator.add of two uint64[size, 4096]."""
    out = seal.Ciphertext()
    seal.Evaluator(seal_context()).add(ciphertext(left, ntt=False), ciphertext(right, ntt=False), out)
    return words(out)


def negacyclic_product(left: NDArray[np.uint64], right: NDArray[np.int64]) -> list[int]:
    """left * right mod (x^4096 + 1, q) in python integers: one product of two large numbers (Kronecker)."""
    slot = 16  # bytes: products of 60 and 30 bits, 4,096 of them, stay below 2^102
    shift = 2**29
    big_left = int.from_bytes(b"".join(int(value).to_bytes(slot, "little") for value in left), "little")
    lifted = [int(value) + shift for value in right]
    big_right = int.from_bytes(b"".join(value.to_bytes(slot, "little") for value in lifted), "little")
    ones = int.from_bytes(b"".join(shift.to_bytes(slot, "little") for _ in right), "little")

    def folded(product: int) -> list[int]:
        raw = product.to_bytes(2 * DEGREE * slot, "little")
        terms = [int.from_bytes(raw[i : i + slot], "little") for i in range(0, len(raw), slot)]
        return [terms[i] - terms[i + DEGREE] for i in range(DEGREE)]

    with_shift, of_shift = folded(big_left * big_right), folded(big_left * ones)
    return [(one - other) % Q for one, other in zip(with_shift, of_shift, strict=True)]
