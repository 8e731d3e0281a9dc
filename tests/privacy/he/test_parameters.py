"""The set's own arithmetic, and the bounds it promises."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest

from privacy.errors import UnsafeParameters
from privacy.he.parameters import DEFAULT, PARAMETER_SETS, POLYNOMIAL_BYTES


def is_prime(candidate: int) -> bool:
    """Miller-Rabin with the bases that settle every number below 2^64 (Sorenson and Webster, 2015)."""
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, candidate)
        if power in (1, candidate - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % candidate
            if power == candidate - 1:
                break
        else:
            return False
    return True


def test_the_numbers_of_the_default_set() -> None:
    assert DEFAULT.modulus == 4075 * 2**48 + 1 == 1147010530095923201
    assert is_prime(DEFAULT.modulus)
    assert is_prime(DEFAULT.share_prime)
    assert DEFAULT.modulus % (2 * DEFAULT.degree) == 1
    assert DEFAULT.modulus % 2**DEFAULT.plain_bits == 1
    assert DEFAULT.tail == 76
    assert POLYNOMIAL_BYTES == 32_768
    assert PARAMETER_SETS["bfv-4096-60"] is DEFAULT


def test_bounds_are_those_of_the_protocol() -> None:
    for n in (1, 2, 64, 1000):
        assert DEFAULT.error_bound(n) == pytest.approx(10 * 6.364 * sqrt(n) + 1)
        assert DEFAULT.key_bound(n) == 77 * n
    assert DEFAULT.error_bound(1000) < 2037


@pytest.mark.parametrize("contributors", [0, -1, 1001])
def test_contributors_beyond_the_bounds_are_refused(contributors: int) -> None:
    DEFAULT.check_contributors(1000)
    with pytest.raises(UnsafeParameters):
        DEFAULT.check_contributors(contributors)


@pytest.mark.parametrize(
    "change",
    [
        {"modulus": DEFAULT.modulus + 2},
        {"delta": 4077},
        {"degree": 3},
        {"max_contributors": 1025},
        {"share_prime": 65537},
    ],
)
def test_a_set_outside_its_own_bounds_cannot_be_made(change: dict[str, int]) -> None:
    with pytest.raises(UnsafeParameters):
        replace(DEFAULT, **change)
