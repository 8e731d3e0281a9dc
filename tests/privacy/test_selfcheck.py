"""The self-check passes here, and sees a machine that adds, shares or opens wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from privacy import selfcheck
from privacy.errors import OpeningFailed
from privacy.he import shamir


def test_a_sound_machine_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert selfcheck.main() == 0
    assert "opened exactly" in capsys.readouterr().out


def _one_more(honest: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*arguments: Any) -> Any:
        found = honest(*arguments).copy()
        found.reshape(-1)[0] += 1
        return found

    return wrong


@pytest.mark.parametrize(
    ("where", "what"), [(selfcheck, "modular_sum"), (shamir, "add_shares")], ids=["addition", "shares"]
)
def test_wrong_arithmetic_is_seen(monkeypatch: pytest.MonkeyPatch, where: Any, what: str) -> None:
    monkeypatch.setattr(where, what, _one_more(getattr(where, what)))
    assert selfcheck.main() == 1


def test_values_that_differ_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = selfcheck.open_sum

    def off_by_one(*arguments: Any) -> Any:
        for part in honest(*arguments):
            yield np.asarray(part) + 1

    monkeypatch.setattr(selfcheck, "open_sum", off_by_one)
    with pytest.raises(OpeningFailed, match="the integer sum"):
        selfcheck.check()
