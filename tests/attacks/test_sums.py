"""Adversary: a service that adds wrongly, or changes what it holds, and seals the result; a partner that lies about
its own fingerprint. It wants another sum applied than that of the uploads. The error check of every coefficient
(5.1) and the fingerprints (5.4) stop it: the attempt is void for everyone, and no model moves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from hashlib import sha256

import numpy as np
import pytest
from numpy.typing import NDArray

import aggregator.rounds.seal
import client_sdk.opening
from aggregator.rounds.blind_sum import sum_shard
from client_sdk.shards import checked_download
from privacy.errors import DigestMismatch
from privacy.he.addition import MODULUS
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.protocol.merkle import root, shard_digest
from privacy.protocol.messages import ShardRoot
from tests.attacks.siege import Siege, besieged
from tests.client_sdk.choir import values_for
from tests.consortium import SeededSource

LIAR = "partner-02"
Words = NDArray[np.uint64]


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


def rewritten(target: str, change: Callable[[Words], None]) -> bytes:
    words = np.fromfile(target, dtype="<u8")
    change(words)
    words.tofile(target)
    return sha256(words.tobytes()).digest()


def flip_a_low_bit(words: Words) -> None:
    words[77] ^= np.uint64(1)


def flip_a_high_bit(words: Words) -> None:
    words[4000] ^= np.uint64(1 << 40)


def add_a_message_and_an_error(words: Words) -> None:
    """4096 = 4075 + 21: every error and every lane stays in range."""
    words[5] = (words[5] + np.uint64(DEFAULT.delta + 21)) % np.uint64(MODULUS)


def negate(words: Words) -> None:
    words[:] = (np.uint64(MODULUS) - words) % np.uint64(MODULUS)


def left_out(uploads: list[str], target: str, size: int) -> bytes:
    return sum_shard(uploads[1:], target, size)


def counted_twice(uploads: list[str], target: str, size: int) -> bytes:
    return sum_shard([*uploads, uploads[0]], target, size)


def swapped_for_another(uploads: list[str], target: str, size: int) -> bytes:
    return sum_shard([uploads[1], *uploads[1:]], target, size)


def after_receipt(uploads: list[str], target: str, size: int) -> bytes:
    """One bit of one upload changes on the service's disk between receipt and sum."""
    rewritten(uploads[2], flip_a_low_bit)
    return sum_shard(uploads, target, size)


def changed_by(change: Callable[[Words], None]) -> Callable[[list[str], str, int], bytes]:
    def adding(uploads: list[str], target: str, size: int) -> bytes:
        sum_shard(uploads, target, size)
        return rewritten(target, change)

    return adding


FALSE_SUMS = {
    "a message higher": changed_by(add_a_message_and_an_error),
    "a low bit": changed_by(flip_a_low_bit),
    "a high bit": changed_by(flip_a_high_bit),
    "negated": changed_by(negate),
    "left out": left_out,
    "counted twice": counted_twice,
    "swapped": swapped_for_another,
    "after its receipt": after_receipt,
}


@pytest.mark.parametrize(
    "how",
    [
        name if name in ("a low bit", "after its receipt") else pytest.param(name, marks=pytest.mark.full)
        for name in FALSE_SUMS
    ],
)
def test_a_false_sum_is_void_for_everyone(siege: Siege, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(aggregator.rounds.seal, "sum_shard", FALSE_SUMS[how])
    before = siege.state.digest
    with siege.attempt() as plan:
        siege.sealed(plan)
        for outcome in siege.finish(plan).values():
            assert outcome.void
            assert outcome.state.digest == before
            assert outcome.values is None


def test_one_flipped_bit_in_any_shard_that_is_served() -> None:
    """The seal is right, what is downloaded is not: each shard is under its root before a byte of it is used."""
    polynomials, count = 5, 5
    source = SeededSource("a sum")
    shards = [
        (np.frombuffer(source.bytes(POLYNOMIAL_BYTES), dtype="<u8") % np.uint64(MODULUS)).tobytes()
        for _ in range(count)
    ]
    digests = [shard_digest(shard) for shard in shards]
    signed = ShardRoot(root=root(digests), count=count, shard_bytes=POLYNOMIAL_BYTES)
    assert list(checked_download(lambda index, _: shards[index], digests, signed, polynomials)) == shards
    for bad in range(count):
        bit = int.from_bytes(source.bytes(4), "little") % (8 * POLYNOMIAL_BYTES)

        def served(index: int, _: int, bad: int = bad, bit: int = bit) -> bytes:
            shard = bytearray(shards[index])
            if index == bad:
                shard[bit // 8] ^= 1 << bit % 8
            return bytes(shard)

        with pytest.raises(DigestMismatch, match=f"shard {bad} "):
            list(checked_download(served, digests, signed, polynomials))
        false = [*digests[:bad], sha256(b"other").digest(), *digests[bad + 1 :]]
        with pytest.raises(DigestMismatch):
            list(checked_download(served, false, signed, polynomials))


def test_a_partner_that_signs_a_false_fingerprint_is_named_and_the_sum_is_applied(
    siege: Siege, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have everyone believe that the service lies. Its upload is fetched, and tells (5.4)."""
    honest, lying = client_sdk.opening.fingerprint, threading.local()
    siege.at(LIAR, lambda _: setattr(lying, "here", True))

    def false(shards: object, seal: str) -> tuple[int, int]:
        first, second = honest(shards, seal)  # type: ignore[arg-type]
        return (first + 1 if getattr(lying, "here", False) else first), second

    monkeypatch.setattr(client_sdk.opening, "fingerprint", false)
    with siege.attempt() as plan:
        siege.sealed(plan)
        expected = sum(values_for(name).astype(np.int64) for name in siege.names)
        for outcome in siege.finish(plan).values():
            assert outcome.confirmed
            assert outcome.values is not None
            assert np.array_equal(outcome.values, expected)
            assert outcome.report.accused == {LIAR: "the fingerprint it signed is not that of its upload"}
