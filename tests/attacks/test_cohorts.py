"""Adversary: a service, and its signing key, that lies about who joined, with what key. It wants partners to share
their keys with nobodies, with a replay, or with two cohorts of one attempt. The rules of `cohort_checks` and the
journal's one cohort an attempt stop it before anything is charged; what came of a lie is no upload and no opening.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client_sdk import joining
from client_sdk.agent import Agent
from client_sdk.opening import release
from privacy.errors import BadSignature, ChoraleError, Conflict, KeyRefused, MalformedMessage, UnsafeParameters
from privacy.errors import WeakerThanCharter as Weaker
from privacy.he.boxes import BoxKey
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import (
    Cohort,
    CohortMember,
    Contributor,
    Join,
    Manifest,
    Plan,
    Seal,
    ShardRoot,
    Signed,
    parse_signed,
)
from privacy.protocol.signing import SigningKey, sign
from tests.attacks.siege import Siege, besieged
from tests.consortium import SeededSource, done

pytestmark = pytest.mark.full  # the rules have fast tests of their own
VICTIM = "partner-04"
LIAR = "partner-02"


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


def published(siege: Siege, plan: Plan) -> dict[str, Signed[Join]]:
    """Everyone's join, as the operator is shown them."""
    shown = done(siege.choir.operator.get(f"/v1/rounds/{plan.digest}/cohort"))
    joins = [parse_signed(Join, canonical(join)) for join in shown["joins"]]
    return {join.body.partner: join for join in joins}


def cohort_of(plan: Plan, joins: dict[str, Signed[Join]]) -> Cohort:
    members = tuple(CohortMember(partner=name, join=joins[name].digest) for name in sorted(joins))
    return Cohort(charter=plan.charter, plan=plan.digest, members=members)


def refused(siege: Siege, plan: Plan, joins: dict[str, Signed[Join]], error: type[ChoraleError], **by: Any) -> None:
    """The victim joined; a cohort of these joins is refused, and costs it nothing."""
    before = siege.charges(VICTIM)
    message = sign(cohort_of(plan, joins), "server", by.get("key", siege.server_key))
    siege.show_cohort(plan, message, list(joins.values()), [VICTIM])

    def act(agent: Agent) -> None:
        with pytest.raises(error):
            joining.accept(agent.partner, agent.partner.service.round(plan.digest))

    siege.at(VICTIM, act)
    record = siege.record(VICTIM, plan)
    assert record is not None
    assert record.cohort is None
    assert siege.charges(VICTIM) == before


@pytest.fixture
def joined(siege: Siege) -> Iterator[tuple[Plan, dict[str, Signed[Join]]]]:
    """An attempt that all have joined, and whose cohort the victim has not seen yet."""
    with siege.attempt() as plan:
        others = [name for name in siege.names if name != VICTIM]

        def only_join(agent: Agent) -> None:
            attempt = siege.handed(agent, plan)
            message = joining._own_join(agent.partner, attempt, None)
            agent.partner.service.join(message)

        siege.at(VICTIM, only_join)
        siege.join(plan, others)
        yield plan, published(siege, plan)


Joined = tuple[Plan, dict[str, Signed[Join]]]


def by(siege: Siege, name: str, join: Join, **changes: Any) -> Signed[Join]:
    """A join that this partner, who is the adversary's, signs."""
    key = siege.at(name, lambda agent: agent.partner.keys.signing)
    return sign(join.model_copy(update=changes), name, key)


def test_members_who_are_on_no_roster(siege: Siege, joined: Joined) -> None:
    """Sybils of the service: it would hold as many shares as it invents members."""
    plan, joins = joined
    sybils = {}
    for place in (1, 2, 3):
        name = f"sybil-{place:02d}"
        key = SigningKey.generate(SeededSource(name))
        body = joins[LIAR].body.model_copy(
            update={"partner": name, "round_key": BoxKey.generate().public_bytes.hex()}
        )
        sybils[name] = sign(body, name, key)
    refused(siege, plan, {**joins, **sybils}, MalformedMessage)


def test_fewer_members_than_n_min(siege: Siege, joined: Joined) -> None:
    plan, joins = joined
    refused(siege, plan, {name: joins[name] for name in (LIAR, VICTIM)}, UnsafeParameters)


def test_a_cohort_that_the_service_did_not_sign(siege: Siege, joined: Joined) -> None:
    plan, joins = joined
    refused(siege, plan, joins, BadSignature, key=siege.choir._key)


def test_a_round_key_of_the_services_own_in_a_partners_name(siege: Siege, joined: Joined) -> None:
    """It could read what is shared with that partner. Its join must carry the roster key's signature."""
    plan, joins = joined
    own = joins["partner-01"].body.model_copy(update={"round_key": BoxKey.generate().public_bytes.hex()})
    for signer in (siege.server_key, siege.choir._key):
        refused(siege, plan, {**joins, "partner-01": sign(own, "partner-01", signer)}, BadSignature)


def test_a_join_key_that_makes_every_encapsulation_fail(siege: Siege, joined: Joined) -> None:
    """A malicious partner signs an X25519 point of order 1: whoever shared with it would fail, charged."""
    plan, joins = joined
    dead = joins[LIAR].body.round_key[:-64] + "00" * 32
    refused(siege, plan, {**joins, LIAR: by(siege, LIAR, joins[LIAR].body, round_key=dead)}, KeyRefused)


def test_another_join_of_the_victims_own_key(siege: Siege, joined: Joined) -> None:
    """The victim's folder was copied, and the copy joined with a key of its own."""
    plan, joins = joined
    copied = by(siege, VICTIM, joins[VICTIM].body, round_key=BoxKey.generate().public_bytes.hex())
    refused(siege, plan, {**joins, VICTIM: copied}, Conflict)


def test_a_join_of_another_attempt_is_no_join_of_this(siege: Siege, joined: Joined) -> None:
    """A replay: the round key of then may be one that leaked since."""
    plan, joins = joined
    replayed = by(siege, "partner-01", joins["partner-01"].body, plan="ab" * 32)
    refused(siege, plan, {**joins, "partner-01": replayed}, Weaker)


def test_a_join_under_another_charter_is_no_join_of_this(siege: Siege, joined: Joined) -> None:
    plan, joins = joined
    refused(siege, plan, {**joins, LIAR: by(siege, LIAR, joins[LIAR].body, charter="ab" * 32)}, Weaker)


def test_a_join_other_than_the_cohort_names(siege: Siege, joined: Joined) -> None:
    """The digest in J is what everyone's J has in common."""
    plan, joins = joined
    other = by(siege, LIAR, joins[LIAR].body, round_key=BoxKey.generate().public_bytes.hex())
    message = siege.by_server(cohort_of(plan, joins))
    siege.show_cohort(plan, message, list({**joins, LIAR: other}.values()), [VICTIM])

    def act(agent: Agent) -> None:
        with pytest.raises(Weaker):
            joining.accept(agent.partner, agent.partner.service.round(plan.digest))

    siege.at(VICTIM, act)


def test_a_second_cohort_of_one_attempt_gets_neither_upload_nor_opening(siege: Siege) -> None:
    """One cohort an attempt, ever; opening check 2 where the seal names another than was accepted."""
    with siege.attempt() as plan:
        others = [name for name in siege.names if name != VICTIM]
        parted: dict[str, Any] = {}

        def smaller(shown: dict[str, Any]) -> None:
            joins = {join["body"]["partner"]: parse_signed(Join, canonical(join)) for join in shown["joins"]}
            del joins["partner-01"]
            parted["cohort"] = siege.by_server(cohort_of(plan, joins))
            shown["cohort"] = parted["cohort"].model_dump(mode="json")

        siege.server.tell_json(f"/v1/rounds/{plan.digest}/cohort", smaller, [VICTIM])
        joined = siege.join(plan)
        assert joined[VICTIM].cohort_digest == parted["cohort"].digest != joined["partner-01"].cohort_digest
        charged = siege.charges(VICTIM)
        siege.server.be_honest()
        siege.reopen(VICTIM)

        def accepts_again(agent: Agent) -> str | None:
            joining.accept(agent.partner, agent.partner.service.round(plan.digest))
            record = agent.partner.journal.record(plan.digest)
            return None if record is None else record.cohort

        assert siege.at(VICTIM, accepts_again) == parted["cohort"].digest
        assert siege.charges(VICTIM) == charged
        siege.upload({name: joined[name] for name in others})
        manifests = {}
        for name in others:
            record = siege.record(name, plan)
            assert record is not None
            assert record.manifest is not None
            manifests[name] = parse_signed(Manifest, record.manifest)
        seal = Seal(
            charter=plan.charter,
            plan=plan.digest,
            cohort=joined["partner-01"].cohort_digest,
            contributors=tuple(Contributor(partner=name, manifest=manifests[name].digest) for name in others),
            sum=ShardRoot(root="22" * 32, count=1, shard_bytes=1 << 20),
        )

        def asked(agent: Agent) -> None:
            record = agent.partner.journal.record(plan.digest)
            assert record is not None
            release(agent.partner, record, siege.by_server(seal), manifests)

        siege.at(VICTIM, asked)
        assert siege.refusals(plan) == {VICTIM: 2}
        assert VICTIM not in siege.released(plan)
