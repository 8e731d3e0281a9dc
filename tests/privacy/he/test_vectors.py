"""The frozen vectors of the envelope, replayed: good ones come out again, bad ones are refused."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privacy.errors import BoxRefused, ChoraleError, KeyRefused, OutOfRange, UnsafeParameters
from privacy.he.addition import modular_sum
from privacy.he.boxes import BoxKey, check_public_key, open_box, result_box_info, share_box_info
from privacy.he.envelope import OneTimeKey, encrypt, error_stream, open_sum, share_stream
from privacy.he.error_sampler import TABLE, ErrorSampler
from privacy.he.fingerprint import Fingerprint, add
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.he.ring import Ring
from privacy.he.shamir import add_shares, deal, recover
from tests.vectors import make_he

STREAMS, LANES, SHAMIR, BOXES = (make_he.load(f"he_{name}") for name in ("streams", "lanes", "shamir", "boxes"))
ENVELOPES = {width: make_he.load(f"he_envelope_{width}") for width in (12, 16, 24)}


def same(array: NDArray[Any], expected: dict[str, Any]) -> None:
    made = make_he.bulk(array)
    assert made == {key: expected[key] for key in made}


def test_the_files_are_what_make_vectors_writes() -> None:
    for name, content in make_he.build(BOXES["box"]).items():
        assert make_he.load(name) == content


def test_streams() -> None:
    ring = Ring(bytes.fromhex(STREAMS["round"]), bytes.fromhex(STREAMS["cohort"]))
    for case in STREAMS["public_polynomials"]:
        same(ring.public_polynomials(case["k"], 1), case)
    table = STREAMS["cumulative_table"]
    joined = b"".join(entry.to_bytes(16, "little") for entry in TABLE)
    assert sha256(joined).hexdigest() == table["sha256_of_16_byte_little_endian_entries"]
    for case in STREAMS["keys"]:
        same(OneTimeKey(bytes.fromhex(case["seed"])).s, case)
    for case in STREAMS["errors"]:
        same(ErrorSampler(error_stream(bytes.fromhex(case["seed"]), case["k"])).draw(DEFAULT.degree), case)


def words(first: list[str], count: int) -> NDArray[np.uint64]:
    out = np.zeros(count, dtype=np.uint64)
    out[: len(first)] = [int(word) for word in first]
    return out


def test_lanes() -> None:
    for case in LANES["packed"]:
        layout = LaneLayout(case["width"], case["n_max"])
        packed = layout.pack(np.array(case["values"]))
        assert np.array_equal(packed, words(case["first_words"], packed.size))
        assert layout.unpack(packed, 1, len(case["values"])).tolist() == case["values"]
    for case in LANES["layouts_refused"]:
        with pytest.raises(UnsafeParameters):
            LaneLayout(case["width"], case["n_max"])
    for case in LANES["values_refused"]:
        with pytest.raises(OutOfRange):
            LaneLayout(case["width"], case["n_max"]).pack(np.array(case["values"]))
    for case in LANES["words_refused"]:
        with pytest.raises(OutOfRange):
            LaneLayout(case["width"], case["n_max"]).unpack(
                words(case["first_words"], DEFAULT.degree), case["contributors"], case["length"]
            )


@cache
def uploads(width: int) -> tuple[list[NDArray[np.uint64]], NDArray[np.int64]]:
    """The uploads of a vector file, made from its seeds, and the sum of their keys."""
    case = ENVELOPES[width]
    layout = LaneLayout(width, case["n_max"])
    made, key = [], np.zeros(DEFAULT.degree, dtype=np.int64)
    for party, upload in enumerate(case["uploads"]):
        vector = make_he.values(layout, party, case["length"])
        digests = (bytes.fromhex(case["round"]), bytes.fromhex(case["cohort"]))
        encryption = encrypt(vector, layout, *digests, bytes.fromhex(upload["seed"]), POLYNOMIAL_BYTES)
        made.append(np.frombuffer(b"".join(encryption.shards), dtype="<u8"))
        key += encryption.key.s
    return made, key


@pytest.mark.parametrize("width", [12, 16, 24])
def test_a_sum_opens(width: int) -> None:
    case = ENVELOPES[width]
    layout = LaneLayout(width, case["n_max"])
    assert layout.offset == case["offset"]
    made, key = uploads(width)
    for upload, expected, mark in zip(made, case["uploads"], case["fingerprints"], strict=True):
        same(upload, expected)
        assert fingerprint(upload, case) == tuple(int(half) for half in mark)
    total = modular_sum(made, made[0].size)
    same(total, case["sum"])
    same(key, case["summed_key"])
    marks = [(int(one), int(other)) for one, other in case["fingerprints"]]
    assert fingerprint(total, case) == add(marks) == tuple(int(half) for half in case["fingerprint_of_sum"])
    digests = (bytes.fromhex(case["round"]), bytes.fromhex(case["cohort"]))
    opened = np.concatenate(list(open_sum([total.tobytes()], key, len(made), layout, case["length"], *digests)))
    same(opened, case["opened"])
    expected = sum(make_he.values(layout, party, case["length"]) for party in range(len(made)))
    assert np.array_equal(opened, expected)


def fingerprint(upload: NDArray[np.uint64], case: dict[str, Any]) -> tuple[int, int]:
    made = Fingerprint(bytes.fromhex(case["seal"]))
    made.update(upload)
    return made.value()


@pytest.mark.parametrize("width", [12, 16, 24])
@pytest.mark.parametrize("index", range(len(ENVELOPES[12]["refused"])))
def test_a_bad_sum_is_refused(width: int, index: int) -> None:
    case = ENVELOPES[width]
    bad = case["refused"][index]
    made, key = uploads(width)
    total, wrong_key = modular_sum(made, made[0].size), key.copy()
    if "xor" in bad:
        total[bad["word"]] ^= np.uint64(int(bad["xor"]))
    if "set" in bad:
        total[bad["word"]] = int(bad["set"])
    if "key" in bad:
        wrong_key[bad["key"]] += bad["add"]
    digests = (bytes.fromhex(case["round"]), bytes.fromhex(bad.get("cohort", case["cohort"])))
    layout, n = LaneLayout(width, case["n_max"]), len(made)
    with pytest.raises(ChoraleError):
        list(open_sum([total.tobytes()], wrong_key, n, layout, case["length"], *digests))


@cache
def summed_shares() -> NDArray[np.uint32]:
    dealt = []
    for dealer in SHAMIR["dealers"]:
        seed = bytes.fromhex(dealer["seed"])
        shares = deal(OneTimeKey(seed).s, len(dealer["shares"]), SHAMIR["quorum"], share_stream(seed))
        for row, expected in zip(shares, dealer["shares"], strict=True):
            same(row, expected)
        dealt.append(shares)
    return np.stack([add_shares(shares[row] for shares in dealt) for row in range(len(dealt[0]))])


def shares_of(case: dict[str, Any]) -> NDArray[np.uint32]:
    held = summed_shares().copy()
    if "change" in case:
        row, column = case["change"]["point"] - 1, case["change"]["column"]
        held[row, column] = (int(held[row, column]) + case["change"]["add"]) % SHAMIR["prime"]
    return held[[point - 1 for point in case["points"]]]


def test_keys_are_recovered_and_liars_named() -> None:
    for row, expected in zip(summed_shares(), SHAMIR["summed_shares"], strict=True):
        same(row, expected)
    for case in SHAMIR["corrected"]:
        found = recover(case["points"], shares_of(case), SHAMIR["quorum"], SHAMIR["key_bound"])
        same(found.secret, SHAMIR["recovered"])
        assert list(found.accused) == case["accused"]
    for case in SHAMIR["refused"]:
        with pytest.raises(ChoraleError) as refused:
            recover(case["points"], shares_of(case), SHAMIR["quorum"], SHAMIR["key_bound"])
        assert refused.value.code == case["code"]


def test_a_lie_by_weight_passes_recovery_and_opens_nothing() -> None:
    case = SHAMIR["accepted_but_opens_nothing"]
    found = recover(case["points"], shares_of(case), SHAMIR["quorum"], SHAMIR["key_bound"])
    made, key = uploads(12)
    assert np.abs(found.secret - key).sum() == 1
    vectors = ENVELOPES[12]
    digests = (bytes.fromhex(vectors["round"]), bytes.fromhex(vectors["cohort"]))
    total = modular_sum(made, made[0].size).tobytes()
    layout = LaneLayout(12, vectors["n_max"])
    with pytest.raises(ChoraleError):
        list(open_sum([total], found.secret, len(made), layout, vectors["length"], *digests))


def test_boxes() -> None:
    key = BoxKey.from_private_bytes(bytes.fromhex(BOXES["private"]))
    info, box = bytes.fromhex(BOXES["info"]), bytes.fromhex(BOXES["box"])
    assert key.public_bytes.hex() == BOXES["public"]
    assert open_box(key, info, box).hex() == BOXES["plaintext"]
    context = (bytes.fromhex(BOXES["round"]), bytes.fromhex(BOXES["cohort"]))
    for case in BOXES["share_box_infos"]:
        made = share_box_info(*context, case["dealer"], case["receiver"], bytes.fromhex(case["root"]))
        assert made.hex() == case["info"]
    for case in BOXES["result_box_infos"]:
        contributors = bytes.fromhex(case["contributors"])
        assert result_box_info(*context, contributors, case["opener"], case["receiver"]).hex() == case["info"]
    for case in BOXES["refused"]:
        bad = bytearray(box[: len(box) - case.get("cut", 0)] + bytes.fromhex(case.get("append", "")))
        if "flip" in case:
            bad[case["flip"]] ^= 1
        with pytest.raises(BoxRefused):
            open_box(key, bytes.fromhex(case.get("info", BOXES["info"])), bytes(bad))
    for point in BOXES["x25519_points_refused"]:
        with pytest.raises(KeyRefused):
            check_public_key(key.public_bytes[:1184] + bytes.fromhex(point))
