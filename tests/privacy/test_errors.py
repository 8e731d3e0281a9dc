"""An error that comes from another process is the one that was raised there."""

from __future__ import annotations

import pickle

from privacy.errors import CheckRefused, LedgerBroken, TooManyRequests


def test_errors_cross_between_processes_with_all_that_they_say() -> None:
    for error in (
        CheckRefused(3, "a", "b", "c"),
        LedgerBroken(7, "a", "b", "c"),
        TooManyRequests("a", "b", "c", retry_after=9),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert str(again) == str(error)
