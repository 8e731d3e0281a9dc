"""Requests are signed anew at each try, tried again where that is safe, and refused in words."""

import httpx
import pytest

from aggregator.operator.client import OperatorClient
from aggregator.operator.signed_http import MAX_ANSWER_BYTES, SignedHttp
from privacy.errors import Conflict, MalformedMessage, NotFound, ServiceUnavailable, TooLarge
from privacy.protocol.http_contract import NONCE_HEADER, PROBLEM_TYPE
from privacy.protocol.problems import problem_of
from tests.consortium import SeededSource

INVITATION = {"partner": "ash", "token": "t", "expires": 5}


@pytest.fixture
def speak(consortium, clock):
    """A client whose requests are answered by the given responses, errors among them, in turn."""
    nonces = []

    def make(*responses, patience=60.0):
        left = list(responses)

        def answer(request):
            nonces.append(request.headers[NONCE_HEADER])
            response = left.pop(0)
            if isinstance(response, Exception):
                raise response
            return response

        transport = httpx.MockTransport(answer)
        http = SignedHttp(
            "http://service",
            consortium.operator,
            clock,
            SeededSource("source"),
            clock.sleep,
            patience=patience,
            transport=transport,
        )
        return OperatorClient(http), nonces, left

    return make


def problem(error):
    return httpx.Response(error.status, json=problem_of(error), headers={"content-type": PROBLEM_TYPE})


def ok(value):
    return httpx.Response(200, json=value)


LOST = httpx.ReadError("connection reset")
UNREACHED = httpx.ConnectError("connection refused")


def test_it_tries_again_each_time_signed_anew(speak, clock):
    began = clock.now()
    client, nonces, _ = speak(UNREACHED, LOST, httpx.Response(503), httpx.Response(502), ok({"campaigns": []}))
    assert client.campaigns() == ()
    assert len(set(nonces)) == 5
    assert clock.now() - began > 1


def test_patience_ends(speak):
    client, nonces, _ = speak(*[UNREACHED] * 100, patience=20.0)
    with pytest.raises(ServiceUnavailable, match="connection refused"):
        client.campaigns()
    assert 3 < len(nonces) < 30


@pytest.mark.parametrize("failure", [LOST, httpx.Response(502), httpx.Response(504)])
def test_what_may_have_made_an_invitation_makes_no_second(speak, failure):
    client, _, left = speak(failure, ok(INVITATION))
    with pytest.raises(ServiceUnavailable):
        client.invite("ash", 60)
    assert len(left) == 1


@pytest.mark.parametrize("failure", [UNREACHED, httpx.Response(503)])
def test_what_made_no_invitation_is_tried_again(speak, failure):
    client, _, _ = speak(failure, ok(INVITATION))
    assert client.invite("ash", 60).token == "t"


def test_a_problem_is_the_error_it_names(speak):
    client, nonces, _ = speak(problem(Conflict("one", "two", "three")))
    with pytest.raises(Conflict) as raised:
        client.campaigns()
    assert (raised.value.expected, raised.value.came, raised.value.remedy) == ("one", "two", "three")
    assert len(nonces) == 1


def test_a_redirect_is_followed_nowhere(speak):
    client, nonces, _ = speak(httpx.Response(307, headers={"location": "http://elsewhere/"}), ok({"campaigns": []}))
    with pytest.raises(Exception, match="307"):
        client.campaigns()
    assert len(nonces) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"campaigns": [{"campaign": "x"}]}', b"\xff"])
def test_an_answer_of_another_shape_is_refused(speak, body):
    client, _, _ = speak(httpx.Response(200, content=body))
    with pytest.raises(MalformedMessage, match="campaigns"):
        client.campaigns()


def test_an_endless_answer_is_cut_off(speak):
    def chunks():
        for _ in range(MAX_ANSWER_BYTES // (1 << 20) + 2):
            yield bytes(1 << 20)

    client, _, _ = speak(httpx.Response(200, content=chunks()))
    with pytest.raises(TooLarge):
        client.campaigns()


def test_no_charter_yet_is_not_found(speak):
    client, _, _ = speak(problem(NotFound("a charter", "none", "draft one")))
    with pytest.raises(NotFound):
        client.latest_charter()
