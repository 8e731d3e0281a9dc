"""The processes that add shards, from the service's side: each holds what it was told to add, and no more.

Rules:
1. A worker is a program of its own (sum_worker.py), not a copy of the service: it has no key, no setting and no
   connection in its memory, and inherits no descriptor but its two pipes and the log.
2. Its environment is made here, of PASSED alone: what the service was configured with through variables (a
   database's password, a client's secret) is not in it.
3. A worker that dies breaks the pool, which is then made anew (lifecycle.py).
It is the same user of the machine: what files that user may read, a worker that was taken over could open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any

from aggregator.rounds.blind_sum import sum_shard
from privacy.errors import ChoraleError
from privacy.protocol.problems import error_of

PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "NUMBA_CACHE_DIR")
"""Variables by which the libraries find themselves, and where they may keep what they compiled."""


class SumWorkers(Executor):
    """At most `count` workers, each started when it is needed first. Takes `sum_shard`, and no other work."""

    def __init__(self, count: int) -> None:
        self._feeders = ThreadPoolExecutor(count, "sum")
        self._idle: list[_Worker] = []
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn is not sum_shard or kwargs:
            raise TypeError("workers add shards, and do nothing else")
        return self._feeders.submit(self._run, *args)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Workers that add end after their shard, the others at once."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()
        self._feeders.shutdown(wait, cancel_futures=cancel_futures)

    def _run(self, uploads: Sequence[str], target: str, size: int) -> bytes:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or _Worker()
        try:
            digest = worker.add(uploads, target, size)
        except (ChoraleError, OSError):
            self._rest(worker)
            raise
        except BaseException:
            worker.end()  # what it answers next could be the answer to this
            raise
        self._rest(worker)
        return digest

    def _rest(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.end()


class _Worker:
    """One process, which one thread at a time speaks to."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in PASSED if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-m", "aggregator.rounds.sum_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def add(self, uploads: Sequence[str], target: str, size: int) -> bytes:
        """Raises what `sum_shard` raised, or BrokenExecutor where the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"uploads": list(uploads), "target": target, "size": size}
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError as error:
            raise BrokenExecutor("a process that adds shards died") from error
        if not line.endswith(b"\n"):
            raise BrokenExecutor("a process that adds shards died")
        answer = json.loads(line)
        if "problem" in answer:
            raise error_of(answer["problem"], answer["problem"]["status"])
        if "os_error" in answer:
            raise OSError(*answer["os_error"])
        return bytes.fromhex(answer["digest"])

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
