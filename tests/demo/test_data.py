"""The deal: whole scaffolds, every compound once, the same on every machine; and its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.demo import data
from deploy.demo.compounds import Compounds, pool
from deploy.demo.data import deal_to_partners, hold_out, open_deal, prepare
from deploy.demo.settings import DealSettings
from privacy.errors import ConfigurationError

DEAL = DealSettings()


def compounds(count: int, tasks: int = 3, seed: int = 0) -> Compounds:
    rng = np.random.default_rng(seed)
    measured = rng.random((count, tasks)) < 0.5
    measured[:, 0] |= ~measured.any(axis=1)
    labels = ((rng.random((count, tasks)) < 0.5) & measured).astype(np.uint8)
    bits = rng.random((count, 2048)) < 0.03
    bits[:, :8] = rng.random((count, 8)) < 0.5
    return Compounds(np.packbits(bits, axis=1), labels, measured)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=200), st.floats(0.05, 0.9))
def test_whole_scaffolds_are_held_out_within_the_fraction(groups: list[int], fraction: float) -> None:
    names = [f"scaffold {group}" for group in groups]
    held = hold_out(names, fraction, DEAL, "test")
    assert held.sum() <= round(fraction * len(names))
    for name in set(names):
        assert len({bool(h) for n, h in zip(names, held, strict=True) if n == name}) == 1


def test_the_deal_follows_the_seed_and_is_uneven() -> None:
    measured = compounds(3000).measured
    owner = deal_to_partners(measured, DEAL)
    assert np.array_equal(owner, deal_to_partners(measured, DEAL))
    assert not np.array_equal(owner, deal_to_partners(measured, replace(DEAL, seed=2)))
    assert set(owner) <= set(range(DEAL.partners))
    first = measured.argmax(axis=1)
    shares = np.array([np.bincount(owner[first == task], minlength=6) / (first == task).sum() for task in range(3)])
    assert shares.max() > 2 / 6  # even shares would stay near 1/6


def test_features_have_norm_one_and_targets_mark_what_is_missing() -> None:
    some = compounds(20)
    assert np.allclose(np.linalg.norm(some.features(), axis=1), 1, atol=1e-6)
    assert np.array_equal(some.targets() == -1, ~some.measured)
    assert np.array_equal(some.targets()[some.measured], some.labels[some.measured].astype(np.float32))


def test_prepare_merges_duplicates_and_gives_every_compound_to_one_partner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = ["c1ccccc1", "C1CCCCC1", "c1ccncc1", "c1ccc2ccccc2c1", "c1ccoc1", "C1CCNCC1"]
    rows = [(f"{'C' * length}{ring}", length % 2, 6.0 + length / 10) for ring in rings for length in range(1, 9)]
    rows += [("OCC", 0, 6.0), ("CCO", 0, 8.2), ("C(O)C", 1, 5.0)]  # ethanol thrice: first task 7.1 on average
    monkeypatch.setattr(data, "read_assays", lambda: (["first", "second"], rows))
    deal = prepare(tmp_path, DEAL)
    assert deal.tasks == ("first", "second")
    assert sum(deal.train_compounds) + sum(deal.test_compounds) == 49
    everything = pool([part for p in deal.partners() for part in (p.train, p.test)])
    both = everything.measured.all(axis=1)
    assert both.sum() == 1
    assert everything.labels[both].tolist() == [[1, 0]]
    assert all(len(p.validation) == len(p.train) for p in deal.partners())
    assert 0 < sum(deal.test_compounds) <= 10


def test_a_folder_of_another_deal_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="prepare"):
        open_deal(tmp_path, DEAL)
    monkeypatch.setattr(data, "read_assays", lambda: (["only"], [("C" * n + "O", 0, 7.0) for n in range(1, 12)]))
    prepare(tmp_path, DEAL)
    with pytest.raises(ConfigurationError, match="delete"):
        open_deal(tmp_path, replace(DEAL, seed=9))
