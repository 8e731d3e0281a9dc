"""Boxes open for their receiver, at their place, as sealed; or not at all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from privacy.errors import BoxRefused, KeyRefused
from privacy.he.boxes import (
    BOX_OVERHEAD,
    PRIVATE_BYTES,
    PUBLIC_BYTES,
    SHARE_BOX_BYTES,
    SHARES_BYTES,
    BoxKey,
    check_public_key,
    decode_shares,
    encode_shares,
    open_box,
    result_box_info,
    seal_box,
    share_box_info,
)
from privacy.he.parameters import DEFAULT

KEY = BoxKey.generate()
PUBLIC = KEY.public_bytes
INFO = share_box_info(b"R" * 32, b"J" * 32, "alpha", "beta", b"s" * 32)
SHARES = np.random.default_rng(0).integers(0, DEFAULT.share_prime, DEFAULT.degree, dtype=np.uint32)
BOX = seal_box(PUBLIC, INFO, encode_shares(SHARES))

SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


def test_a_box_opens_to_what_was_sealed_and_has_the_fixed_width() -> None:
    assert len(BOX) == SHARE_BOX_BYTES == 16384 + 1136
    assert np.array_equal(decode_shares(open_box(KEY, INFO, BOX)), SHARES)
    assert len(seal_box(PUBLIC, INFO, b"")) == BOX_OVERHEAD
    assert open_box(KEY, INFO, seal_box(PUBLIC, INFO, b"")) == b""


def test_a_key_survives_its_encoding() -> None:
    encoded = KEY.private_bytes
    assert (len(encoded), len(PUBLIC)) == (PRIVATE_BYTES, PUBLIC_BYTES) == (96, 1216)
    again = BoxKey.from_private_bytes(encoded)
    assert again.public_bytes == PUBLIC
    assert open_box(again, INFO, BOX) == encode_shares(SHARES)
    for wrong in (encoded[:-1], encoded + b"x", b""):
        with pytest.raises(KeyRefused):
            BoxKey.from_private_bytes(wrong)


@pytest.mark.parametrize("at", [0, 1087, 1088, 1119, 1120, 9000, SHARE_BOX_BYTES - 16, SHARE_BOX_BYTES - 1])
def test_a_box_with_a_flipped_bit_is_refused(at: int) -> None:
    flipped = bytearray(BOX)
    flipped[at] ^= 1
    with pytest.raises(BoxRefused):
        open_box(KEY, INFO, bytes(flipped))


def test_another_info_key_or_length_is_refused() -> None:
    for info in (b"", INFO[:-1], INFO + b"\0", bytes(32)):
        with pytest.raises(BoxRefused):
            open_box(KEY, info, BOX)
    with pytest.raises(BoxRefused):
        open_box(BoxKey.generate(), INFO, BOX)
    for box in (b"", BOX[:-1], BOX + b"\0", BOX[:1120], BOX[:1135]):
        with pytest.raises(BoxRefused):
            open_box(KEY, INFO, box)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_point_of_small_order_is_no_key(point: bytes) -> None:
    check_public_key(PUBLIC)
    with pytest.raises(KeyRefused):
        check_public_key(PUBLIC[:1184] + point)
    with pytest.raises(KeyRefused):
        seal_box(PUBLIC[:1184] + point, INFO, b"")


def test_what_is_no_public_key_is_refused() -> None:
    for wrong in (b"", PUBLIC[:-1], PUBLIC + b"x", b"\xff" * 1184 + PUBLIC[1184:]):
        with pytest.raises(KeyRefused):
            check_public_key(wrong)


def test_a_wiped_key_opens_nothing_and_no_repr_shows_one() -> None:
    key = BoxKey.generate()
    assert key.private_bytes.hex()[:16] not in repr(key)
    key.wipe()
    for act in (lambda: key.private_bytes, lambda: key.public_bytes, lambda: open_box(key, INFO, BOX)):
        with pytest.raises(KeyRefused):
            act()


def test_infos_differ_wherever_their_parts_do() -> None:
    """Lengths are part of the encoding: no shift of a byte from one part to the next gives the same info."""
    parts = (b"R" * 32, b"J" * 32, "a", "bc", b"s" * 32)
    infos = {share_box_info(*parts), result_box_info(b"R" * 32, b"J" * 32, b"s" * 32, "a", "bc")}
    infos.add(share_box_info(b"R" * 32, b"J" * 32, "ab", "c", b"s" * 32))
    infos.add(share_box_info(b"R" * 32, b"J" * 32, "bc", "a", b"s" * 32))
    infos.add(share_box_info(b"R" * 31, b"RJ" + b"J" * 31, "a", "bc", b"s" * 32))
    infos.add(share_box_info(b"J" * 32, b"R" * 32, "a", "bc", b"s" * 32))
    infos.add(share_box_info(b"R" * 32, b"J" * 32, "a", "bc", b"t" * 32))
    assert len(infos) == 7
    assert all(len(info) == 32 for info in infos)
    assert all(one != other for one, other in itertools.combinations(infos, 2))


def test_shares_are_encoded_only_within_the_field() -> None:
    assert np.array_equal(decode_shares(encode_shares(SHARES)), SHARES)
    for wrong in (SHARES[:-1], SHARES.astype(np.uint64), np.full(4096, DEFAULT.share_prime, dtype=np.uint32)):
        with pytest.raises(BoxRefused):
            encode_shares(wrong)  # type: ignore[arg-type]
    raw = bytearray(encode_shares(SHARES))
    for encoded in (bytes(raw[:-4]), bytes(raw) + b"\0", b""):
        with pytest.raises(BoxRefused):
            decode_shares(encoded)
    for value in (DEFAULT.share_prime, 2**31, 2**32 - 1):
        raw[SHARES_BYTES - 4 :] = value.to_bytes(4, "little")
        with pytest.raises(BoxRefused):
            decode_shares(bytes(raw))
