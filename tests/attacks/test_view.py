"""Adversary: the service and c partners, pooling all that they see in a run, and told every message besides.
What is left of the honest partners' uploads, b_i - delta m_i, must look uniform (P1, P2); with the summed key, the
sum of all must not, and that of any fewer must.

False alarms: 3 honest partners give 12 sequences of 4 statistics, each at ALPHA = 1e-6; with shares and partial
sums it is below 1e-4 in a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
import pytest

from client_sdk.agent import Agent
from client_sdk.opening import request_for
from privacy.he.envelope import encrypt, error_stream
from privacy.he.error_sampler import ErrorSampler
from privacy.he.lanes import LaneLayout
from privacy.he.ring import Ring, RingKey
from privacy.protocol.opening_checks import check_opening
from tests.attacks.battery import ALPHA, Q, Words, divided, p_values, public_polynomial, rejections
from tests.attacks.siege import besieged
from tests.client_sdk.choir import values_for

COLLUDER = "partner-02"
DELTA = 4075


def residual(raw: bytes, layout: LaneLayout, values: np.ndarray) -> Words:
    """b - delta m mod q of an upload's first polynomial, from its message."""
    packed = layout.pack(values)[:4096].astype(object)
    left: Words = (np.frombuffer(raw, dtype="<u8")[:4096].astype(object) - DELTA * packed) % Q
    return left


View = tuple[dict[str, Words], Ring, dict[str, np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """Residuals by partner, the ring, what was dealt to the colluder, and S, of a real run."""
    root = tmp_path_factory.mktemp("siege")
    with besieged(root) as siege, siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload(joined)
        siege.seal_of(plan)
        blobs = root / "server" / "blobs" / "rounds" / plan.digest / "uploads"
        layout = LaneLayout(plan.layout.lane_width, siege.charter.n_max)
        residuals = {
            name: residual((blobs / name / "0").read_bytes(), layout, values_for(name)) for name in siege.names
        }
        dealt: dict[str, np.ndarray] = {}

        def kept(agent: Agent) -> None:
            partner = agent.partner
            document, record = partner.service.round(plan.digest), partner.journal.record(plan.digest)
            key = partner.round_keys.find(plan.digest)
            assert document.seal is not None
            assert record is not None
            assert key is not None
            request = request_for(partner, record, document.seal, partner.service.manifests(plan.digest))

            def fetch(name: str) -> bytes:
                return partner.service.share_boxes(plan.digest, [name])[name]

            dealt.update(check_opening(request, fetch, key, partner.verifier))

        siege.at(COLLUDER, kept)
        outcome = siege.finish(plan)[COLLUDER]
        assert outcome.summed_key is not None
        summed = np.frombuffer(outcome.summed_key, dtype="<i4").astype(np.int64)
        ring = Ring(bytes.fromhex(plan.digest), bytes.fromhex(joined[COLLUDER].cohort_digest))
        yield residuals, ring, dealt, summed


def test_what_is_left_of_honest_uploads_looks_uniform(view: View) -> None:
    residuals, ring, _, _ = view
    honest = {name: words for name, words in residuals.items() if name != COLLUDER}
    assert rejections(honest, ring) == []


def test_what_was_dealt_to_the_colluder_looks_uniform(view: View) -> None:
    """c shares, fewer than t, of each honest key. (Words below p, stretched to those below q.)"""
    _, _, dealt, _ = view
    for name, shares in dealt.items():
        if name != COLLUDER:
            stretched = shares.astype(object) * Q // (2**31 - 1)
            assert min(p_values(stretched)[which] for which in ("high", "mean", "serial")) > ALPHA


def test_with_the_summed_key_the_sum_alone_opens(view: View) -> None:
    """The battery tells what is known: all residuals together, and S, leave small errors; any fewer do not."""
    residuals, ring, _, summed = view
    product = np.asarray(ring.products(RingKey(summed), 0, 1)).reshape(-1).astype(object)
    total = sum(residuals.values(), np.zeros(4096, dtype=object))
    errors = (total + product) % Q
    assert max(min(int(word), Q - int(word)) for word in errors) < 10 * 6.364 * 2 + 1
    assert p_values(errors)["high"] < ALPHA
    for name in residuals:
        if name != COLLUDER:
            assert min(p_values((total - residuals[name] + product) % Q).values()) > ALPHA


# --- the battery itself --------------------------------------------------------------------------------------

R, J = sha256(b"R").digest(), sha256(b"J").digest()
LAYOUT = LaneLayout(24, 4)


def upload(seed: bytes, values: np.ndarray) -> Words:
    return residual(b"".join(encrypt(values, LAYOUT, R, J, seed, 32768).shards), LAYOUT, values)


def test_the_battery_passes_honest_uploads() -> None:
    made = {name: upload(name.encode().ljust(32), values_for(name)) for name in ("a1", "b1", "c1")}
    assert rejections(made, Ring(R, J)) == []


def test_the_battery_rejects_a_planted_reused_key() -> None:
    """Two messages under one seed: their residuals are the same words."""
    made = {"a1": upload(b"k" * 32, values_for("a1")), "b1": upload(b"k" * 32, values_for("b1"))}
    assert any(found.startswith("a1 - b1") for found in rejections(made, Ring(R, J)))


def test_the_battery_rejects_a_key_reused_with_fresh_errors() -> None:
    first = upload(b"k" * 32, values_for("a1"))
    drawn = [ErrorSampler(error_stream(seed, 0)).draw(4096).astype(object) for seed in (b"k" * 32, b"f" * 32)]
    made = {"a1": first, "b1": (first - drawn[0] + drawn[1]) % Q}
    found = rejections(made, Ring(R, J))
    assert any(name.startswith("a1 - b1") for name in found)
    assert not any(name.startswith(("a1:", "b1:", "a1 /", "b1 /")) for name in found)


def test_the_battery_rejects_a_planted_error_of_zero() -> None:
    words = upload(b"k" * 32, values_for("a1"))
    drawn = ErrorSampler(error_stream(b"k" * 32, 0)).draw(4096).astype(object)
    found = rejections({"a1": (words - drawn) % Q}, Ring(R, J))
    assert found
    assert all(name.startswith("a1 / a") for name in found)


def test_division_undoes_multiplication() -> None:
    ring = Ring(R, J)
    key = np.arange(-2048, 2048, dtype=np.int64) % 7
    product = np.asarray(ring.products(RingKey(key), 0, 1)).reshape(-1).astype(object)
    assert [int(word) for word in divided(product, public_polynomial(ring))] == key.tolist()
