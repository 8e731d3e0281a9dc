"""Planted faults: contexts in which the code that trains is broken in one way, to try an experiment on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import client_sdk.rehearsal
from privacy.dp import mechanism, privatise
from privacy.dp.discrete_gaussian import noise_blocks
from privacy.randomness import Keystream

HONEST = 4
"""h of the rehearsals: sqrt(h) is 2."""


@contextmanager
def _noise(change: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Iterator[None]:
    def changed(count: int, keystream: Keystream) -> Iterator[tuple[int, NDArray[np.int64]]]:
        for start, noise in noise_blocks(count, keystream):
            yield start, change(noise)

    with patch.object(privatise, "noise_blocks", changed):
        yield


def no_noise() -> AbstractContextManager[None]:
    return _noise(np.zeros_like)


def noise_divided_twice() -> AbstractContextManager[None]:
    """By sqrt(h) once more, where it is drawn."""
    return _noise(lambda noise: np.rint(noise / math.sqrt(HONEST)).astype(np.int64))


@contextmanager
def clip_multiplied_twice() -> Iterator[None]:
    """sqrt(h) counted twice in the scale of the fine grid: the noise looks right, what it covers is too large."""
    honest = mechanism.fine_clip
    with patch.object(mechanism, "fine_clip", lambda z, h: honest(z, h * h)):
        yield


@contextmanager
def no_clipping() -> Iterator[None]:
    def add_all(self: Any, shared: Any, private: Any = ()) -> None:
        rows = privatise._rows(shared), privatise._rows(private)
        count = (*rows[0], *rows[1])[0].shape[0]
        self.records += count
        self._accumulate(*rows, np.full(count, self._fine_clip / self._plan.clip), 1.0)

    with patch.object(privatise.RecordSum, "add_records", add_all):
        yield


@contextmanager
def batch_shuffled() -> Iterator[None]:
    """A loader's epochs: a permutation dealt out in batches of one size."""
    dealt: list[NDArray[np.int64]] = []

    def deal(records: int, sampling_rate: float, keystream: Keystream) -> NDArray[np.int64]:
        size = max(1, round(records * sampling_rate))
        if records == 0:
            return np.zeros(0, dtype=np.int64)
        if not dealt:
            order = np.argsort(keystream.words(records), kind="stable")
            dealt.extend(np.sort(order[start : start + size]) for start in range(0, records, size))
        return dealt.pop()

    with patch("client_sdk.training.poisson_sample", deal):
        yield


@contextmanager
def fixed_size_batches() -> Iterator[None]:
    """A new subset of one size each round: records do repeat, sizes do not vary."""

    def choose(records: int, sampling_rate: float, keystream: Keystream) -> NDArray[np.int64]:
        order = np.argsort(keystream.words(records), kind="stable")
        return np.sort(order[: round(records * sampling_rate)])

    with patch("client_sdk.training.poisson_sample", choose):
        yield


@contextmanager
def same_batch_again() -> Iterator[None]:
    """A sample that does not depend on the round."""
    kept: dict[int, NDArray[np.int64]] = {}

    def repeat(records: int, sampling_rate: float, keystream: Keystream) -> NDArray[np.int64]:
        word = keystream.words(records)
        return kept.setdefault(records, np.flatnonzero(word < np.uint64(sampling_rate * 2**64)).astype(np.int64))

    with patch("client_sdk.training.poisson_sample", repeat):
        yield


@contextmanager
def one_partner_silent() -> Iterator[None]:
    """The last of the h contributors of a rehearsed sum uploads zeros."""
    add = client_sdk.rehearsal.add_lanes

    def silenced(lanes: Any, uploads: list[NDArray[np.int32]]) -> NDArray[np.int64]:
        return add(lanes, [*uploads[:-1], np.zeros_like(uploads[-1])])

    with patch.object(client_sdk.rehearsal, "add_lanes", silenced):
        yield


@contextmanager
def nothing_wrong() -> Iterator[None]:
    yield
