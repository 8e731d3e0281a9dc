"""Adversary: whoever stole a key, a folder or a disk. What each gets is in the threat model's last table, and is
shown here to work; so is that it gets no more. c = 1: a thief of the service's key may have one partner with it.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client_sdk import upload
from client_sdk.agent import Agent
from client_sdk.partner import Partner
from privacy.errors import BadSignature, BoxRefused, KeystoreLocked, OpeningFailed
from privacy.he.boxes import SHARE_BOX_BYTES, decode_shares, open_box, result_box_info, share_box_info
from privacy.he.envelope import open_sum
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT
from privacy.he.shamir import deal, lagrange_weights
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort, Manifest, Plan, Seal, parse_signed
from privacy.protocol.signing import SigningKey, sign
from tests.attacks.siege import Siege, besieged
from tests.client_sdk.choir import outside, passphrase
from tests.consortium import SeededSource, refused
from tests.signed_client import SignedClient

pytestmark = pytest.mark.full
VICTIM = "partner-03"
COLLUDER = "partner-02"
Words = NDArray[np.int64]


@dataclass
class Over:
    """A round that is over. `ciphertexts`: uploads as the service kept them; `summed`: S; `colluders`: the key that
    the colluder made up; `share`: what the victim dealt to it; `boxes`: results as sent to the victim."""

    siege: Siege
    plan: Plan
    cohort: str
    seal: Seal
    ciphertexts: dict[str, list[bytes]]
    summed: Words
    colluders: Words
    share: NDArray[np.uint32]
    boxes: dict[str, bytes]

    def opens(self, names: list[str], key: Words) -> Words:
        """The sum of these uploads under this key. Raises OpeningFailed."""
        words = sum(np.frombuffer(b"".join(self.ciphertexts[name]), dtype="<u8").astype(object) for name in names)
        total = (words % DEFAULT.modulus).astype("<u8").tobytes()
        layout = LaneLayout(self.plan.layout.lane_width, self.siege.charter.n_max)
        sides = bytes.fromhex(self.plan.digest), bytes.fromhex(self.cohort)
        return np.concatenate(list(open_sum([total], key, len(names), layout, self.plan.layout.length, *sides)))


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Over]:
    root = tmp_path_factory.mktemp("siege")
    kept: dict[str, Any] = {}
    here = threading.local()

    def noted(secret: Words, *rest: Any) -> NDArray[np.uint32]:
        if getattr(here, "colludes", False):
            kept["key"] = secret.copy()
        return deal(secret, *rest)

    with besieged(root) as siege, siege.attempt() as plan, pytest.MonkeyPatch.context() as patch:
        siege.at(COLLUDER, lambda _: setattr(here, "colludes", True))
        patch.setattr(upload, "deal", noted)
        joined = siege.join(plan)
        siege.upload(joined)
        seal = siege.seal_of(plan)
        ciphertexts = {}
        for name in siege.names:
            folder = root / "server" / "blobs" / "rounds" / plan.digest / "uploads" / name
            ciphertexts[name] = [
                path.read_bytes() for path in sorted(folder.iterdir(), key=lambda at: int(at.name))
            ]
        cohort = joined[VICTIM].cohort_digest
        record = siege.record(VICTIM, plan)
        assert record is not None
        assert record.manifest is not None
        uploaded = bytes.fromhex(parse_signed(Manifest, record.manifest).body.shards.root)

        def dealt(agent: Agent) -> NDArray[np.uint32]:
            box = agent.partner.service.share_boxes(plan.digest, [VICTIM])[VICTIM]
            key = agent.partner.round_keys.find(plan.digest)
            assert key is not None
            sides = bytes.fromhex(plan.digest), bytes.fromhex(cohort)
            return decode_shares(open_box(key, share_box_info(*sides, VICTIM, COLLUDER, uploaded), box))

        share = siege.at(COLLUDER, dealt)
        siege.asked_to_open(plan)
        boxes = siege.at(VICTIM, lambda agent: agent.partner.service.result_boxes(plan.digest, siege.names))
        outcome = siege.finish(plan)[VICTIM]
        assert outcome.summed_key is not None
        summed = np.frombuffer(outcome.summed_key, dtype="<i4").astype(np.int64)
        yield Over(siege, plan, cohort, seal.body, ciphertexts, summed, kept["key"], share, boxes)


# --- a partner's folder ---------------------------------------------------------------------------------


def test_a_locked_folder_opens_for_no_other_passphrase_and_holds_no_key_and_no_update_in_the_clear(
    over: Over, tmp_path: Path
) -> None:
    """It holds ciphertexts, a ledger and a model. Every file is searched as bytes."""
    stolen = tmp_path / "stolen"
    shutil.copytree(over.siege.choir.root / VICTIM, stolen)
    for guess in ("", "a passphrase of several word", "A passphrase of several words"):
        with pytest.raises(KeystoreLocked):
            Partner.open(stolen / "partner.toml", outside(), lambda guess=guess: guess)  # type: ignore[misc]
    keys = over.siege.at(VICTIM, lambda agent: agent.partner.keys)
    signing = keys.signing.private_bytes()
    values = over.siege.values(VICTIM)
    secrets = {
        "Ed25519": signing[:32],
        "ML-DSA": signing[32:],
        "result key": keys.result.private_bytes[:32],
        "device secret": keys.device_secret,
        "passphrase": passphrase().encode(),
        "update, int32": values[:64].astype("<i4").tobytes(),
        "update, int64": values[:64].astype("<i8").tobytes(),
        "update, float64": values[:64].astype("<f8").tobytes(),
        "share": over.share[:16].astype("<u4").tobytes(),
        "summed key": over.summed[:32].astype("<i4").tobytes(),
    }
    content = {path: path.read_bytes() for path in stolen.rglob("*") if path.is_file()}
    assert any(
        over.plan.digest.encode() in raw or bytes.fromhex(over.plan.digest) in raw for raw in content.values()
    )
    for path, raw in content.items():
        for what, secret in secrets.items():
            assert secret not in raw, (path.name, what)
            assert secret.hex().encode() not in raw, (path.name, what)


def test_a_folder_and_its_passphrase_open_the_sums_that_were_sent_to_it(over: Over) -> None:
    """What the thief gets: result boxes open, shares add up to S, and S opens the sum."""

    def stolen(agent: Agent) -> list[NDArray[np.uint32]]:
        sides = bytes.fromhex(over.plan.digest), bytes.fromhex(over.cohort)
        chosen = bytes.fromhex(over.seal.contributors_digest)
        return [
            decode_shares(open_box(agent.partner.keys.result, result_box_info(*sides, chosen, name, VICTIM), box))
            for name, box in over.boxes.items()
        ]

    shares = over.siege.at(VICTIM, stolen)
    weights = lagrange_weights([1, 2, 3], [0])[0]
    prime = DEFAULT.share_prime
    found = (
        sum(int(weight) * share.astype(object) for weight, share in zip(weights, shares[:3], strict=True)) % prime
    )
    centred = np.where(found > prime // 2, found - prime, found).astype(np.int64)
    assert np.array_equal(centred, over.summed)
    assert np.array_equal(over.opens(over.siege.names, centred), over.siege.exact())


def test_the_folder_and_its_passphrase_open_no_box_of_a_round_that_is_over(over: Over) -> None:
    """The round's key lay on a memory disk, and was wiped at the opening; the folder's keys are others."""
    siege, plan = over.siege, over.plan

    def stolen(agent: Agent) -> None:
        partner = agent.partner
        record = partner.journal.record(plan.digest)
        assert record is not None
        assert record.manifest is not None
        assert record.attachment is not None
        assert partner.round_keys.find(plan.digest) is None
        manifest = parse_signed(Manifest, record.manifest).body
        start = 32 * manifest.shards.count + siege.names.index(VICTIM) * SHARE_BOX_BYTES
        sides = bytes.fromhex(plan.digest), bytes.fromhex(over.cohort)
        info = share_box_info(*sides, VICTIM, VICTIM, bytes.fromhex(manifest.shards.root))
        with pytest.raises(BoxRefused):
            open_box(partner.keys.result, info, record.attachment[start : start + SHARE_BOX_BYTES])
        assert not list((agent.folder / "uploads").glob("*/*"))

    siege.at(VICTIM, stolen)


# --- the service's disk, and its key --------------------------------------------------------------------


def test_the_services_disk_and_a_partners_sum_open_no_single_upload(over: Over) -> None:
    """S, which every partner has, opens the sum of all and no part of it."""
    for names in ([VICTIM], [VICTIM, "partner-01"], [name for name in over.siege.names if name != VICTIM]):
        with pytest.raises(OpeningFailed):
            over.opens(names, over.summed)


def test_the_services_key_and_a_colluder_open_the_sum_of_the_honest_and_no_part_of_it(over: Over) -> None:
    """P1: with the colluder's own key and share, the disk and S. What they get is the sum of n_min - c or more."""
    honest = [name for name in over.siege.names if name != COLLUDER]
    assert len(honest) >= over.siege.charter.n_min - over.siege.charter.colluders
    of_honest = over.summed - over.colluders
    assert np.array_equal(over.opens(honest, of_honest), over.siege.exact(honest))
    assert np.array_equal(over.opens([COLLUDER], over.colluders), over.siege.exact([COLLUDER]))
    place = over.siege.names.index(COLLUDER) + 1
    prime = DEFAULT.share_prime
    # As if the polynomial were constant, linear with a second share of zero, or S's share were the victim's.
    lone = over.share.astype(object)
    guesses = {"constant": lone}
    for other in range(1, 5):
        if other != place:
            guesses[f"zero at {other}"] = int(lagrange_weights([place, other], [0])[0, 0]) * lone % prime
    keys = {name: np.where(key > prime // 2, key - prime, key).astype(np.int64) for name, key in guesses.items()}
    keys |= {"S": over.summed, "the honest's": of_honest, "the colluder's": over.colluders, "none": 0 * of_honest}
    for key in keys.values():
        for names in ([VICTIM], [VICTIM, "partner-01"], [VICTIM, COLLUDER]):
            with pytest.raises(OpeningFailed):
                over.opens(names, key)


def test_the_services_key_signs_no_plan_and_no_request(over: Over) -> None:
    """Seals, cohorts and receipts are what it signs; each check of those has its attacks elsewhere."""
    siege = over.siege
    with siege.attempt() as plan:
        weaker = plan.model_copy(update={"attempt": plan.attempt + 500})
        message = sign(weaker, OPERATOR, siege.server_key)
        refused(siege.choir.operator.post("/v1/rounds", message), 401, "bad-signature")

        def listed(shown: dict[str, Any]) -> None:
            for line in shown["rounds"]:
                line["round"] = weaker.digest if line["round"] == plan.digest else line["round"]

        shown = siege.document(plan)
        shown.update(round=weaker.digest, plan=message.model_dump(mode="json"))
        siege.server.tell_json(f"/v1/campaigns/{siege.campaign.digest}/rounds", listed, [VICTIM])
        siege.server.answer_instead(f"/v1/rounds/{weaker.digest}", canonical(shown), [VICTIM])

        def act(agent: Agent) -> None:
            with pytest.raises(BadSignature):
                siege.handed(agent, weaker)

        siege.at(VICTIM, act)
        for identity in (OPERATOR, VICTIM):
            refused(
                signing(siege, identity, siege.server_key).get(f"/v1/rounds/{plan.digest}"), 401, "bad-signature"
            )


# --- the operator's key ---------------------------------------------------------------------------------


def signing(siege: Siege, identity: str, key: SigningKey) -> SignedClient:
    """Requests in this name, under this key."""
    honest = siege.choir.operator
    return SignedClient(honest.http, identity, key, outside().clock, SeededSource(f"stolen {identity}"))


def test_the_operators_key_aborts_and_reads_no_box_no_upload_and_no_sum(over: Over) -> None:
    """It ends what is not opened yet, charged as it is; ciphertexts and boxes are not even served to it."""
    siege = over.siege
    thief = signing(siege, OPERATOR, siege.choir._key)
    with siege.attempt() as plan:
        siege.sealed(plan)
        base = f"/v1/rounds/{plan.digest}"
        for path in (
            f"{base}/uploads/{VICTIM}/shards/0",
            f"{base}/boxes?of={VICTIM}",
            f"{base}/sum/shards/0",
            f"{base}/sum/digests",
            f"{base}/openings/boxes?of={VICTIM}",
        ):
            refused(thief.get(path), 403, "not-allowed")
        refused(signing(siege, VICTIM, siege.choir._key).get(f"{base}/boxes?of={VICTIM}"), 401, "bad-signature")
        body = Abort(charter=plan.charter, plan=plan.digest, reason="a thief's")
        assert thief.post(f"{base}/abort", sign(body, OPERATOR, siege.choir._key)).status_code == 200
        assert not siege.released(plan)
        state = siege.state.digest
        for outcome in siege.finish(plan).values():
            assert outcome.closed
            assert outcome.state.digest == state
