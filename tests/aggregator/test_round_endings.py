"""Attempts that end otherwise than confirmed, and what may still change how one ended."""

from __future__ import annotations

from privacy.ledger.chain import verify_lines
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort
from tests.aggregator.driver import RoundDriver
from tests.consortium import done, refused


def test_too_few_joins_close_the_attempt_and_give_reservations_back(driver: RoundDriver) -> None:
    done(driver.join(driver.names[0]), 201)
    driver.consortium.clock.seconds = driver.plan.deadlines.join + 1
    shown = driver.wait_for("closed")
    assert shown["close"]["body"]["cause"] == "too-few-joined"
    budget = done(driver.client(driver.names[0]).get("/v1/budget"))["participants"][0]["rows"][0]
    assert (budget["charged"], budget["reserved"]) == (0, 0)
    verify_lines(done(driver.client(OPERATOR).get("/v1/ledger")).splitlines(keepends=True))


def test_too_few_uploads_close_the_attempt_and_stay_charged(driver: RoundDriver) -> None:
    driver.join_all()
    driver.upload(driver.names[0])
    driver.consortium.clock.seconds = driver.plan.deadlines.upload + 1
    assert driver.wait_for("closed")["close"]["body"]["cause"] == "too-few-uploads"
    assert done(driver.client(driver.names[0]).get("/v1/budget"))["participants"][0]["rows"][0]["charged"] == 1


def test_an_attempt_that_nobody_opens_is_closed(driver: RoundDriver) -> None:
    driver.to_opening()
    driver.consortium.clock.seconds = driver.plan.deadlines.open + 1
    assert driver.wait_for("closed")["close"]["body"]["cause"] == "not-opened"


def test_an_attempt_that_fewer_than_a_quorum_open_is_closed_and_takes_no_late_opening(driver: RoundDriver) -> None:
    driver.to_opening()
    late = driver.names[-1]
    for name in driver.names[:-1]:  # t of 3 with c = 1 is 3
        done(driver.open(name), 201)
    signed, boxes = driver.opening(late)
    driver.consortium.clock.seconds = driver.plan.deadlines.open + 1
    close = driver.wait_for("closed")["close"]["body"]
    assert (close["cause"], close["reason"][:6]) == ("not-opened", "2 of t")
    refused(driver.client(late).post_frame(f"{driver.base}/openings", signed, boxes), 409, "wrong-state")
    refused(driver.confirm(driver.names[0]), 409, "wrong-state")
    RoundDriver(driver.consortium, driver.http, driver.charter, driver.campaign, attempt=2)


def test_a_vote_over_too_few_openings_counts_only_past_the_deadline(driver: RoundDriver) -> None:
    driver.to_opening()
    done(driver.open(driver.names[0]), 201)
    refused(driver.void(driver.names[0]), 409, "not-enough-openings")


def test_an_abort_is_taken_until_the_first_opening_and_past_the_deadline(driver: RoundDriver) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    refused(driver.abort("a false start"), 409, "wrong-state")
    for name in driver.names[:2]:
        done(driver.confirm(name), 201)
    late = driver.confirmation(driver.names[2])
    driver.consortium.clock.seconds = driver.plan.deadlines.open + 1
    shown = done(driver.abort("a false start"))
    assert (shown["state"], shown["close"]["body"]["cause"]) == ("closed", "aborted")
    refused(driver.client(driver.names[2]).post(f"{driver.base}/confirmations", late), 409, "wrong-state")


def test_what_is_confirmed_cannot_be_aborted(driver: RoundDriver) -> None:
    driver.to_confirmed()
    driver.consortium.clock.seconds = driver.plan.deadlines.open + 1
    refused(driver.abort("too late"), 409, "wrong-state")


def test_an_abort_closes_and_may_be_repeated(driver: RoundDriver) -> None:
    body = Abort(charter=driver.charter.digest, plan=driver.plan.digest, reason="a false start")
    signed = driver.consortium.by_operator(body)
    for _ in range(2):
        shown = done(driver.client(OPERATOR).post(f"{driver.base}/abort", signed))
        assert shown["state"] == "closed"
        assert shown["close"]["body"]["cause"] == "aborted"


def test_void_votes_end_an_attempt_and_later_confirmations_override_them(driver: RoundDriver) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    for name in driver.names:
        done(driver.void(name), 201)
    assert driver.wait_for("void")["voids"] == driver.names
    votes = done(driver.client(driver.names[0]).get(f"{driver.base}/voids"))["voids"]
    assert [vote["body"]["partner"] for vote in votes] == driver.names
    for name in driver.names:
        done(driver.confirm(name), 201)
    driver.wait_for("confirmed")


def test_no_confirmation_overrides_a_void_once_a_later_cohort_is_out(driver: RoundDriver) -> None:
    driver.to_opening()
    for name in driver.names:
        done(driver.open(name), 201)
    for name in driver.names:
        done(driver.void(name), 201)
    driver.wait_for("void")
    later = RoundDriver(driver.consortium, driver.http, driver.charter, driver.campaign, attempt=2)
    later.join_all()
    refused(driver.confirm(driver.names[0]), 409, "wrong-state")
