"""What a participant's page says beyond its gauge: a lifetime, several holders, its signatures, its own ledger."""

from __future__ import annotations

import hashlib
import re
from html import unescape

import pytest
from sqlalchemy import select, update

from aggregator.console.statements import ledgers_beside, signed_statements
from aggregator.storage.tables import ConfirmationRow, JoinRow, OpeningRow, UploadRow
from privacy.dp.events import Guarantee
from privacy.he.boxes import BoxKey
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import ChainHead, Confirmation, Signed
from privacy.protocol.signing import countersign
from privacy.report import figures
from privacy.report.charts import number
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import sign_in_as
from tests.aggregator.driver import RoundDriver
from tests.consortium import done


@pytest.fixture
def page(driver: RoundDriver) -> str:
    return f"/console/participants/{driver.names[0]}"


def _section(text: str, name: str) -> str:
    found = re.search(rf'<section aria-labelledby="{name}">(.*?)</section>', text, re.DOTALL)
    assert found is not None, name
    return unescape(found[1])


def _join_saying(driver: RoundDriver, name: str, count: int) -> None:
    """Its own ledger holds so many charges, it says."""
    body = driver.consortium.join(driver.plan, name, BoxKey.generate()).body
    head = hashlib.sha256(b"its own").hexdigest()
    said = body.model_copy(update={"ledger": ChainHead(count=count, head=head)})
    done(driver.client(name).post(f"{driver.base}/joins", driver.consortium.by(name, said)), 201)


def test_epsilon_for_several_holders_and_over_a_lifetime(driver: RoundDriver, running: Running, page: str) -> None:
    driver.join_all()
    sign_in_as(running, "auditor")
    beyond = _section(running.http.get(page).text, "beyond")
    entry = driver.charter.entry(driver.names[0])
    spent = figures.counts([driver.plan.event])
    for holders in (1, 2, 3):
        cost = figures.epsilon_for_copies(spent, entry.caps.delta, Guarantee.IN_SUM, driver.charter.honest, holders)
        assert f'<td>{holders}</td><td class="number">{number(cost)}</td>' in beyond
    for guarantee in Guarantee:
        cost = figures.epsilon(spent, entry.caps.delta, guarantee, driver.charter.honest)
        assert f'<td class="number">{number(cost)}</td>' in beyond
    assert driver.charter.digest[:16] in beyond


def test_every_signature_of_a_participant_is_listed_with_its_digest(
    driver: RoundDriver, running: Running, page: str
) -> None:
    driver.to_confirmed()
    name = driver.names[0]
    with running.service.database.read() as session:
        listed = signed_statements(session, name)
        kept = {
            "join": session.get(JoinRow, (driver.plan.digest, name)).digest,  # type: ignore[union-attr]
            "manifest": session.get(UploadRow, (driver.plan.digest, name)).digest,  # type: ignore[union-attr]
            "opening": session.get(OpeningRow, (driver.plan.digest, name)).digest,  # type: ignore[union-attr]
            "confirmation": session.get(ConfirmationRow, (driver.plan.digest, name)).digest,  # type: ignore[union-attr]
        }
    assert [one.kind for one in listed] == ["join", "manifest", "receipt", "opening", "confirmation", "acceptance"]
    told = {one.kind: one for one in listed}
    assert {kind: told[kind].digest for kind in kept} == kept
    assert all(one.at is not None for one in listed)
    sign_in_as(running, "auditor")
    for language, words in (
        ("en", ("Receipt, by the service", "Charter accepted")),
        ("ko", ("수령증", "규약 수락")),
    ):
        text = running.http.get(page, headers={"accept-language": language}).text
        shown = _section(text, "statements")
        assert all(one.digest in shown for one in listed)
        assert all(word in shown for word in words)


def test_statements_from_before_times_were_kept_are_shown_without(
    driver: RoundDriver, running: Running, page: str
) -> None:
    driver.join_all()
    with running.service.database.write() as session:
        session.execute(update(JoinRow).values(received=None))
    sign_in_as(running, "auditor")
    text = running.http.get(page).text
    assert "not kept" in _section(text, "statements")
    assert "not kept" in _section(text, "beside")


def test_its_own_ledger_agrees_with_this_one(driver: RoundDriver, running: Running, page: str) -> None:
    sign_in_as(running, "auditor")
    assert "has said nothing of its own ledger" in _section(running.http.get(page).text, "beside")
    driver.to_confirmed()
    name = driver.names[0]
    with running.service.database.read() as session:
        found = ledgers_beside(session, name)
        message = session.scalars(select(ConfirmationRow.message).where(ConfirmationRow.partner == name)).one()
    assert [(one.own, one.here, one.difference) for one in found.told] == [(0, 0, 0)]
    assert found.since == 1
    checkpoint = Signed[Confirmation].model_validate_json(message).body.checkpoint
    assert found.countersigned is not None
    assert found.countersigned.countersigned == checkpoint.count
    beside = _section(running.http.get(page).text, "beside")
    assert "This ledger held as many" in beside
    assert f"up to entry {checkpoint.count} of {found.entries}" in beside
    assert "A service that lies would show no difference" in beside


@pytest.mark.parametrize(("language", "said"), [("en", "This ledger held 0"), ("ko", "이 원장의 차감은 0건")])
def test_another_number_of_charges_is_shown_as_a_difference(
    driver: RoundDriver, running: Running, page: str, language: str, said: str
) -> None:
    _join_saying(driver, driver.names[0], 2)
    sign_in_as(running, "auditor")
    beside = _section(running.http.get(page, headers={"accept-language": language}).text, "beside")
    assert said in beside
    assert "▲ +2" in beside


@pytest.mark.parametrize(("language", "said"), [("en", "z is the noise:"), ("ko", "z는 잡음의 크기입니다")])
def test_noise_and_sampling_are_put_into_words_where_they_appear(
    driver: RoundDriver, running: Running, page: str, language: str, said: str
) -> None:
    sign_in_as(running, "auditor")
    for path in (page, f"/console/rounds/{driver.plan.digest}", "/console/charter", "/console/plan"):
        text = running.http.get(path, headers={"accept-language": language}).text
        assert text.count(said) == 1, path


def _second_epoch(driver: RoundDriver, running: Running) -> RoundDriver:
    """Another charter in force after the first, with a campaign and a plan under it."""
    consortium, http = driver.consortium, running.http
    charter = driver.charter.model_copy(update={"epoch": 2, "previous": driver.charter.digest})
    operator = driver.client(OPERATOR)
    done(operator.post("/v1/charters", consortium.by_operator(charter)), 201)
    for name in driver.names:
        target = f"/v1/charters/{charter.digest}/acceptances"
        done(driver.client(name).post(target, consortium.acceptance(charter, name)), 201)
    campaign = consortium.campaign(charter)
    signed = consortium.by(charter.lead, campaign)
    done(driver.client(charter.lead).post("/v1/campaigns", signed), 201)
    both = countersign(signed, OPERATOR, consortium.operator)
    done(operator.post(f"/v1/campaigns/{campaign.digest}/countersignature", both), 201)
    return RoundDriver(consortium, http, charter, campaign)


def test_a_lifetime_goes_on_under_the_next_charter(driver: RoundDriver, running: Running, page: str) -> None:
    driver.to_confirmed()
    later = _second_epoch(driver, running)
    sign_in_as(running, "auditor")
    before = _section(running.http.get(page).text, "beyond")
    assert driver.charter.digest[:16] in before
    later.join_all()
    text = running.http.get(page).text
    beyond = _section(text, "beyond")
    delta = driver.charter.entry(driver.names[0]).caps.delta
    honest = driver.charter.honest
    one, two = (
        figures.epsilon(figures.counts(count * [driver.plan.event]), delta, Guarantee.IN_SUM, honest)
        for count in (1, 2)
    )
    rows = re.findall(r"<tr>.*?</tr>", beyond)
    by_charter = {
        charter: next(row for row in rows if charter.digest[:16] in row)
        for charter in (driver.charter, later.charter)
    }
    for row in by_charter.values():
        assert f'<td class="number">1</td><td class="number">{number(one)}</td>' in row
    assert f'<td class="number">2</td><td class="number">{number(2 * one)}</td>' in beyond
    assert f'<td class="number">2</td><td class="number">{number(two)}</td>' in beyond
    # Its second join says again that its own ledger is empty.
    assert "▲ -1" in _section(text, "beside")
    statements = _section(text, "statements")
    assert statements.count("Charter accepted") == 2
    assert "epoch 2" in statements


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_charge_tells_what_it_cost_by_itself(
    driver: RoundDriver, running: Running, page: str, language: str
) -> None:
    driver.join_all()
    sign_in_as(running, "auditor")
    history = _section(running.http.get(page, headers={"accept-language": language}).text, "history")
    delta = driver.charter.entry(driver.names[0]).caps.delta
    in_sum, alone = (
        figures.epsilon(figures.counts([driver.plan.event]), delta, one, driver.charter.honest)
        for one in (Guarantee.IN_SUM, Guarantee.ALONE)
    )
    assert history.count(f">{number(in_sum)} / {number(alone)}</td>") == 1, "the charge, and not its reservation"
