"""`python -m aggregator.rounds.sum_worker`: the process that adds shards, one job a line, until its input ends.

Rules:
1. It is told paths and sizes, and nothing else; what it answers is a digest, or what went wrong.
2. It ends with the service, also where that was killed: the other end of its input is then closed.
3. It leaves no core dump: what it held would be in it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any

from aggregator.rounds.blind_sum import sum_shard
from privacy.errors import ChoraleError
from privacy.protocol.problems import problem_of


def answer(job: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"digest": sum_shard(job["uploads"], job["target"], job["size"]).hex()}
    except ChoraleError as error:
        return {"problem": problem_of(error)}
    except OSError as error:
        return {"os_error": [error.errno, error.strerror]}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C goes to the whole group; the service says when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
