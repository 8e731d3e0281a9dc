"""What each side's programs load: the service nothing that decrypts, the partner's commands nothing that trains.

The import contracts hold the sources to it; this holds running programs to it, with what they load on the way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from aggregator.storage.folder import create_server_folder
from privacy.protocol.signing import SigningKey
from tests.consortium import SeededSource

ROOT = Path(__file__).parents[1]

DECRYPTS = {"tenseal", "privacy.he.envelope", "privacy.he.shamir", "privacy.he.ring", "client_sdk"}
TRAINS = {"torch", "opacus"}
# SEAL's bytes are read with it. httpx takes it too where it is installed, so the operator's commands may have it.
COMPRESSES = {"zstandard"}

LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)))"

IMPORT_ALL = """
import importlib, pkgutil
import aggregator
for module in pkgutil.walk_packages(aggregator.__path__, "aggregator."):
    if ".migrations" not in module.name:
        importlib.import_module(module.name)
"""

ANSWER = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from aggregator.app import create_app
from aggregator.rounds.blind_sum import sum_shard
from aggregator.settings import Settings
from privacy.clock import SystemClock
from privacy.randomness import SystemRandom
folder = Path(sys.argv[1])
upload = folder / "upload"
upload.write_bytes(bytes(range(8)) * 8)
sum_shard([str(upload), str(upload)], str(folder / "sum"), 64)
async def healthz(app):
    said = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        said.append(message)
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/healthz", "raw_path": b"/healthz", "query_string": b"", "headers": [], "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    assert said[0]["status"] == 200, said
with ThreadPoolExecutor(1) as pool:
    asyncio.run(healthz(create_app(Settings(folder=folder), SystemClock(), SystemRandom(), pool)))
"""


def loaded(program: str, *arguments: str) -> set[str]:
    """Names of all modules in a fresh interpreter that has run `program`."""
    done = subprocess.run(
        [sys.executable, "-c", program + LOADED, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def found(modules: Collection[str], forbidden: set[str]) -> set[str]:
    """The forbidden ones that are there, or of which a part is."""
    return {name for name in forbidden if any(f"{module}.".startswith(f"{name}.") for module in modules)}


def test_no_module_of_the_service_or_of_the_operator_loads_what_decrypts_or_trains() -> None:
    modules = loaded(IMPORT_ALL)
    assert {"aggregator.app", "aggregator.cli", "aggregator.operator.conductor"} <= modules
    assert "aggregator.rounds.blind_sum" in modules
    assert not found(modules, DECRYPTS | TRAINS)


def test_a_service_that_has_answered_and_added_has_loaded_nothing_more(tmp_path: Path) -> None:
    create_server_folder(
        tmp_path / "server", SigningKey.generate(SeededSource("operator key")).public, SeededSource("server")
    )
    modules = loaded(ANSWER, str(tmp_path / "server"))
    assert "privacy.he.addition" in modules
    assert not found(modules, DECRYPTS | TRAINS | COMPRESSES)


def test_the_partners_commands_start_without_what_trains() -> None:
    modules = loaded("import client_sdk.cli\n")
    assert "client_sdk.commands.running" in modules
    assert not found(modules, TRAINS)


@pytest.mark.parametrize("name", sorted(DECRYPTS | TRAINS | COMPRESSES))
def test_the_check_finds_what_is_there(name: str) -> None:
    assert found({"numpy", f"{name}.inner"}, {name}) == {name}
    assert not found({"numpy", f"{name}_other", name[:-1]}, {name})
