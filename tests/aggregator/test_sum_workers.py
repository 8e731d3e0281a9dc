"""What the processes that add shards hold: no variable, no descriptor and no memory of the service's."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from aggregator.rounds.blind_sum import sum_shard
from aggregator.rounds.sum_workers import PASSED, SumWorkers
from aggregator.storage.folder import SERVER_KEY_FILE
from privacy.clock import SystemClock
from tests.aggregator.driver import RoundDriver
from tests.consortium import TestConsortium
from tests.marks import Marks
from tests.system.processes import serving

SIZE = 8 * 4096


@pytest.fixture
def uploads(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "one", tmp_path / "two"]
    for place, path in enumerate(paths):
        path.write_bytes(np.full(4096, place + 5, dtype="<u8").tobytes())
    return [str(path) for path in paths]


@pytest.fixture
def workers() -> Iterator[SumWorkers]:
    with SumWorkers(2) as pool:
        yield pool


def children() -> list[int]:
    """Workers of this process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                named = b"sum_worker" in (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if named and parent == os.getpid():
                found.append(int(entry.name))
    return found


def test_a_worker_has_the_variables_that_are_named_and_no_others(
    workers: SumWorkers, uploads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHORALE_DATABASE_URL", "postgresql://user:a-password-of-the-database@host/x")
    monkeypatch.setenv("PGPASSWORD", "a-password-of-the-database")
    secret = (tmp_path / "secret").open("w+")
    secret.write("a file of the service's")
    os.set_inheritable(secret.fileno(), True)
    with secret:
        digest = workers.submit(sum_shard, uploads, str(tmp_path / "sum"), SIZE).result()
        assert len(digest) == 32
        assert np.array_equal(np.fromfile(tmp_path / "sum", dtype="<u8"), np.full(4096, 11))
        (worker,) = children()
        held = Path(f"/proc/{worker}/environ").read_bytes()
        names = {line.split(b"=")[0].decode() for line in held.split(b"\0") if line}
        assert names <= {*PASSED, "PYTHONPATH"}
        assert b"a-password-of-the-database" not in held
        open_files = {entry.name: os.readlink(entry) for entry in Path(f"/proc/{worker}/fd").iterdir()}
    assert str(tmp_path / "secret") not in open_files.values()
    assert all(open_files[name].startswith("pipe:") for name in ("0", "1"))
    assert not [path for path in open_files.values() if path.startswith(("socket:", str(tmp_path)))]


def test_what_goes_wrong_comes_back_as_it_was(workers: SumWorkers, uploads: list[str], tmp_path: Path) -> None:
    with pytest.raises(OSError) as absent:  # noqa: PT011 - the number is looked at
        workers.submit(sum_shard, [str(tmp_path / "nowhere")], str(tmp_path / "sum"), SIZE).result()
    assert absent.value.errno == errno.ENOENT
    # And the worker goes on.
    assert workers.submit(sum_shard, uploads, str(tmp_path / "sum"), SIZE).result()
    with pytest.raises(TypeError):
        workers.submit(print, "anything else")


def test_a_worker_that_is_killed_breaks_the_pool_and_a_pool_that_ends_leaves_none(
    uploads: list[str], tmp_path: Path
) -> None:
    with SumWorkers(1) as pool:
        pool.submit(sum_shard, uploads, str(tmp_path / "sum"), SIZE).result()
        (worker,) = children()
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(BrokenExecutor):
            pool.submit(sum_shard, uploads, str(tmp_path / "sum"), SIZE).result()
        pool.submit(sum_shard, uploads, str(tmp_path / "sum"), SIZE).result()
        assert len(children()) == 1
    assert children() == []


def test_the_program_of_a_worker_loads_nothing_of_the_service() -> None:
    program = "import json, sys, aggregator.rounds.sum_worker; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "aggregator.rounds.blind_sum" in loaded
    assert not loaded & {"fastapi", "sqlalchemy", "uvicorn", "httpx", "aggregator.settings", "aggregator.storage"}


def memory_of(process: int) -> bytes:
    """What a process has written in its memory."""
    held = []
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw") and "[v" not in line:
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                try:
                    held.append(memory.read(end - start))
                except OSError:
                    continue
    return b"".join(held)


@pytest.mark.system
@pytest.mark.full
def test_no_worker_has_a_key_in_memory_and_the_service_has_not_the_operators(tmp_path: Path) -> None:
    """Both are looked through byte by byte; that the service's own key is found there shows that looking works."""
    consortium = TestConsortium(clock=SystemClock())  # type: ignore[arg-type]
    folder = tmp_path / "server"
    consortium.server_folder(folder)
    password = "a-client-secret-of-the-provider"
    extra = {"CHORALE_OIDC__ISSUER": "http://127.0.0.1:9", "CHORALE_OIDC__CLIENT_ID": "chorale"}
    with serving(folder, CHORALE_OIDC__CLIENT_SECRET=password, **extra) as (service, url):
        with httpx.Client(base_url=url, timeout=60) as http:
            RoundDriver(consortium, http, *consortium.constitute(http)).to_opening()
        own, *found = service.group()
        assert found
        marks = Marks()
        marks.add("the service's key", (folder / SERVER_KEY_FILE).read_bytes())
        marks.add("the operator's key", consortium.operator.private_bytes())
        marks.add("the provider's secret", password)
        assert marks.found_in(memory_of(own)) == {"the service's key", "the provider's secret"}
        for worker in found:
            assert marks.found_in(memory_of(worker)) == set()
