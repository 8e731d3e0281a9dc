"""Adversary: a service, or whoever holds the line to it, that answers with what costs memory, time or trust to
read; a stranger or a partner that sends such things to the service. Bounds before parsing stop both.
"""

from __future__ import annotations

import ast
import gzip
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import zstandard
from pydantic import TypeAdapter, ValidationError

from aggregator.operator.signed_http import SignedHttp
from client_sdk.service import Service
from client_sdk.transport import MAX_ANSWER_BYTES, Transport
from privacy.clock import SystemClock
from privacy.errors import ChoraleError, MalformedMessage
from privacy.he.addition import MODULUS
from privacy.he.ring import ciphertext_words
from privacy.protocol.canonical import MAX_DEPTH, parse
from privacy.protocol.identifiers import PartnerId
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.aggregator.conftest import Running
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.consortium import SeededSource, refused

HEAD = (
    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}"
    "connection: close\r\n\r\n"
)


@contextmanager
def answering(body: bytes, status: str = "200 OK", more: str = "") -> Iterator[tuple[str, list[bytes]]]:
    """A socket that gives every connection this answer; its address, and the heads of what was asked."""
    asked: list[bytes] = []
    head = HEAD.format(status=status, length=len(body), more=more).encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    with suppress(OSError):  # whoever is told too much hangs up
                        connection.sendall(head + body)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def transport(url: str) -> Transport:
    return Transport(url, None, SystemClock(), SystemRandom(), patience=1.0)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "zstd", "br", "deflate"])
def test_a_compressed_answer_is_refused_before_a_byte_is_unpacked(encoding: str) -> None:
    """60 kilobytes of twice compressed zeros are 64 GB: one read of them would be the end of the process."""
    bomb = gzip.compress(gzip.compress(bytes(64 << 20)))
    with answering(bomb, more=f"content-encoding: {encoding}\r\n") as (url, _):
        with transport(url) as line, pytest.raises(MalformedMessage, match="encoded as"):
            line.get("/v1/about")
        key = SigningKey.generate(SeededSource("operator"))
        operator = SignedHttp(url, key, SystemClock(), SystemRandom(), time.sleep, patience=1)
        with pytest.raises(MalformedMessage, match="compressed"):
            operator.request("GET", "/v1/about")
        operator.close()


@pytest.mark.parametrize("depth", [MAX_DEPTH + 6, 900, 100_000])
def test_a_deeply_nested_answer_is_refused_and_not_recursed_into(depth: int) -> None:
    body = b'{"missing":' + b"[" * depth + b"]" * depth + b"}"
    with answering(body) as (url, _), transport(url) as line:
        with pytest.raises(MalformedMessage):
            line.get_json("/v1/about")
        with pytest.raises(MalformedMessage):
            Service(line).begin_upload(b"{}", b"", "ab" * 32)


def test_a_deeply_nested_problem_is_an_error_of_ours() -> None:
    body = b"[" * 100_000
    more = "content-type: application/problem+json\r\n"
    with answering(body, "409 Conflict", more) as (url, _), transport(url) as line, pytest.raises(ChoraleError):
        line.get("/v1/about")


def test_no_redirect_is_followed_to_wherever_it_points() -> None:
    """Through the partner's machine the service would reach what only that machine can, with a signed request."""
    with answering(b"{}") as (inner, asked):
        more = f"location: {inner}/internal\r\n"
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
            with answering(b"", status, more) as (url, _), transport(url) as line, pytest.raises(ChoraleError):
                line.get("/v1/about")
        assert asked == []


def test_more_than_was_asked_for_is_cut_off() -> None:
    with (
        answering(b"x" * 100_000) as (url, _),
        transport(url) as line,
        pytest.raises(ChoraleError, match="at most 1000"),
    ):
        line.get("/v1/about", None, 1000)
    assert MAX_ANSWER_BYTES <= 64 << 20


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_a_depth_bomb_sent_to_the_service_is_a_refused_message(driver: RoundDriver, depth: int) -> None:
    body = b'{"body":' + b"[" * depth + b"]" * depth + b"}"
    refused(driver.client("partner-01").send("POST", f"{driver.base}/joins", body), 422, "malformed-message")
    with pytest.raises(MalformedMessage, match="nested"):
        parse(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_compressed_request_is_never_unpacked(running: Running, encoding: str) -> None:
    blank = b" " * (8 << 20)
    packed = gzip.compress(blank) if encoding == "gzip" else zstandard.ZstdCompressor().compress(blank)
    answer = running.http.post("/v1/enrolments", content=packed, headers={"content-encoding": encoding})
    assert "Invalid JSON" in refused(answer, 422, "malformed-message")["came"]


def bombs() -> dict[str, bytes]:
    """Each of one shard's size: what a reader that unpacks would make gigabytes of, or ask memory for."""
    head = struct.Struct("<HBBBBHQ")  # of a SEAL container: magic, size of this head, version, compression, total
    zeros = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 20))
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(b"")
    claims = frame[:4] + b"\xe0" + (1 << 40).to_bytes(8, "little")  # a frame that says it holds 2^40 bytes
    found = {
        "SEAL, zstd": head.pack(0xA15E, 16, 4, 3, 2, 0, 16 + len(zeros)) + zeros,
        "SEAL that claims 2^63 bytes": head.pack(0xA15E, 16, 4, 3, 2, 0, 1 << 63),
        "SEAL, a zstd frame that claims 2^40 bytes": head.pack(0xA15E, 16, 4, 3, 2, 0, 16 + len(claims)) + claims,
        "gzip": gzip.compress(bytes(8 << 20)),
        "zip": b"PK\x03\x04" + bytes(60),
    }
    return {name: raw[:SHARD_BYTES].ljust(SHARD_BYTES, b"\0") for name, raw in found.items()}


@pytest.mark.parametrize(
    "kind", [kind if kind == "SEAL, zstd" else pytest.param(kind, marks=pytest.mark.full) for kind in bombs()]
)
def test_a_bomb_sent_as_a_shard_is_words_and_no_container(driver: RoundDriver, kind: str) -> None:
    """Shards are bare words on the wire: what is no word below q, or was not announced, is refused."""
    bomb = bombs()[kind]
    driver.join_all()
    name = driver.names[0]
    driver.announce(name)
    refused(driver.put(name, 0, bomb), 422, "digest-mismatch")
    headers = driver.client(name).headers("PUT", f"{driver.base}/uploads/mine/shards/0", bomb)
    packed = driver.http.put(
        f"{driver.base}/uploads/mine/shards/0", content=bomb, headers={**headers, "content-encoding": "zstd"}
    )
    assert packed.status_code in (415, 422), packed.text
    # Announced as it is, it is a shard of words like any other, or has a word beyond q.
    other = driver.names[1]
    words = np.frombuffer(bomb, dtype="<u8")
    driver.vectors[other] = np.resize(words, driver.words)
    driver.announce(other)
    answer = driver.put(other, 0, bomb)
    assert answer.status_code == (201 if int(words.max()) < MODULUS else 422), answer.text


def test_a_container_that_claims_more_than_it_may_hold_is_refused_by_its_head() -> None:
    """On a partner's machine: containers are read from its own SEAL alone, and bounded all the same."""
    for kind, bomb in bombs().items():
        with pytest.raises(MalformedMessage):
            ciphertext_words(bomb)
        whole = bomb.rstrip(b"\0")
        if kind.startswith("SEAL"):
            fits = whole[:8] + len(whole).to_bytes(8, "little") + whole[16:]
            with pytest.raises(MalformedMessage):
                ciphertext_words(fits)


UNPACKERS = {"bz2", "gzip", "lzma", "marshal", "pickle", "shelve", "tarfile", "zipfile", "zlib", "zstandard"}


def test_nothing_but_the_ring_unpacks_anything() -> None:
    """Whoever adds a reader of compressed or executable formats bounds it, and says so here."""
    root = Path(__file__).parents[2]
    found = {}
    for folder in ("privacy", "client_sdk", "aggregator"):
        for path in (root / folder).rglob("*.py"):
            names = set()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names.add((node.module or "").split(".")[0])
            if names & UNPACKERS:
                found[path.relative_to(root).as_posix()] = names & UNPACKERS
    assert found == {"privacy/he/ring.py": {"zstandard"}}


LOOK_ALIKES = (
    "p\u0430rtner-01",  # Cyrillic
    "partner-\uff101",  # full width
    "partner\u201001",  # another hyphen
    "partner-01\u200b",  # of no width
    "Partner-01",
    "partner-01\n",
    "partner--01",
    "partner-",
    "-partner",
    "../partner-01",
    "partner/01",
    "%2e%2e",
    "a" * 33,
    "a",
    "",
)


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_name_that_looks_like_anothers_or_like_a_path_is_none(name: str) -> None:
    """A name is part of paths on the service's disk, and of what boxes are bound to."""
    names: TypeAdapter[str] = TypeAdapter(PartnerId)
    assert names.validate_python("partner-01") == "partner-01"
    with pytest.raises(ValidationError):
        names.validate_python(name)
