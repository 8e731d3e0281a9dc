"""Adversary: a service that forgets, cuts or forges charges, a folder's older copy, whoever drafts a charter. It
wants budget that was spent already, or terms that a partner did not choose. Two ledgers that are compared each
round (protocol 6.4), and what a partner checks before it signs (4.0), stop it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.storage.folder import load_keys
from client_sdk.attempt import Outcome
from client_sdk.enrolment import Offered, accept_charter
from client_sdk.journal import append_own
from client_sdk.model_state import ModelState
from client_sdk.partner import Partner
from privacy.dp.caps import Caps
from privacy.errors import LedgerBroken, NotAllowed, PolicyRefused, RolledBack, UnsafeParameters, WeakerThanCharter
from privacy.ledger.chain import ChainVerifier
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Campaign, Charter, Deadlines, Plan
from privacy.protocol.signing import SigningKey, sign
from tests.attacks.lying_server import LyingServer
from tests.client_sdk.choir import EVENT, Choir, choir, outside, passphrase, take_part, together
from tests.consortium import SeededSource

RESTORED = "partner-02"
SERVER_LIES = LyingServer()


@pytest.fixture(scope="module")
def after_one_round(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Choir, Campaign, ModelState]]:
    """Three partners after a round; partner-02's folder as it was before lies beside, in `backup`."""
    root = tmp_path_factory.mktemp("choir")
    with choir(root, wrap=SERVER_LIES.before) as three:
        _, campaign, state = three.constitute()
        with three.agent(RESTORED) as agent:
            agent.current_state(campaign)
        shutil.copytree(root / RESTORED, root / "backup")
        three.post_plan(campaign, state.digest)

        def act(name: str) -> Outcome:
            with three.agent(name) as agent:
                return take_part(agent, campaign)

        yield three, campaign, together(three.names, act)[RESTORED].state


def test_a_folder_restored_from_an_older_copy_stops(
    after_one_round: tuple[Choir, Campaign, ModelState], tmp_path: Path
) -> None:
    three, _, _ = after_one_round
    shutil.move(three.root / RESTORED, tmp_path / "newest")
    shutil.copytree(three.root / "backup", three.root / RESTORED)
    try:
        with three.partner(RESTORED) as partner:
            with pytest.raises(RolledBack, match="newest copy of this folder"):
                partner.ledger_watch.sync(partner.service)
            assert partner.own_ledger.head.count == 0
    finally:
        shutil.rmtree(three.root / RESTORED)
        shutil.move(tmp_path / "newest", three.root / RESTORED)


def test_a_charge_that_the_service_does_not_have_is_an_alarm(
    after_one_round: tuple[Choir, Campaign, ModelState],
) -> None:
    three, campaign, state = after_one_round
    with three.partner("partner-01") as partner:
        plan = forged_plan(three, campaign, state)
        entry = partner.own_ledger.next_charge(plan, three.charter, partner.now())
        assert entry is not None
        partner.own_ledger.written(entry)  # in memory alone: the folder stays as it was
        with pytest.raises(LedgerBroken, match="differs from partner-01's own"):
            partner.ledger_watch.sync(partner.service)


def test_a_service_whose_ledger_was_cut_is_an_alarm(
    after_one_round: tuple[Choir, Campaign, ModelState],
) -> None:
    """Its key signs the chain as it was before the last entry: nothing in the answer itself is false."""
    three, _, _ = after_one_round
    with three.partner("partner-01") as partner:
        seen = partner.ledger_watch.sync(partner.service)
        last = ChainVerifier()
        for line in partner.service.ledger(0, seen.count - 1):
            last.add_line(line)
        true = partner.service.checkpoint().body
        cut = sign(true.model_copy(update={"chain": last.head}), SERVER, load_keys(three.root / "server").server)
        SERVER_LIES.answer_instead("/v1/ledger/checkpoint", cut.canonical_bytes, ["partner-01"])
        try:
            with pytest.raises(LedgerBroken, match="was cut, or restored"):
                partner.ledger_watch.sync(partner.service)
        finally:
            SERVER_LIES.be_honest()
        assert partner.ledger_watch.sync(partner.service) == seen


def test_the_own_chain_is_verified_when_the_folder_is_opened(
    after_one_round: tuple[Choir, Campaign, ModelState], tmp_path: Path
) -> None:
    three, campaign, state = after_one_round
    copy = tmp_path / "copy"
    shutil.copytree(three.root / "partner-01", copy)
    with Partner.open(copy / "partner.toml", outside(), passphrase) as partner:
        assert verified(partner).head.count == 1
        entry = partner.own_ledger.next_charge(forged_plan(three, campaign, state), three.charter, partner.now())
        assert entry is not None
        altered = entry.model_copy(update={"previous": "00" * 32})
        with partner.journal.transaction("forged") as database:
            append_own(database, "ff" * 32, altered)
    with pytest.raises(LedgerBroken, match="entry 2"):
        Partner.open(copy / "partner.toml", outside(), passphrase)


# --- the charter that a partner signs -------------------------------------------------------------------


def offered(three: Choir, charter: Charter, key: SigningKey | None = None) -> Offered:
    signer = key or SigningKey.generate(SeededSource("operator key"))
    return Offered(sign(charter, OPERATOR, signer), "words", (), False)


def test_a_charter_that_misstates_this_partner_is_not_signed(
    after_one_round: tuple[Choir, Campaign, ModelState],
) -> None:
    three, _, _ = after_one_round
    charter = three.charter
    with three.partner("partner-01") as partner:
        entry = charter.entry("partner-01")
        wider = Caps(epsilon_alone=500.0, epsilon_in_sum=20.0, delta=1e-5)
        roster = tuple(
            entry.model_copy(update={"caps": wider}) if item.partner == "partner-01" else item
            for item in charter.roster
        )
        changed = charter.model_copy(update={"roster": roster})
        with pytest.raises(WeakerThanCharter, match="misstates this partner"):
            accept_charter(partner, offered(three, changed), changed.digest)
        without = charter.model_copy(update={"roster": charter.roster[1:]})
        with pytest.raises(NotAllowed, match="roster"):
            accept_charter(partner, offered(three, without), without.digest)
        with pytest.raises(WeakerThanCharter, match="compare them"):
            accept_charter(partner, offered(three, charter), "ab" * 32)
        other_epoch = charter.model_copy(update={"epoch": 2, "previous": "ab" * 32})
        with pytest.raises(WeakerThanCharter, match="not the successor"):
            accept_charter(partner, offered(three, other_epoch), other_epoch.digest)
        assert partner.charter.digest == charter.digest


def test_policy_refuses_a_delta_too_large_for_its_records_and_caps_above_its_own(
    after_one_round: tuple[Choir, Campaign, ModelState],
) -> None:
    three, _, _ = after_one_round
    config = three.config("partner-01")
    text = config.read_text()
    for change, error, match in (
        (("records = 1000", "records = 100000"), UnsafeParameters, "100000 records"),
        (("max_epsilon_in_sum = 20.0", "max_epsilon_in_sum = 8.0"), PolicyRefused, "cap of at most 8.0"),
    ):
        config.write_text(text.replace(*change))
        try:
            with three.partner("partner-01") as partner, pytest.raises(error, match=match):
                accept_charter(partner, offered(three, three.charter), three.charter.digest)
        finally:
            config.write_text(text)


def forged_plan(three: Choir, campaign: Campaign, state: ModelState) -> Plan:
    """A plan that was never posted."""
    return Plan(
        charter=three.charter.digest,
        campaign=campaign.digest,
        round=9,
        attempt=9,
        kind="training",
        base_state=state.digest,
        layout={"parameters": 3000, "probes": 1024, "lane_width": 24, "shift": 8},  # type: ignore[arg-type]
        event=EVENT,
        deadlines=Deadlines(join=1, upload=2, open=3),
    )


def verified(partner: Partner) -> ChainVerifier:
    verifier = ChainVerifier(own=True)
    for line in partner.own_ledger.lines():
        verifier.add_line(line)
    return verifier
