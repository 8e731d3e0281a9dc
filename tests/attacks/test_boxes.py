"""Adversary: a service, or a malicious dealer, that tampers with the boxes of shares. It wants a sum of keys that
is one honest partner's key, or partners that cannot open. Opening check 6 (protocol 4.4) names the dealer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from client_sdk import upload
from client_sdk.agent import Agent
from privacy.he.boxes import SHARE_BOX_BYTES, encode_shares, seal_box, share_box_info
from privacy.protocol.messages import Manifest, Plan, parse_signed
from tests.attacks.lying_server import Asked
from tests.attacks.siege import Siege, besieged
from tests.client_sdk.choir import values_for

HONEST = "partner-01"
ZERO = encode_shares(np.zeros(4096, dtype=np.uint32))


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


def serve_boxes(siege: Siege, plan: Plan, change: Callable[[str, str, bytes], bytes], to: list[str]) -> None:
    """Boxes pass through `change(dealer, receiver, box)` on their way to `to`."""

    def lie(asked: Asked, raw: bytes) -> bytes:
        dealers = asked.query["of"][0].split(",")
        boxes = [raw[start : start + SHARE_BOX_BYTES] for start in range(0, len(raw), SHARE_BOX_BYTES)]
        pairs = zip(dealers, boxes, strict=True)
        return b"".join(change(dealer, asked.identity, box) for dealer, box in pairs)

    siege.server.tell(f"/v1/rounds/{plan.digest}/boxes", lie, to)


def reasons(siege: Siege, plan: Plan) -> dict[str, str]:
    return {said["body"]["partner"]: said["body"]["reason"] for said in siege.document(plan)["refusals"]}


def test_shares_of_a_key_of_zero_for_all_honest_partners_but_one(siege: Siege) -> None:
    """The sum of the keys would be that one's key, and the sum minus what the others sent, that one's update.

    The boxes are well sealed, to the right keys under the right info: only the dealers' signed digests tell.
    """
    with siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload(joined)
        siege.seal_of(plan)
        roots = {}
        for name in siege.names:
            record = siege.record(name, plan)
            assert record is not None
            assert record.manifest is not None
            roots[name] = bytes.fromhex(parse_signed(Manifest, record.manifest).body.shards.root)
        round_digest, cohort = bytes.fromhex(plan.digest), bytes.fromhex(joined[HONEST].cohort_digest)

        def zeroed(dealer: str, receiver: str, box: bytes) -> bytes:
            if dealer == HONEST:
                return box
            info = share_box_info(round_digest, cohort, dealer, receiver, roots[dealer])
            return seal_box(bytes.fromhex(joined[HONEST].joins[receiver].round_key), info, ZERO)

        serve_boxes(siege, plan, zeroed, siege.names)
        siege.asked_to_open(plan)
        assert siege.refusals(plan) == dict.fromkeys(siege.names, 6)
        assert not siege.released(plan)
        assert all("the box that partner-02 signed for" in reason for reason in reasons(siege, plan).values())


def test_boxes_that_are_addressed_to_others(siege: Siege) -> None:
    """What was for one is served to another, and the other way round."""
    with siege.attempt() as plan:
        siege.sealed(plan)
        kept: dict[tuple[str, str], bytes] = {}
        for receiver in siege.names:
            held = siege.at(
                receiver, lambda agent: agent.partner.service.share_boxes(plan.digest, [HONEST, "partner-02"])
            )
            kept.update({(dealer, receiver): box for dealer, box in held.items()})
        turned = dict(zip(siege.names, siege.names[1:] + siege.names[:1], strict=True))

        def of_another(dealer: str, receiver: str, box: bytes) -> bytes:
            return kept.get((dealer, turned[receiver]), box)

        serve_boxes(siege, plan, of_another, siege.names)
        siege.asked_to_open(plan)
        assert siege.refusals(plan) == dict.fromkeys(siege.names, 6)
        assert not siege.released(plan)


@pytest.mark.full
def test_boxes_of_another_attempt(siege: Siege) -> None:
    """A replay: same dealer, same receiver, an attempt that was aborted."""
    with siege.attempt() as earlier:
        siege.sealed(earlier)
        old = siege.at(HONEST, lambda agent: agent.partner.service.share_boxes(earlier.digest, siege.names))
    with siege.attempt() as plan:
        siege.sealed(plan)
        serve_boxes(siege, plan, lambda dealer, _, box: old[dealer], [HONEST])
        siege.asked_to_open(plan, [HONEST])
        assert siege.refusals(plan) == {HONEST: 6}


def test_one_flipped_bit_in_a_box(siege: Siege) -> None:
    with siege.attempt() as plan:
        siege.sealed(plan)

        def flipped(dealer: str, _: str, box: bytes) -> bytes:
            return box[:5000] + bytes([box[5000] ^ 1]) + box[5001:] if dealer == "partner-03" else box

        serve_boxes(siege, plan, flipped, [HONEST])
        siege.asked_to_open(plan, [HONEST])
        assert siege.refusals(plan) == {HONEST: 6}
        assert "partner-03" in reasons(siege, plan)[HONEST]


@pytest.mark.full
def test_dropped_for_some_receivers_they_refuse_and_the_rest_open(siege: Siege) -> None:
    """Availability alone is lost, where fewer than t are left; the one who has no box says whose it was."""
    with siege.attempt() as plan:
        siege.sealed(plan)
        serve_boxes(siege, plan, lambda dealer, _, box: b"" if dealer == "partner-02" else box, [HONEST])
        siege.asked_to_open(plan, [HONEST])
        assert siege.refusals(plan) == {HONEST: 6}
        outcomes = siege.finish(plan)
        assert all(outcome.confirmed for outcome in outcomes.values())
        assert HONEST not in siege.released(plan)


def test_a_dealer_signs_for_a_box_that_holds_no_shares(siege: Siege, monkeypatch: pytest.MonkeyPatch) -> None:
    """A malicious partner; its own signature is on the digest, so nobody else is called guilty."""
    honest = upload._seal_shares
    with siege.attempt() as plan:
        joined = siege.join(plan)

        def contribute(name: str, agent: Agent) -> None:
            agent.contribute(joined[name], values_for(name))

        siege.each([name for name in siege.names if name != "partner-02"], contribute)

        def junk(dealer: str, *rest: object) -> dict[str, bytes]:
            boxes = honest(dealer, *rest)  # type: ignore[arg-type]
            return {**boxes, HONEST: bytes(SHARE_BOX_BYTES)}

        with monkeypatch.context() as patch:
            patch.setattr(upload, "_seal_shares", junk)
            siege.each(["partner-02"], contribute)
        siege.seal_of(plan)
        siege.asked_to_open(plan, [HONEST])
        assert siege.refusals(plan) == {HONEST: 6}
        assert "partner-02 is at fault" in reasons(siege, plan)[HONEST]


def test_a_dealer_passes_an_honest_partners_box_off_as_its_own(
    siege: Siege, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Related keys: with a second copy of an honest key in the sum, and a ciphertext made from the honest one, the
    opened sum would tell of that key. A box opens under its dealer's name and root alone (info)."""
    with siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload({name: joined[name] for name in siege.names if name != "partner-02"})
        record = siege.record(HONEST, plan)
        assert record is not None
        assert record.manifest is not None
        assert record.attachment is not None
        manifest = parse_signed(Manifest, record.manifest).body
        start = 32 * manifest.shards.count
        sizes = range(start, len(record.attachment), SHARE_BOX_BYTES)
        stolen = [record.attachment[place : place + SHARE_BOX_BYTES] for place in sizes]

        def copied(*_: object) -> dict[str, bytes]:
            return dict(zip(siege.names, stolen, strict=True))

        with monkeypatch.context() as patch:
            patch.setattr(upload, "_seal_shares", copied)
            siege.upload({"partner-02": joined["partner-02"]})
        siege.seal_of(plan)
        siege.asked_to_open(plan)
        assert siege.refusals(plan) == dict.fromkeys(siege.names, 6)
        assert not siege.released(plan)
