"""From compounds to the six partners of the demo, and from their folders back to arrays.

Rules:
1. A compound goes, labels and all, to exactly one partner: for each target a share per partner is drawn from
   Dirichlet(1/2), and a compound is dealt by the shares of its first target (in the order of the task names).
2. Whole Murcko scaffolds are held out: about a fifth of all compounds for the test, and a fifth of what is
   left for validation. Test compounds are dealt like all others; those dealt to a partner are its own test.
3. The deal depends on `DealSettings` and the CSV files alone: it comes from an AES-CTR keystream under the seed.
The files a partner reads hold only its own compounds. Nothing here trains or measures.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from deploy.demo.compounds import FINGERPRINT_BITS, Compounds, Progress, featurise, read_assays, silent
from deploy.demo.settings import DealSettings
from privacy.errors import ConfigurationError
from privacy.randomness import Keystream

FORMAT = 1


@dataclass(frozen=True)
class PartnerData:
    """What one partner holds; `validation` (bool, one a training compound) marks the scaffolds held out of it."""

    train: Compounds
    validation: NDArray[np.bool_]
    test: Compounds


@dataclass(frozen=True)
class Deal:
    """The public description of a prepared folder: no compound is in it."""

    folder: Path
    tasks: tuple[str, ...]
    train_compounds: tuple[int, ...]
    test_compounds: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Of the shared model: a weight for each bit and task."""
        return FINGERPRINT_BITS * len(self.tasks)

    def partner(self, index: int) -> PartnerData:
        with np.load(_partner_file(self.folder, index), allow_pickle=False) as stored:
            return PartnerData(
                train=_compounds(stored, "train"), validation=stored["validation"], test=_compounds(stored, "test")
            )

    def partners(self) -> tuple[PartnerData, ...]:
        return tuple(self.partner(index) for index in range(len(self.train_compounds)))


def prepare(folder: Path, settings: DealSettings, progress: Progress = silent) -> Deal:
    """Deal all compounds into `folder`, unless it already holds this very deal; about a minute on one core."""
    described = folder / "deal.json"
    if described.exists():
        return open_deal(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    tasks, rows = read_assays()
    smiles, compounds, scaffolds = featurise(rows, len(tasks), progress)
    owner = deal_to_partners(compounds.measured, settings)
    test = hold_out(scaffolds, settings.test_fraction, settings, "test")
    left = [scaffold for scaffold, held in zip(scaffolds, test, strict=True) if not held]
    validation = np.zeros(len(smiles), dtype=bool)
    validation[~test] = hold_out(left, settings.validation_fraction, settings, "validation")
    for index in range(settings.partners):
        mine = owner == index
        _write_partner(
            _partner_file(folder, index),
            PartnerData(compounds[mine & ~test], validation[mine & ~test], compounds[mine & test]),
        )
    written = {
        "format": FORMAT,
        "settings": asdict(settings),
        "tasks": tasks,
        "train_compounds": [int((~test & (owner == index)).sum()) for index in range(settings.partners)],
        "test_compounds": [int((test & (owner == index)).sum()) for index in range(settings.partners)],
    }
    described.write_text(json.dumps(written, indent=1), encoding="utf-8")  # last: its presence says all is there
    return open_deal(folder, settings)


def open_deal(folder: Path, settings: DealSettings) -> Deal:
    """The deal that `prepare` left in `folder`; ConfigurationError if it is absent or of other settings."""
    described = folder / "deal.json"
    if not described.exists():
        raise ConfigurationError("a prepared data folder", f"{folder} without deal.json", "run prepare() first")
    stored = json.loads(described.read_text(encoding="utf-8"))
    if stored["format"] != FORMAT or stored["settings"] != asdict(settings):
        raise ConfigurationError(
            f"a deal of {settings}", f"{stored['settings']}", f"delete {folder} and prepare again"
        )
    return Deal(folder, tuple(stored["tasks"]), tuple(stored["train_compounds"]), tuple(stored["test_compounds"]))


def deal_to_partners(measured: NDArray[np.bool_], settings: DealSettings) -> NDArray[np.int64]:
    """The partner of each compound, int64 (n,), by rule 1; `measured` bool (n, tasks), at least one a row.

    Dirichlet(1/2) is the normalised squares of independent normals (gamma with shape 1/2 is half a chi-square
    of one degree of freedom), so no gamma sampler is needed.
    """
    uniform = _uniforms(settings, "deal", measured.shape[1] * settings.partners + len(measured))
    normal = NormalDist()
    squares = np.array([normal.inv_cdf(u) ** 2 for u in uniform[: measured.shape[1] * settings.partners]])
    squares = squares.reshape(measured.shape[1], settings.partners)
    edges = np.cumsum(squares / squares.sum(axis=1, keepdims=True), axis=1)
    first = measured.argmax(axis=1)
    drawn = uniform[-len(measured) :]
    dealt = (drawn[:, None] >= edges[first]).sum(axis=1)
    return np.asarray(np.minimum(dealt, settings.partners - 1), dtype=np.int64)


def hold_out(scaffolds: Sequence[str], fraction: float, settings: DealSettings, purpose: str) -> NDArray[np.bool_]:
    """Which compounds are held out, bool (n,): whole scaffolds in hashed order, while they fit."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, scaffold in enumerate(scaffolds):
        members[scaffold].append(index)
    room = round(fraction * len(scaffolds))
    held = np.zeros(len(scaffolds), dtype=bool)
    for scaffold in sorted(members, key=lambda name: _digest(settings, purpose, name)):
        if len(members[scaffold]) <= room:
            held[members[scaffold]] = True
            room -= len(members[scaffold])
    return held


def _uniforms(settings: DealSettings, purpose: str, count: int) -> NDArray[np.float64]:
    """Uniforms in the open interval (0, 1), float64 (count,)."""
    words = Keystream(_digest(settings, purpose, "")).words(count)
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52


def _digest(settings: DealSettings, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"chorale demo {settings.seed} {purpose}\0{name}".encode()).digest()


def _partner_file(folder: Path, index: int) -> Path:
    return folder / f"partner-{index + 1}.npz"


def _write_partner(path: Path, data: PartnerData) -> None:
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.bool_]] = {"validation": data.validation}
    for part, compounds in (("train", data.train), ("test", data.test)):
        arrays |= {
            f"{part}_packed": compounds.packed,
            f"{part}_labels": compounds.labels,
            f"{part}_measured": compounds.measured,
        }
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type] # its stub takes the names for allow_pickle


def _compounds(stored: np.lib.npyio.NpzFile, part: str) -> Compounds:
    return Compounds(stored[f"{part}_packed"], stored[f"{part}_labels"], stored[f"{part}_measured"])
