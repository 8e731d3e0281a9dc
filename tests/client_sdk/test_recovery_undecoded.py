"""A service that comes back from an older backup, and a partner that had not decoded yet."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from aggregator.backup.making import make_backup
from aggregator.backup.recovering import recover
from aggregator.settings import Settings
from aggregator.storage.folder import create_server_folder
from client_sdk.finish import Finisher
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import Choir, outside, serving, take_part, together
from tests.client_sdk.loss import CLOCK, Lost, handed_back, quiet
from tests.consortium import SeededSource, done


def test_who_had_not_decoded_gets_the_state_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its opening is in its journal and the service knows of no upload: nothing is opened, refused or accused."""
    late = "partner-04"
    operator = SigningKey.generate(SeededSource("operator key"))
    settings = Settings(folder=tmp_path / "server", shard_bytes=32768, sum_workers=1)
    create_server_folder(settings.folder, operator.public, SystemRandom(), shard_bytes=32768)
    decode = Finisher._decode

    def dies(finisher: Finisher, *arguments: Any) -> Any:
        if finisher._partner.name == late:
            raise KeyboardInterrupt
        return decode(finisher, *arguments)

    with serving(settings, CLOCK) as url:
        four = Choir(tmp_path, url, operator, size=4, around=partial(outside, clock=CLOCK))
        _, campaign, state = four.constitute()
        with four.agent(late) as agent:
            agent.current_state(campaign)
        make_backup(settings, tmp_path / "backup", CLOCK, quiet)
        four.post_plan(campaign, state.digest)

        def act(name: str) -> str:
            with four.agent(name) as agent:
                try:
                    return take_part(agent, campaign).state.digest
                except KeyboardInterrupt:
                    return ""

        with monkeypatch.context() as patched:
            patched.setattr(Finisher, "_decode", dies)
            ended = together(four.names, act)
    assert ended.pop(late) == ""
    (reached,) = set(ended.values())
    shutil.copy(settings.folder / "server.key", tmp_path / "server.key")
    shutil.rmtree(settings.folder)
    key, backup = tmp_path / "server.key", tmp_path / "backup"
    lost = Lost(four, campaign, state, state, backup, key, operator, [], {}, handed_back(four))
    restored = lost.restored(tmp_path / "restored")
    found = recover(restored, CLOCK, lost.files())
    assert (found.confirmed, found.closed) == (1, 0)
    with lost.served(restored, tmp_path) as there:
        over = Event()

        def serve(name: str) -> None:
            with there.agent(name) as agent:
                while not over.wait(0.2):
                    agent.serve_states(campaign)

        with ThreadPoolExecutor(1) as pool:
            serving_states = pool.submit(serve, "partner-01")
            try:
                with there.agent(late) as agent:
                    outcome = take_part(agent, campaign)
            finally:
                over.set()
            serving_states.result()
        assert (outcome.ended, outcome.state.digest) == ("confirmed", reached)
        document = done(there.operator.get(f"/v1/rounds/{outcome.round_digest}"))
        assert document["refusals"] == []
