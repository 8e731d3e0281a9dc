"""Adversary: whoever takes a partner's whole folder, with its passphrase, after a round; or the service's disk.
What each gets is in the threat model; here is what it does not get: the update that was uploaded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from client_sdk.agent import Agent
from privacy.errors import BoxRefused, OpeningFailed
from privacy.he.boxes import SHARE_BOX_BYTES, open_box, share_box_info
from privacy.he.envelope import open_sum
from privacy.he.lanes import LaneLayout
from privacy.protocol.messages import Manifest, Plan, parse_signed
from tests.attacks.siege import Siege, besieged

pytestmark = pytest.mark.full
VICTIM = "partner-03"


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Siege, Plan, str, list[bytes], np.ndarray]]:
    """A round that is over: the siege, the plan, J, the victim's ciphertext as the service kept it, and S."""
    root = tmp_path_factory.mktemp("siege")
    with besieged(root) as siege, siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload(joined)
        siege.seal_of(plan)
        folder = root / "server" / "blobs" / "rounds" / plan.digest / "uploads" / VICTIM
        ciphertext = [path.read_bytes() for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]
        outcome = siege.finish(plan)[VICTIM]
        assert outcome.summed_key is not None
        summed = np.frombuffer(outcome.summed_key, dtype="<i4").astype(np.int64)
        yield siege, plan, joined[VICTIM].cohort_digest, ciphertext, summed


Over = tuple[Siege, Plan, str, list[bytes], np.ndarray]


def test_the_folder_and_its_passphrase_open_no_box_of_a_round_that_is_over(over: Over) -> None:
    """The round's key lay on a memory disk, and was wiped at the opening; the folder's keys are others."""
    siege, plan, cohort, _, _ = over

    def stolen(agent: Agent) -> None:
        partner = agent.partner
        record = partner.journal.record(plan.digest)
        assert record is not None
        assert record.manifest is not None
        assert record.attachment is not None
        assert partner.round_keys.find(plan.digest) is None
        manifest = parse_signed(Manifest, record.manifest).body
        own = siege.names.index(VICTIM)
        start = 32 * manifest.shards.count + own * SHARE_BOX_BYTES
        info = share_box_info(
            bytes.fromhex(plan.digest), bytes.fromhex(cohort), VICTIM, VICTIM, bytes.fromhex(manifest.shards.root)
        )
        with pytest.raises(BoxRefused):
            open_box(partner.keys.result, info, record.attachment[start : start + SHARE_BOX_BYTES])
        assert not list((agent.folder / "uploads").glob("*/*"))

    siege.at(VICTIM, stolen)


def test_the_services_disk_and_a_partners_sum_open_no_single_upload(over: Over) -> None:
    """S, which every partner has, opens the sum of all and no part of it."""
    siege, plan, cohort, ciphertext, summed = over
    layout = LaneLayout(plan.layout.lane_width, siege.charter.n_max)
    round_digest = bytes.fromhex(plan.digest)
    with pytest.raises(OpeningFailed):
        list(open_sum(ciphertext, summed, 1, layout, plan.layout.length, round_digest, bytes.fromhex(cohort)))
