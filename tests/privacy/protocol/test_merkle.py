"""Merkle roots against a plain recursive definition, and what must change them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import DigestMismatch, MalformedMessage
from privacy.protocol import merkle

digests = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20)


def reference(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1: split at the largest power of two below n; equal to pairing with a lone node moving up."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + reference(leaves[:split]) + reference(leaves[split:])).digest()


@given(digests)
def test_root_is_that_of_rfc_6962(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == reference(leaves).hex()


@given(digests, st.data())
def test_any_changed_leaf_changes_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves]
    changed[index] = hashlib.sha256(changed[index]).digest()
    with pytest.raises(DigestMismatch):
        merkle.check_root(changed, merkle.root(leaves), len(leaves))


def test_a_node_does_not_pass_for_a_leaf() -> None:
    leaves = [merkle.shard_digest(bytes([i])) for i in range(2)]
    assert merkle.root([bytes.fromhex(merkle.root(leaves))]) != merkle.root(leaves)


def test_the_count_is_checked_and_nothing_has_no_root() -> None:
    leaves = [merkle.shard_digest(b"x")]
    with pytest.raises(DigestMismatch):
        merkle.check_root(leaves, merkle.root(leaves), 2)
    with pytest.raises(MalformedMessage):
        merkle.root([])
