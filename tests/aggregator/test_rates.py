"""How many requests one identity may send: for whom they count, what an answer says, and who is not held up."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from aggregator.api.openapi import document
from aggregator.console.cookies import SESSION_COOKIE
from aggregator.operator.signed_http import SignedHttp
from aggregator.settings import SETTINGS_FILE, Rate, Rates, Settings
from aggregator.storage import rates as buckets
from aggregator.storage.rates import RequestRates
from client_sdk.transport import Identity, Transport
from privacy.errors import QuotaReached, TooManyRequests
from privacy.protocol.http_contract import LONGEST_RETRY, retry_after
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import StateRequest
from privacy.protocol.signing import countersign
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import sign_in_as
from tests.aggregator.driver import RoundDriver
from tests.consortium import ManualClock, SeededSource, TestConsortium, done, refused

ROOT = Path(__file__).parents[2]
FEW = Rates(
    partner=Rate(per_second=1, burst=5),
    operator=Rate(per_second=1, burst=5),
    session=Rate(per_second=0.5, burst=4),
    address=Rate(per_second=1, burst=6),
)


@pytest.fixture
def limited(running: Running) -> Running:
    """As `running`, with few requests for everyone from here on."""
    object.__setattr__(running.service, "rates", RequestRates(FEW))
    return running


# --- the bucket ---------------------------------------------------------------------------------------


def taken(rates: RequestRates, now: float, key: str = "aster", most: int = 100) -> int:
    for count in range(most):
        try:
            rates.take("partner", key, now)
        except TooManyRequests:
            return count
    return most


def test_a_burst_and_then_the_rate() -> None:
    rates = RequestRates(FEW)
    assert taken(rates, 0.0) == 5
    assert [taken(rates, now) for now in (0.5, 1.0, 3.0, 1000.0)] == [0, 1, 2, 5]
    assert taken(rates, 1000.0, "birch") == 5


def test_a_clock_that_is_set_back_neither_gives_nor_takes() -> None:
    rates = RequestRates(FEW)
    assert taken(rates, 1000.0) == 5
    assert [taken(rates, now) for now in (10.0, 11.0)] == [0, 1]


def test_a_refusal_says_when_and_after_that_time_there_is_one() -> None:
    rates = RequestRates(replace_rate(per_second=0.3))
    taken(rates, 0.0)
    with pytest.raises(TooManyRequests) as refusal:
        rates.take("partner", "aster", 0.0)
    assert refusal.value.retry_after == 4
    rates.take("partner", "aster", float(refusal.value.retry_after))


def replace_rate(per_second: float) -> Rates:
    return FEW.model_copy(update={"partner": Rate(per_second=per_second, burst=5)})


def test_names_without_end_fill_no_memory_and_forget_nobody_who_asks_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST_BUCKETS", 50)
    rates = RequestRates(FEW)
    for place in range(500):
        rates.take("address", f"2001:db8:{place:x}::/64", 0.0)
        taken(rates, 0.0)
    assert len(rates._buckets) <= 50
    assert taken(rates, 0.0, most=20) <= 5


def test_one_number_is_set_as_the_page_shows_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "limits.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / SETTINGS_FILE).write_text(shown[0], "utf-8")
    assert Settings.load(tmp_path).rates.partner == Rate(per_second=200, burst=5000)
    (tmp_path / SETTINGS_FILE).write_text("[rates.session]\nburst = 9\n", "utf-8")
    monkeypatch.setenv("CHORALE_RATES__PARTNER__BURST", "7000")
    loaded, default = Settings.load(tmp_path).rates, Rates()
    assert loaded.session == Rate(per_second=default.session.per_second, burst=9)
    assert loaded.partner == Rate(per_second=default.partner.per_second, burst=7000)
    assert loaded.address == default.address


# --- the API ------------------------------------------------------------------------------------------


def test_a_partner_beyond_its_rate_is_told_so_and_nobody_else_is(limited: Running, driver: RoundDriver) -> None:
    aster, birch = driver.names[:2]
    object.__setattr__(limited.service, "rates", RequestRates(FEW))
    for _ in range(5):
        done(driver.client(aster).get("/v1/budget"))
    answer = driver.client(aster).get("/v1/budget")
    refused(answer, 429, "too-many-requests")
    assert answer.headers["retry-after"] == "1"
    done(driver.client(birch).get("/v1/budget"))
    done(driver.client(OPERATOR).get("/v1/budget"))
    limited.consortium.clock.seconds += 1
    done(driver.client(aster).get("/v1/budget"))


def test_who_has_no_key_takes_nothing_from_the_one_it_names(limited: Running, driver: RoundDriver) -> None:
    aster = driver.names[0]
    object.__setattr__(limited.service, "rates", RequestRates(FEW))
    good = driver.client(aster)
    request = good.get("/v1/budget").request
    for _ in range(6):
        replayed = limited.http.request("GET", "/v1/budget", headers=dict(request.headers))
        refused(replayed, 401, "replayed-request")
    # Strangers share their address, and no more.
    forged = {**request.headers, "chorale-signature": "00" * 64, "chorale-nonce": "11" * 16}
    refused(limited.http.request("GET", "/v1/budget", headers=forged), 429, "too-many-requests")
    refused(limited.http.get("/v1/about"), 429, "too-many-requests")
    for _ in range(4):
        done(good.get("/v1/budget"))


def test_names_that_were_never_met_are_looked_for_only_while_their_address_may_ask(
    limited: Running, driver: RoundDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(limited.service, "rates", RequestRates(FEW))
    request = driver.client(driver.names[0]).get("/v1/budget").request
    looked = []
    read = limited.service.database.read
    monkeypatch.setattr(limited.service.database, "read", lambda: looked.append(1) or read())
    statuses = [
        limited.http.request("GET", "/v1/budget", headers={**request.headers, "chorale-identity": f"n{place}"})
        for place in range(20)
    ]
    assert [answer.status_code for answer in statuses] == [401] * 6 + [429] * 14
    assert len(looked) == 6


def test_every_operation_documents_429() -> None:
    operations = [one for verbs in document()["paths"].values() for one in verbs.values()]
    assert len(operations) > 40
    for one in operations:
        assert "Retry-After" in one["responses"]["429"]["headers"]
        assert "application/problem+json" in one["responses"]["429"]["content"]


# --- the console --------------------------------------------------------------------------------------


def test_a_session_is_counted_apart_once_it_is_known(limited: Running) -> None:
    sign_in_as(limited)
    # The first page counts for the address, which is when the session is met.
    assert [limited.http.get("/console").status_code for _ in range(6)] == [200] * 5 + [429]
    answer = limited.http.get("/console")
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"].startswith("text/html")
    assert "More pages were asked for" in answer.text
    korean = limited.http.get("/console", headers={"accept-language": "ko"})
    assert "허용된 수보다" in korean.text
    limited.consortium.clock.seconds += 2
    assert limited.http.get("/console").status_code == 200
    assert limited.http.get("/v1/about").status_code == 200


def test_invented_sessions_are_counted_for_their_address(limited: Running) -> None:
    statuses = []
    for place in range(10):
        limited.http.cookies.clear()
        limited.http.cookies.set(SESSION_COOKIE, f"{place:064x}", domain="testserver.local", path="/console")
        statuses.append(limited.http.get("/console").status_code)
    assert statuses == [401] * 6 + [429] * 4


# --- the clients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("99999999999", LONGEST_RETRY), ("-1", 0.0), ("soon", 0.0), ("٣", 0.0), ("", 0.0)],
)
def test_what_an_answer_asks_to_wait(header: str, seconds: float) -> None:
    assert retry_after({"retry-after": header}) == seconds
    assert retry_after({}) == 0.0


@pytest.mark.parametrize("side", ["partner", "operator"])
def test_both_clients_wait_as_long_as_they_are_asked_and_go_on(side: str) -> None:
    clock = ManualClock()
    waits: list[float] = []
    answers = [httpx.Response(429, headers={"retry-after": "9"}), httpx.Response(200, content=b"{}")]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.seconds += seconds

    handler = httpx.MockTransport(lambda request: answers.pop(0))
    key, source = TestConsortium().operator, SeededSource("client")
    if side == "partner":
        line = Transport("http://x", Identity("aster", key), clock, source, handler=handler, sleep=sleep)
        assert line.post("/v1/x", b"") == b"{}"
    else:
        signed = SignedHttp("http://x", key, clock, source, sleep, transport=handler)
        assert signed.request("POST", "/v1/x", idempotent=False) == b"{}"
    assert waits == [9.0]


def test_a_client_that_is_asked_to_wait_beyond_its_patience_gives_up() -> None:
    handler = httpx.MockTransport(lambda request: httpx.Response(429, headers={"retry-after": "3000"}))
    line = Transport("http://x", None, ManualClock(), SeededSource("client"), handler=handler, sleep=pytest.fail)
    with pytest.raises(TooManyRequests):
        line.get("/v1/x")


# --- an honest round, and quotas ----------------------------------------------------------------------


def test_an_honest_round_takes_a_small_part_of_the_burst(running: Running, driver: RoundDriver) -> None:
    """Requests of the busiest identity of a round, news of which nobody misses."""
    counted: dict[str, int] = {}
    take = running.service.rates.take

    def counting(kind: buckets.Kind, key: str, now: float) -> None:
        counted[key] = counted.get(key, 0) + 1
        take(kind, key, now)

    object.__setattr__(running.service.rates, "take", counting)
    driver.to_confirmed()
    assert max(counted.values()) * 10 < Settings.model_fields["rates"].default.partner.burst


def test_states_that_one_partner_waits_for_are_limited(running: Running, driver: RoundDriver) -> None:
    settings = running.settings.model_copy(update={"open_state_requests": 3})
    object.__setattr__(running.service, "settings", settings)
    aster, birch = driver.names[:2]

    def ask(name: str, state: int) -> httpx.Response:
        body = StateRequest(
            charter=driver.charter.digest, campaign=driver.campaign.digest, state=f"{state:064x}", partner=name
        )
        path = f"/v1/campaigns/{driver.campaign.digest}/state-requests"
        return driver.client(name).post(path, running.consortium.by(name, body))

    for state in range(3):
        done(ask(aster, state), 201)
    refused(ask(aster, 3), 409, QuotaReached.code)
    done(ask(aster, 2), 201)
    done(ask(birch, 3), 201)


def test_campaigns_that_wait_for_the_operator_are_limited(running: Running, driver: RoundDriver) -> None:
    settings = running.settings.model_copy(update={"waiting_campaigns": 2})
    object.__setattr__(running.service, "settings", settings)
    lead, consortium = driver.charter.lead, running.consortium

    def propose(name: str) -> httpx.Response:
        signed = consortium.by(lead, consortium.campaign(driver.charter, name=name))
        return driver.client(lead).post("/v1/campaigns", signed)

    done(propose("branch"), 201)
    twig = done(propose("twig"), 201)["campaign"]
    refused(propose("leaf"), 409, QuotaReached.code)
    done(propose("twig"), 201)
    both = countersign(
        consortium.by(lead, consortium.campaign(driver.charter, name="twig")), OPERATOR, consortium.operator
    )
    done(driver.client(OPERATOR).post(f"/v1/campaigns/{twig}/countersignature", both), 201)
    done(propose("leaf"), 201)
