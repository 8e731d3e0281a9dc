"""When this machine's own policy stops: what counts as an attempt spent without a result."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from client_sdk.journal import Journal
from client_sdk.own_ledger import OwnLedger
from client_sdk.policy import Policy
from client_sdk.settings import load_settings
from privacy.dp.events import PrivacyEvent
from privacy.errors import PolicyRefused, UnsafeParameters
from privacy.ledger.entry import BudgetChange
from privacy.protocol.messages import UpdateRule
from tests.client_sdk.campaigns import campaign, charter, plan
from tests.client_sdk.choir import SETTINGS

CHARTER = charter()
CAMPAIGN = campaign((("weight", (10,)),), UpdateRule(kind="sgd", learning_rate=0.1), charter_digest=CHARTER.digest)


class Folder:
    """A journal, its own ledger and its policy; `spend` writes down one attempt."""

    def __init__(self, path: Path) -> None:
        text = SETTINGS.format(name="p0", title="P0", url="http://127.0.0.1:1", patience=1.0)
        (path / "partner.toml").write_text(text)
        self.journal = Journal(path / "journal.sqlite")
        self.own = OwnLedger(self.journal, "p0")
        self.policy = Policy(load_settings(path / "partner.toml").settings, self.journal, self.own)
        self.number = 0

    def spend(self, ending: str | None, accepted: bool = True, charged: bool = True) -> None:
        self.number += 1
        of = plan(CAMPAIGN, number=self.number)
        self.journal.met(of.digest, CAMPAIGN.digest, self.number, 0, b"plan")
        if accepted:
            entry = self.own.next_charge(of, CHARTER, 0)
            self.journal.accept_cohort(of.digest, "j", b"cohort", {}, {}, entry)
            self.own.written(entry)
        elif charged:
            change = BudgetChange(
                plan=of.digest,
                round=of.round,
                attempt=of.attempt,
                event=of.event,
                row="training",
                charged=self.number,
                reserved=0,
            )
            self.own.recover([(CHARTER, change)], 0)
        if ending is not None:
            self.journal.write_once("ended", of.digest, {"ending": ending})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_delta_holds_for_the_records_that_are_trained_on(folder: Folder) -> None:
    """The caps' delta is 1e-5: a chance of one in ten for each of 10,000 records together, and no more."""
    folder.policy.check_records(CHARTER, "p0", 10_000)
    with pytest.raises(UnsafeParameters, match="10001 records"):
        folder.policy.check_records(CHARTER, "p0", 10_001)


def test_caps_of_all_charters_stay_within_a_lifetimes_limit(tmp_path: Path) -> None:
    """What was accepted adds up, spent or not; the same charter twice is one."""
    caps = CHARTER.entry("p0").caps
    later = CHARTER.model_copy(update={"epoch": 2, "previous": CHARTER.digest})
    text = SETTINGS.format(name="p0", title="P0", url="http://127.0.0.1:1", patience=1.0)

    def policy(limits: str) -> Policy:
        (tmp_path / "partner.toml").write_text(text.replace("[policy]", f"[policy]\n{limits}"))
        return Policy(load_settings(tmp_path / "partner.toml").settings, journal, OwnLedger(journal, "p0"))

    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        policy("").check_lifetime(later, "p0", [CHARTER])
        enough = policy(f"max_lifetime_epsilon_in_sum = {2 * caps.epsilon_in_sum}")
        enough.check_lifetime(later, "p0", [CHARTER, later])
        for name, cap in (("in_sum", caps.epsilon_in_sum), ("alone", caps.epsilon_alone)):
            small = policy(f"max_lifetime_epsilon_{name} = {1.99 * cap}")
            small.check_lifetime(CHARTER, "p0", [CHARTER])
            with pytest.raises(PolicyRefused, match=f"{2 * cap:g} with this one"):
                small.check_lifetime(later, "p0", [CHARTER])


def test_two_void_attempts_stop_it_and_a_result_between_them_does_not(folder: Folder) -> None:
    folder.spend("void")
    folder.spend("confirmed")
    folder.spend("closed")
    assert folder.policy.stopped() is None
    folder.spend("void")
    assert folder.policy.stopped() is not None


def test_a_charge_for_a_cohort_that_was_withheld_counts(folder: Folder) -> None:
    folder.spend("closed", accepted=False)
    folder.spend(None, accepted=False)
    assert folder.policy.void_in_a_row() == 2


def test_results_of_attempts_that_cost_nothing_here_do_not_hide_what_was_spent(folder: Folder) -> None:
    folder.spend("void")
    folder.spend("confirmed", accepted=False, charged=False)
    folder.spend("void")
    assert folder.policy.stopped() is not None


def test_an_attempt_under_way_or_closed_before_a_cohort_is_not_without_result(folder: Folder) -> None:
    folder.spend("closed", accepted=False, charged=False)
    folder.spend("void")
    folder.spend(None)
    assert folder.policy.void_in_a_row() == 1


def test_under_a_filter_the_policys_own_epsilons_are_a_filter_too(folder: Folder) -> None:
    """The charter's caps are 100 and 1000, this machine's 20 and 50: within the first may pass the second."""
    event = PrivacyEvent(kind="distributed", noise_multiplier=0.3, sampling_rate=0.5)
    under = charter(event).model_copy(update={"filter_order": 4})
    of = campaign((("weight", (10,)),), UpdateRule(kind="sgd", learning_rate=0.1), charter_digest=under.digest)
    kept = under.filter_for("p0")
    assert kept is not None
    assert kept.room_for((), event) >= 2
    weak = PrivacyEvent(kind="distributed", noise_multiplier=0.5, sampling_rate=0.5)
    folder.policy.check_plan(plan(of, event=weak), under)
    with pytest.raises(PolicyRefused, match="filter for this machine's own policy"):
        folder.policy.check_plan(plan(of, event=event), under)
    bare = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0)
    row = under.table[0].model_copy(update={"name": "unprotected", "event": bare})
    allowing = under.model_copy(update={"table": (*under.table, row)})
    with pytest.raises(PolicyRefused, match="kind none"):
        folder.policy.check_plan(plan(of, event=bare, scale=1.0), allowing)


@pytest.mark.parametrize("after", [False, True])
def test_killed_while_it_takes_over_a_charge_it_has_it_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: bool
) -> None:
    """Only the service's ledger proves the charge: before the write there is none, and it is taken over again."""
    of = plan(CAMPAIGN, number=1)
    change = BudgetChange(
        plan=of.digest, round=1, attempt=of.attempt, event=of.event, row="training", charged=1, reserved=0
    )
    commit = Journal._commit

    def die(journal: Journal, step: str) -> None:
        if after:
            commit(journal, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Journal, "_commit", die)
        with pytest.raises(KeyboardInterrupt):
            folder.own.recover([(CHARTER, change)], 0)
    folder.journal.close()
    again = OwnLedger(Journal(tmp_path / "journal.sqlite"), "p0")
    assert again.head.count == (1 if after else 0)
    missing = [] if of.digest in again.charges() else [(CHARTER, change)]
    again.recover(missing, 0)
    assert list(again.charges()) == [of.digest]
