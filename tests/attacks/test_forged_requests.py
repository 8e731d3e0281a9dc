"""Adversary: a stranger, or whoever reads and repeats what goes over the wire. It wants a request taken that no
partner made, or one a second time. The signature around each message, its time and its nonce stop it (protocol 4).
"""

from __future__ import annotations

import pytest

from privacy.he.boxes import BoxKey
from privacy.protocol.signing import SigningKey
from tests.aggregator.driver import RoundDriver
from tests.consortium import START, SeededSource, SignedClient, done, refused


def test_unsigned(driver: RoundDriver) -> None:
    refused(driver.http.get(driver.base), 401, "not-authenticated")


def test_a_stranger(driver: RoundDriver) -> None:
    stranger = SigningKey.generate(SeededSource("stranger"))
    consortium = driver.consortium
    unknown = SignedClient(driver.http, "nobody", stranger, consortium.clock, consortium.source)
    refused(unknown.get(driver.base), 401, "not-authenticated")
    pretender = SignedClient(driver.http, driver.names[0], stranger, consortium.clock, consortium.source)
    refused(pretender.get(driver.base), 401, "bad-signature")


def test_replayed(driver: RoundDriver) -> None:
    client = driver.client(driver.names[0])
    headers = client.headers("GET", driver.base, b"")
    done(driver.http.get(driver.base, headers=headers))
    refused(driver.http.get(driver.base, headers=headers), 401, "replayed-request")


@pytest.mark.parametrize("skew", [-301, 301])
def test_clock_skew(driver: RoundDriver, skew: int) -> None:
    client = driver.client(driver.names[0])
    refused(client.send("GET", driver.base, time=START + skew), 401, "clock-skew")
    done(client.send("GET", driver.base, time=START + skew - skew // abs(skew)))


def test_another_target_than_was_signed(driver: RoundDriver) -> None:
    client = driver.client(driver.names[0])
    headers = client.headers("GET", driver.base, b"")
    refused(driver.http.get(f"{driver.base}?seen=1", headers=headers), 401, "bad-signature")


def test_another_body_than_was_signed(driver: RoundDriver) -> None:
    client = driver.client(driver.names[0])
    signed = driver.consortium.join(driver.plan, driver.names[0], BoxKey.generate()).canonical_bytes
    headers = client.headers("POST", f"{driver.base}/joins", signed)
    answer = driver.http.post(f"{driver.base}/joins", content=signed + b" ", headers=headers)
    refused(answer, 422, "digest-mismatch")
