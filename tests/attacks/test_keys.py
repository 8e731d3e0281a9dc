"""Adversary: whoever chooses key material, or what keys are drawn from. Malformed keys, related keys, a frozen
source of entropy, public polynomials of its own. It wants an opened sum to tell of one key.

The attacks on a collective threshold key, where keys travel as malleable ciphertexts:
(1) an upload made from another's ciphertext of its key, so that the opened sum holds a multiple of that key;
(2) a malformed ciphertext whose partial decryptions tell of the decryption key.
Here keys travel as Shamir shares in CCA-secure boxes under keys used once: (1) a box opens unchanged, under its
dealer's name and root, or not at all; (2) nothing is decrypted under a key that lives on. Check 6 (4.4) and
the bounds of 5.1 stop them.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from client_sdk.decode import MAX_SUBSETS
from privacy.errors import BoxRefused, ChoraleError, OpeningFailed
from privacy.he.boxes import ENCAPSULATION_BYTES, BoxKey, decode_shares, encode_shares, open_box, seal_box
from privacy.he.envelope import OneTimeKey, contribution_seed, encrypt, open_sum, share_stream
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT
from privacy.he.ring import Ring
from privacy.he.shamir import add_shares, deal, recover
from privacy.protocol.messages import Cohort, Join, Manifest, Opening, Plan, Seal
from tests.consortium import SeededSource

R, J = sha256(b"R").digest(), sha256(b"J").digest()
LAYOUT = LaneLayout(24, 4)
VALUES = np.arange(-500, 500, dtype=np.int32)


class Frozen:
    """A virtual machine that was rolled back, or cloned."""

    def bytes(self, count: int) -> bytes:
        return bytes(count)


def seed(values: np.ndarray, round_digest: bytes = R, cohort: bytes = J, device: bytes = b"d" * 32) -> bytes:
    return contribution_seed(Frozen(), device, round_digest, cohort, sha256(values.tobytes()).digest())


def opened(
    ciphertexts: list[bytes], key: np.ndarray, layout: LaneLayout = LAYOUT, length: int = len(VALUES)
) -> np.ndarray:
    words = np.zeros(len(ciphertexts[0]) // 8, dtype=object)
    for raw in ciphertexts:
        words += np.frombuffer(raw, dtype="<u8").astype(object)
    total = (words % DEFAULT.modulus).astype("<u8").tobytes()
    return np.concatenate(list(open_sum([total], key, len(ciphertexts), layout, length, R, J)))


def test_a_frozen_source_gives_every_message_round_cohort_and_device_another_key() -> None:
    """The same key twice would give the difference of two messages, as e1 - e2 + delta (m1 - m2)."""
    seeds = [
        seed(VALUES),
        seed(VALUES + 1),
        seed(VALUES, round_digest=J),
        seed(VALUES, cohort=R),
        seed(VALUES, device=b"e" * 32),
    ]
    keys = [OneTimeKey(each).s for each in seeds]
    for place, key in enumerate(keys):
        for other in keys[place + 1 :]:
            # Equal in about 1 of 23 places, as independent Gaussians of width 6.4 are.
            assert np.mean(key == other) < 0.1


def test_the_same_message_in_another_set_is_under_another_key() -> None:
    """Differencing: what a partner contributes to two sums differs by key and errors, even under one entropy."""
    first = b"".join(encrypt(VALUES, LAYOUT, R, J, seed(VALUES), 32768).shards)
    second = b"".join(encrypt(VALUES, LAYOUT, R, R, seed(VALUES, cohort=R), 32768).shards)
    words = np.frombuffer(first, dtype="<u8"), np.frombuffer(second, dtype="<u8")
    apart = np.subtract(words[0].astype(object), words[1].astype(object)) % DEFAULT.modulus
    # Of 4,096 uniform words below q, the chance that 10 are within 2^40 of 0 is below 2^-100.
    assert sum(min(int(word), DEFAULT.modulus - int(word)) < 1 << 40 for word in apart) < 10


@pytest.mark.parametrize("part", ["encapsulation", "shares", "tag"])
def test_a_box_cannot_be_made_into_a_box_of_shifted_shares(part: str) -> None:
    """Attack (1): whoever could would have the sum of keys hold s + s + 1, and the opened sum tell of s."""
    key = BoxKey.generate()
    shares = np.arange(4096, dtype=np.uint32)
    box = bytearray(seal_box(key.public_bytes, b"info", encode_shares(shares)))
    assert np.array_equal(decode_shares(open_box(key, b"info", bytes(box))), shares)
    place = {"encapsulation": 10, "shares": ENCAPSULATION_BYTES + 4, "tag": len(box) - 1}[part]
    box[place] ^= 1
    with pytest.raises(BoxRefused):
        open_box(key, b"info", bytes(box))


def test_shares_of_a_malformed_key_open_nothing() -> None:
    """Attack (2) in this setting: a dealt key with huge coefficients, or another than was encrypted under. What is
    learnt is that the sum does not open; no key that lives on had a part in it."""
    honest, bad = (
        encrypt(VALUES, LAYOUT, R, J, seed(VALUES), 32768),
        encrypt(VALUES, LAYOUT, R, J, b"b" * 32, 32768),
    )
    ciphertexts = [b"".join(honest.shards), b"".join(bad.shards)]
    bound = DEFAULT.key_bound(2)
    points = [1, 2, 3]
    right = OneTimeKey(b"b" * 32).s
    for malformed in (right + 1_000_000, np.roll(right, 1), -right, np.zeros(4096, dtype=np.int64)):
        dealt = [
            deal(honest.key.s, 3, 2, share_stream(seed(VALUES))),
            deal(malformed, 3, 2, share_stream(b"c" * 32)),
        ]
        rows = np.stack([add_shares([one[row] for one in dealt]) for row in range(3)])
        with pytest.raises(OpeningFailed):
            opened(ciphertexts, recover(points, rows, 2, bound).secret)
    dealt = [deal(honest.key.s, 3, 2, share_stream(seed(VALUES))), deal(right, 3, 2, share_stream(b"c" * 32))]
    rows = np.stack([add_shares([one[row] for one in dealt]) for row in range(3)])
    assert np.array_equal(opened(ciphertexts, recover(points, rows, 2, bound).secret), 2 * VALUES.astype(np.int64))


def test_any_boxes_below_the_quorum_open_nothing() -> None:
    """With t - 1 shares every key is as likely: what they interpolate to opens nothing."""
    made = encrypt(VALUES, LAYOUT, R, J, seed(VALUES), 32768)
    dealt = deal(made.key.s, 4, 3, share_stream(seed(VALUES)))
    ciphertext = b"".join(made.shards)
    for pair in ([0, 1], [0, 3], [2, 3]):
        with pytest.raises(OpeningFailed):
            opened([ciphertext], recover([1 + row for row in pair], dealt[pair], 2, DEFAULT.key_bound(1)).secret)
        with pytest.raises(ChoraleError):
            recover([1 + row for row in pair], dealt[pair], 3, DEFAULT.key_bound(1))
    assert MAX_SUBSETS > 1


def test_a_false_share_among_a_bare_quorum_makes_no_key() -> None:
    """With no share to spare it shows by the size of what comes out alone (4.5): of a key 0, moved at random."""
    shares = deal(np.zeros(4096, dtype=np.int64), 3, 3, share_stream(b"c" * 32))
    bound = DEFAULT.key_bound(1)
    assert not recover([1, 2, 3], shares, 3, bound).secret.any()
    shares[1, 7] = (int(shares[1, 7]) + 123_456_789) % DEFAULT.share_prime
    with pytest.raises(OpeningFailed, match="coefficient 7"):
        recover([1, 2, 3], shares, 3, bound)


def uploads(*sent: tuple[np.ndarray, LaneLayout]) -> tuple[list[bytes], np.ndarray]:
    """Several partners' ciphertexts, each under a key of its own, and the sum of these keys."""
    made = [
        encrypt(values, layout, R, J, bytes([number]) * 32, 32768) for number, (values, layout) in enumerate(sent)
    ]
    return [b"".join(one.shards) for one in made], sum((one.key.s for one in made), np.zeros(4096, dtype=np.int64))


def test_a_key_that_is_one_off_opens_no_sum_though_every_lane_is_in_range() -> None:
    """A false share, by the inverse of its Lagrange weight, moves S by 1: no bound of the key tells. Nor do lanes
    that three contributors fill but for 3 values of 2^24: garbage passes them. The errors tell (5.1)."""
    layout = LaneLayout(24, 3)
    values = np.zeros(layout.values_per_polynomial, dtype=np.int32)
    ciphertexts, key = uploads(*[(values, layout)] * 3)
    assert not opened(ciphertexts, key, layout, values.size).any()
    key[0] += 1
    with pytest.raises(OpeningFailed):
        opened(ciphertexts, key, layout, values.size)


@pytest.mark.parametrize("place", [0, 1, 999])
def test_a_value_beyond_its_lane_is_no_sum_of_what_may_be_sent(place: int) -> None:
    """A colluder packs by a layout of its own: more than three may hold in one lane, and no carry (5.2)."""
    wide, quiet = LaneLayout(24, 1), np.zeros(1000, dtype=np.int32)
    loud = np.full(1000, LAYOUT.offset - wide.offset, dtype=np.int32)
    loud[place] = 3 * 2 * LAYOUT.offset - 2 * LAYOUT.offset - wide.offset
    assert opened(*uploads((quiet, LAYOUT), (quiet, LAYOUT), (loud, wide)))[place] == 3 * LAYOUT.offset
    loud[place] += 1
    with pytest.raises(OpeningFailed):
        opened(*uploads((quiet, LAYOUT), (quiet, LAYOUT), (loud, wide)))


def test_public_polynomials_are_nobodys_choice() -> None:
    """a = 0 would put messages on the wire in the clear. a_k is computed from R and J; no message holds it."""
    for message in (Plan, Join, Cohort, Manifest, Seal, Opening):
        assert not any("polynomial" in name or name == "a" for name in message.model_fields)
    source = SeededSource("rounds")
    for _ in range(5):
        words = Ring(source.bytes(32), source.bytes(32)).public_polynomials(0, 1)
        assert np.count_nonzero(words) == 4096
        assert int(words.max()) > DEFAULT.modulus // 2


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_digests_and_seeds_of_another_length_are_refused(size: int) -> None:
    with pytest.raises((ChoraleError, ValueError)):
        Ring(bytes(size), J)
    with pytest.raises((ChoraleError, ValueError)):
        share_stream(b"s" * 32).__class__(bytes(size))
