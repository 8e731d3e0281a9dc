"""The one door: hedging against a frozen source, and the keystream against a second implementation."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from privacy.randomness import Keystream, SystemRandom, hedged_seed


class Frozen:
    """An entropy source that always gives the same bytes, as after a virtual machine is restored."""

    def bytes(self, count: int) -> bytes:
        return b"\x07" * count


def test_a_frozen_source_still_gives_other_seeds_for_other_contexts() -> None:
    seeds = {
        hedged_seed(Frozen(), b"secret", "noise", b"R", b"J"),
        hedged_seed(Frozen(), b"secret", "noise", b"R", b"J2"),
        hedged_seed(Frozen(), b"secret", "sample", b"R", b"J"),
        hedged_seed(Frozen(), b"other device", "noise", b"R", b"J"),
        hedged_seed(Frozen(), b"secret", "noise", b"RJ", b""),
        hedged_seed(Frozen(), b"secret", "noise", b"", b"RJ"),
    }
    assert len(seeds) == 6


def test_the_same_device_and_context_with_fresh_entropy_give_other_seeds() -> None:
    assert hedged_seed(SystemRandom(), b"s", "noise") != hedged_seed(SystemRandom(), b"s", "noise")


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, 70), max_size=5))
def test_a_keystream_is_aes_256_ctr_from_zero_however_it_is_read(key: bytes, reads: list[int]) -> None:
    stream = Keystream(key)
    got = b"".join(stream.bytes(count) for count in reads)
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    expected = b"".join(block.update(i.to_bytes(16, "big")) for i in range(len(got) // 16 + 1))
    assert got == expected[: len(got)]


def test_words_are_little_endian() -> None:
    assert Keystream(bytes(32)).words(3).tobytes() == Keystream(bytes(32)).bytes(24)
    assert Keystream(bytes(32)).words(3).dtype == np.uint64


def test_a_short_key_is_refused_and_none_is_shown() -> None:
    with pytest.raises(ValueError, match="32"):
        Keystream(b"short")
    assert "withheld" in repr(Keystream(bytes(32)))
