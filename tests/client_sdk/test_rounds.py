"""The loop: models in step, lazy first join, noise where nothing was contributed, private heads across restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from client_sdk.model_state import ModelState, genesis
from client_sdk.per_record import Batch
from client_sdk.rounds import Pace, Round, Rounds
from client_sdk.session import Consortium
from client_sdk.shared_parameters import flatten, shapes, split_parameters
from privacy.dp.events import PrivacyEvent
from privacy.errors import ConfigurationError, UnsafeParameters, UnsupportedModel, WrongState
from privacy.protocol.messages import Campaign, UpdateRule
from privacy.randomness import SystemRandom
from tests.client_sdk.campaigns import campaign, charter
from tests.client_sdk.fake_agent import FakeAgent
from tests.client_sdk.models import linear, loss_fn, records, two_heads

RULE = UpdateRule(kind="adam", learning_rate=0.1)


def start(model: nn.Module, shared: str | None = None) -> tuple[Campaign, ModelState]:
    split = split_parameters(model, shared)
    state = genesis(RULE, flatten(model, split.shared), SystemRandom())
    listed = tuple((shape.name, shape.shape) for shape in shapes(model, split.shared))
    return campaign(listed, RULE, genesis=state.digest, clip=0.5), state


def rounds_of(agent: FakeAgent, model: nn.Module, shared: str | None = None, **named: Any) -> Rounds:
    of, state = start(model, shared)
    return Rounds(agent, of, state, model, shared, named.get("until"), Pace())


def agent_in(folder: Path, **named: Any) -> FakeAgent:
    return FakeAgent(charter(), folder, **named)


def test_the_model_follows_the_state(tmp_path: Path) -> None:
    model, agent = linear(), agent_in(tmp_path)
    rounds = rounds_of(agent, model)
    for rnd in rounds:
        expected = rnd.state.parameters.astype(np.float32)
        assert np.array_equal(flatten(model, ("weight", "bias")), expected)
        assert not hasattr(model, "autograd_grad_sample_hooks")
        with torch.no_grad():
            model(records(3)[0])
        rnd.contribute(records(30), loss_fn)
        assert np.array_equal(flatten(model, ("weight", "bias")), expected)
    assert rounds.state.round == 3
    assert np.array_equal(flatten(model, ("weight", "bias")), rounds.state.parameters.astype(np.float32))
    assert [call for call in agent.calls if call.startswith("finish")] == ["finish 1", "finish 2", "finish 3"]


def test_two_partners_stay_equal(tmp_path: Path) -> None:
    """Each adds the other's upload: the same sum, another order."""
    of, state = start(linear())
    uploads: list[list[np.ndarray[Any, np.dtype[np.int32]]]] = []
    for seed in (1, 2):
        agent = agent_in(tmp_path, rounds=1)
        for rnd in Rounds(agent, of, state, linear(), None, None, Pace()):
            rnd.contribute(records(40, seed), loss_fn)
        uploads.append(agent.uploads)
    digests = []
    for mine, other in ((0, 1), (1, 0)):
        agent = agent_in(tmp_path, rounds=1, others=(uploads[other][0],))
        rounds = Rounds(agent, of, state, linear(), None, None, Pace())
        for rnd in rounds:
            rnd.contribute(records(40, mine + 1), loss_fn)
        digests.append(rounds.state.digest)
    assert digests[0] == digests[1] != state.digest


def test_the_first_round_is_joined_after_the_model_was_tried(tmp_path: Path) -> None:
    def mixing(model: nn.Module, batch: Batch) -> Tensor:
        return loss_fn(model, batch) * batch[0].mean()

    agent = agent_in(tmp_path)
    first = next(rounds_of(agent, linear()))
    with pytest.raises(UnsupportedModel):
        first.contribute(records(30), mixing)
    assert agent.calls == []
    agent = agent_in(tmp_path, rounds=2)
    for number, rnd in enumerate(rounds_of(agent, linear()), start=1):
        assert (f"join {number}" in agent.calls) == (number > 1)
        rnd.contribute(records(30), loss_fn)


def test_more_records_than_delta_allows_are_not_joined_for(tmp_path: Path) -> None:
    agent = agent_in(tmp_path, most_records=29)
    first = next(rounds_of(agent, linear()))
    with pytest.raises(UnsafeParameters, match="29 records"):
        first.contribute(records(30), loss_fn)
    assert agent.calls == []


def test_noise_is_uploaded_where_nothing_was_contributed(tmp_path: Path) -> None:
    agent = agent_in(tmp_path, rounds=2)
    for _ in rounds_of(agent, linear()):
        pass
    assert [np.std(upload) > 1000 for upload in agent.uploads] == [True, True]
    assert agent.calls[:3] == ["join 1", "contribute 1", "finish 1"]


def test_a_failing_body_uploads_noise_for_what_was_joined(tmp_path: Path) -> None:
    agent = agent_in(tmp_path)

    def script() -> None:
        with consortium_of(agent) as consortium:
            consortium._rounds = rounds_of(agent, linear())
            for rnd in consortium._rounds:
                if rnd.number == 2:
                    raise RuntimeError("disk of the data is gone")
                rnd.contribute(records(30), loss_fn)

    with pytest.raises(RuntimeError, match="disk of the data is gone"):
        script()
    assert agent.calls[-2:] == ["join 2", "contribute 2"]


def test_an_interrupt_sends_nothing_and_a_break_sees_the_round_through(tmp_path: Path) -> None:
    agent = agent_in(tmp_path)

    def interrupted() -> None:
        with consortium_of(agent) as consortium:
            consortium._rounds = rounds_of(agent, linear())
            next(consortium._rounds).join()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert agent.calls == ["join 1"]
    agent = agent_in(tmp_path)
    with consortium_of(agent) as consortium:
        consortium._rounds = rounds_of(agent, linear())
        for _ in consortium._rounds:
            break
    assert agent.calls == ["join 1", "contribute 1", "finish 1"]


def consortium_of(agent: FakeAgent) -> Consortium:
    class Closing(FakeAgent):
        def close(self) -> None:
            return None

    agent.__class__ = Closing
    return Consortium(agent)  # type: ignore[arg-type]


def test_one_contribution_a_round(tmp_path: Path) -> None:
    for rnd in rounds_of(agent_in(tmp_path, rounds=1), linear()):
        rnd.contribute(records(30), loss_fn)
        with pytest.raises(WrongState, match="one contribution"):
            rnd.contribute(records(30), loss_fn)
        with pytest.raises(WrongState, match="statistics"):
            rnd.contribute_statistics(np.zeros((1, 21), dtype=np.float32))


def test_a_statistics_round_takes_no_record_of_a_training_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit between rounds of training: the loop adds its noise, and goes on."""
    agent = agent_in(tmp_path, rounds=2)
    monkeypatch.setattr(Round, "kind", property(lambda self: "statistics" if self.number == 1 else "training"))
    trained = []
    for rnd in rounds_of(agent, linear()):
        rnd.contribute(records(30), loss_fn)
        trained.append(rnd.contributed)
    assert trained == [False, True]
    assert [call for call in agent.calls if "statistics" in call] == [
        "round 1 is a statistics round: this partner adds noise, and no record"
    ]
    assert [call for call in agent.calls if call.startswith("contribute")] == ["contribute 1", "contribute 2"]
    assert np.abs(agent.uploads[0]).max() > 0


def test_an_attempt_without_this_partner_is_passed_over(tmp_path: Path) -> None:
    agent = agent_in(tmp_path, rounds=4, missed=(1, 3))
    seen = []
    for rnd in rounds_of(agent, linear()):
        rnd.contribute(records(30), loss_fn)
        seen.append((rnd.number, rnd.over))
    assert seen == [(1, True), (2, False), (4, False)]
    assert [call for call in agent.calls if not call.startswith("join")] == [
        "contribute 2",
        "finish 2",
        "contribute 4",
        "finish 4",
    ]


def test_private_heads_are_recovered_after_a_crash_behind_a_confirmation(tmp_path: Path) -> None:
    model, agent = two_heads(), agent_in(tmp_path, rounds=1)
    of, state = start(model, "trunk")
    rounds = Rounds(agent, of, state, model, "trunk", None, Pace())
    rnd = next(rounds)
    rnd.contribute(records(30), loss_fn)
    outcome = agent.finish(rnd.join())  # and here the process dies
    restarted = two_heads(seed=9)
    again = Rounds(agent, of, outcome.state, restarted, "trunk", None, Pace())
    before = flatten(restarted, ("head.weight", "head.bias"))
    again.recover({outcome.round_digest: outcome.state.digest})
    assert not np.allclose(before, flatten(restarted, ("head.weight", "head.bias")))
    assert [path.suffix for path in (tmp_path / "private" / of.digest).iterdir()] == [".state"]


def test_until_stops_at_a_confirmed_round(tmp_path: Path) -> None:
    agent = agent_in(tmp_path, rounds=5, ends={1: "void"})
    seen = []
    rounds = rounds_of(agent, linear(), until=3)
    for rnd in rounds:
        rnd.contribute(records(30), loss_fn)
        seen.append(rnd.number)
    assert seen == [1, 2, 3]
    assert rounds.state.round == 3


def test_a_void_attempt_changes_nothing(tmp_path: Path) -> None:
    model, agent = two_heads(), agent_in(tmp_path, rounds=1, ends={1: "void"})
    before = flatten(model, [name for name, _ in model.named_parameters()])
    for rnd in rounds_of(agent, model, "trunk"):
        rnd.contribute(records(30), loss_fn)
    after = flatten(model, [name for name, _ in model.named_parameters()])
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("event", "scale"),
    [
        (PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=0.5, steps=1), None),
        (PrivacyEvent(kind="local", noise_multiplier=2.0, sampling_rate=0.5, steps=2), 1000.0),
    ],
    ids=["distributed", "local"],
)
def test_private_heads_move_with_confirmed_rounds_and_survive_a_restart(
    tmp_path: Path, event: PrivacyEvent, scale: float | None
) -> None:
    model = two_heads()
    of, state = start(model, "trunk")
    initial = flatten(model, ("head.weight", "head.bias"))
    agent = agent_in(tmp_path, rounds=2, event=event, scale=scale)
    rounds = Rounds(agent, of, state, model, "trunk", None, Pace())
    for rnd in rounds:
        rnd.contribute(records(30), loss_fn)
    moved = flatten(model, ("head.weight", "head.bias"))
    assert not np.allclose(initial, moved)
    assert agent.uploads[0].size == of.length + (1024 if scale is None else 0)
    again = two_heads(seed=9)
    Rounds(agent, of, rounds.state, again, "trunk", None, Pace())
    assert np.array_equal(flatten(again, ("head.weight", "head.bias")), moved)
    for name in ("trunk.weight", "trunk.bias"):
        assert np.array_equal(flatten(again, (name,)), flatten(model, (name,)))
    folder = tmp_path / "private" / of.digest
    assert len(list(folder.iterdir())) == 2


def test_a_model_of_another_campaign_is_refused(tmp_path: Path) -> None:
    of, state = start(two_heads(), "trunk")
    with pytest.raises(ConfigurationError, match="shared parameters"):
        Rounds(agent_in(tmp_path), of, state, two_heads(), None, None, Pace())
