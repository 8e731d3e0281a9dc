"""Charters that are unsafe, plans weaker than the charter, cohorts that a partner must not train for."""

from __future__ import annotations

import pytest

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import BadSignature, ChoraleError, KeyRefused, RolledBack, UnsafeParameters, WeakerThanCharter
from privacy.he.boxes import X25519_BYTES
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.messages import ChainHead, CharterAcceptance, Cohort, Deadlines, Join, VectorLayout
from privacy.protocol.plan_checks import (
    check_acceptances,
    check_campaign,
    check_charter,
    check_noise_error,
    check_plan,
    mechanism,
)
from privacy.protocol.signing import Verifier, sign
from tests.privacy.protocol.sealed_attempt import (
    EVENT,
    KEYS,
    OPERATOR_KEY,
    PARTNERS,
    SERVER_KEY,
    make_campaign,
    make_charter,
    make_cohort,
    make_joins,
    make_plan,
)

CHARTER = make_charter()
CAMPAIGN = make_campaign(CHARTER)
PLAN = make_plan(CHARTER, CAMPAIGN.body)
JOINS = make_joins(CHARTER, PLAN)
COHORT = make_cohort(CHARTER, PLAN, JOINS)


def test_the_example_charter_campaign_and_plan_are_sound() -> None:
    check_charter(CHARTER)
    assert check_campaign(CAMPAIGN, CHARTER, Verifier()) == CAMPAIGN.body
    assert check_plan(sign(PLAN, "operator", OPERATOR_KEY), CHARTER, CAMPAIGN.body, Verifier()) == PLAN
    assert mechanism(PLAN, CHARTER, CAMPAIGN.body).honest == 2


def test_a_filter_lets_the_counts_together_pass_the_caps() -> None:
    """The table of this charter costs more than its caps; under a filter its counts are ceilings."""
    many = (TableRow(name="training", event=EVENT, count=5000),)
    with pytest.raises(UnsafeParameters, match="a table of epsilon at most"):
        check_charter(CHARTER.model_copy(update={"table": many}))
    roster = tuple(
        entry.model_copy(update={"caps": Caps(epsilon_alone=30.0, epsilon_in_sum=10.0, delta=1e-5)})
        for entry in CHARTER.roster
    )
    filtered = make_charter(table=many, filter_order=8, roster=roster)
    check_charter(filtered)
    campaign = make_campaign(filtered)
    assert check_campaign(campaign, filtered, Verifier()) == campaign.body
    generous = make_charter(table=many, filter_order=8)
    with pytest.raises(UnsafeParameters, match="an implementation error"):  # a cap of 60 alone: e^60 2^-120 a draw
        check_campaign(make_campaign(generous), generous, Verifier())
    first, *rest = filtered.roster
    caps = Caps(epsilon_alone=60.0, epsilon_in_sum=0.1, delta=1e-5)
    tight = {"roster": (first.model_copy(update={"caps": caps}), *rest)}
    with pytest.raises(UnsafeParameters, match="an order at which"):
        check_charter(filtered.model_copy(update=tight))
    for order in (1, 513, 2.5):
        with pytest.raises(ValueError, match="filter_order"):
            make_charter(filter_order=order)


def test_the_noise_of_steps_at_home_and_of_private_parts_counts_against_the_sampler() -> None:
    home = PrivacyEvent(kind="local", noise_multiplier=0.6, sampling_rate=0.5, steps=100)
    local = make_charter(table=(TableRow(name="training", event=home, count=1),))
    with pytest.raises(UnsafeParameters, match="an implementation error"):  # an epsilon of 200: e^200 2^-120 a draw
        check_campaign(make_campaign(local), local, Verifier())
    check_noise_error(CHARTER, 1124, 10**6)
    with pytest.raises(UnsafeParameters, match="1124 shared and"):
        check_noise_error(CHARTER, 1124, 10**25)


def doubled_keys() -> dict[str, object]:
    first, second, *rest = CHARTER.roster
    return {"roster": (first, second.model_copy(update={"signing_keys": first.signing_keys}), *rest)}


def tight_caps() -> dict[str, object]:
    first, *rest = CHARTER.roster
    caps = Caps(epsilon_alone=60.0, epsilon_in_sum=0.1, delta=1e-5)
    return {"roster": (first.model_copy(update={"caps": caps}), *rest)}


def dead_result_key() -> dict[str, object]:
    """An X25519 point of order 1: whoever seals a result to it fails, and opens nothing."""
    first, *rest = CHARTER.roster
    dead = first.result_key[: -2 * X25519_BYTES] + "00" * X25519_BYTES
    return {"roster": (first.model_copy(update={"result_key": dead}), *rest)}


def renamed(name: str) -> dict[str, object]:
    """A lead whose id the protocol uses: its signature alone would count as the operator's too."""
    *rest, last = CHARTER.roster
    roster = sorted((*rest, last.model_copy(update={"partner": name})), key=lambda entry: entry.partner)
    return {"roster": tuple(roster), "lead": name}


NONE = TableRow(
    name="open", event=PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0, steps=1), count=1
)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_min": 2},
        {"colluders": 2},
        {"n_min": 5},
        {"parameter_set": "toy-64"},
        {"lead": "omega"},
        {"operator_keys": SERVER_KEY.public},
        {"table": (TableRow(name="train", event=EVENT, count=100_000),)},
        {"table": (NONE,)},
        doubled_keys(),
        tight_caps(),
        dead_result_key(),
        renamed("operator"),
        renamed("server"),
    ],
)
def test_an_unsafe_charter_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ChoraleError) as caught:
        check_charter(make_charter(**changes))
    assert caught.value.remedy


@pytest.mark.parametrize(("multiplier", "rate"), [(1e-6, 0.1), (1e-300, 0.1), (1.0, 5e-324)])
def test_a_charter_that_nobody_can_account_for_is_unsafe_and_no_failure_of_the_reader(
    multiplier: float, rate: float
) -> None:
    event = EVENT.model_copy(update={"noise_multiplier": multiplier, "sampling_rate": rate})
    with pytest.raises(UnsafeParameters, match="an epsilon of alpha can be stated"):
        check_charter(make_charter(table=(TableRow(name="training", event=event, count=20),)))


def test_a_roster_out_of_order_or_with_a_name_twice_is_malformed() -> None:
    for roster in (CHARTER.roster[::-1], (*CHARTER.roster, CHARTER.roster[-1])):
        with pytest.raises(ValueError, match="sorted"):
            make_charter(roster=roster)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": EVENT.model_copy(update={"noise_multiplier": 0.9})},
        {"event": EVENT.model_copy(update={"sampling_rate": 0.2})},
        {"event": NONE.event},
        {"charter": "99" * 32},
        {"campaign": "99" * 32},
        {"kind": "statistics"},
        {"deadlines": Deadlines(join=2000, upload=1000, open=3000)},
        {"layout": VectorLayout(parameters=99, probes=1024, lane_width=16, shift=14, scale=None)},
        {"layout": VectorLayout(parameters=100, probes=1 << 52, lane_width=16, shift=14, scale=None)},
        {"layout": VectorLayout(parameters=100, probes=512, lane_width=16, shift=14, scale=None)},
        {"layout": VectorLayout(parameters=100, probes=1024, lane_width=12, shift=8, scale=None)},
    ],
)
def test_a_plan_that_promises_less_is_refused(changes: dict[str, object]) -> None:
    plan = make_plan(CHARTER, CAMPAIGN.body, **changes)
    with pytest.raises(ChoraleError):
        check_plan(sign(plan, "operator", OPERATOR_KEY), CHARTER, CAMPAIGN.body, Verifier())


def test_a_plan_signed_by_the_server_or_a_partner_is_none() -> None:
    for key in (SERVER_KEY, KEYS["alpha"]):
        with pytest.raises(BadSignature):
            check_plan(sign(PLAN, "operator", key), CHARTER, CAMPAIGN.body, Verifier())


def test_a_campaign_without_the_leads_word_or_under_another_charter_is_none() -> None:
    with pytest.raises(BadSignature):
        check_campaign(sign(CAMPAIGN.body, "operator", OPERATOR_KEY), CHARTER, Verifier())
    with pytest.raises(WeakerThanCharter):
        check_campaign(CAMPAIGN, make_charter(epoch=2), Verifier())


def test_a_charter_counts_once_every_partner_signed_this_one() -> None:
    signed = {
        name: sign(CharterAcceptance(charter=CHARTER.digest, partner=name), name, KEYS[name]) for name in PARTNERS
    }
    check_acceptances(CHARTER, signed, Verifier())
    with pytest.raises(WeakerThanCharter, match="delta"):
        check_acceptances(CHARTER, {n: s for n, s in signed.items() if n != "delta"}, Verifier())
    other = sign(CharterAcceptance(charter="12" * 32, partner="delta"), "delta", KEYS["delta"])
    with pytest.raises(WeakerThanCharter):
        check_acceptances(CHARTER, {**signed, "delta": other}, Verifier())


def check(cohort: Cohort, joins: dict, seen: dict[str, int] | None = None, key: object = SERVER_KEY) -> Cohort:
    signed = sign(cohort, "server", key)  # type: ignore[arg-type]
    return check_cohort(signed, joins, PLAN, CHARTER, seen or {}, Verifier())[0]


def test_an_honest_cohort_passes_and_a_ledger_may_grow() -> None:
    assert check(COHORT, JOINS, {"beta": 5, "alpha": 3}) == COHORT


def test_a_rolled_back_member_stops_everyone() -> None:
    with pytest.raises(RolledBack, match="beta"):
        check(COHORT, JOINS, {"beta": 6})


def test_a_cohort_by_a_stranger_for_another_plan_or_too_small_is_refused() -> None:
    with pytest.raises(BadSignature):
        check(COHORT, JOINS, key=KEYS["alpha"])
    with pytest.raises(WeakerThanCharter):
        check(COHORT.model_copy(update={"plan": "ab" * 32}), JOINS)
    with pytest.raises(UnsafeParameters):
        check(COHORT.model_copy(update={"members": COHORT.members[:2]}), JOINS)


def test_a_join_that_the_cohort_does_not_name_is_refused() -> None:
    swapped = sign(
        JOINS["beta"].body.model_copy(update={"ledger": ChainHead(count=9, head="00" * 32)}), "beta", KEYS["beta"]
    )
    with pytest.raises(WeakerThanCharter):
        check(COHORT, {**JOINS, "beta": swapped})
    with pytest.raises(WeakerThanCharter):
        check(COHORT, {name: join for name, join in JOINS.items() if name != "beta"})


@pytest.mark.parametrize("tail", ["00" * 32, "01" + "00" * 31])
def test_a_round_key_to_which_nothing_can_be_sealed_is_no_join(tail: str) -> None:
    good = JOINS["beta"].body
    bad: Join = good.model_copy(update={"round_key": good.round_key[:-64] + tail})
    joins = {**JOINS, "beta": sign(bad, "beta", KEYS["beta"])}
    with pytest.raises(KeyRefused):
        check(make_cohort(CHARTER, PLAN, joins), joins)


def test_a_join_signed_by_another_partner_is_refused() -> None:
    joins = {**JOINS, "beta": sign(JOINS["beta"].body, "beta", KEYS["gamma"])}
    with pytest.raises(BadSignature):
        check(make_cohort(CHARTER, PLAN, joins), joins)
