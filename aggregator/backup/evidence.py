"""What partners' files and the operator's plans prove, taken together (privacy/ledger/handed_back.py).

Rules:
1. Every message counts by its signature under a charter that the restored service knows. A charter that came into
   force since is beyond recovery: a newer backup is needed.
2. A message that does not verify is its file's fault and stops everything: a file is whole, or is written again.
3. The lost part of the chain is taken from the file whose entries lead furthest to a head that the service signed.
   Every other head that it signed, in whatever file, must lie on that chain: else the service had forked.
4. No two cohorts of one attempt. Where the service signed two, nothing goes on from here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from privacy.errors import Conflict, LedgerBroken, RolledBack
from privacy.ledger.chain import ChainVerifier, verify_lines
from privacy.ledger.checkpoint import Landmarks
from privacy.ledger.entry import LedgerEntry
from privacy.ledger.handed_back import HandedBack
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import (
    Campaign,
    ChainHead,
    Charter,
    Checkpoint,
    Cohort,
    Confirmation,
    Join,
    OwnCheckpoint,
    Plan,
    Seal,
    Signed,
    SigningKeys,
)
from privacy.protocol.plan_checks import check_campaign
from privacy.protocol.signing import Verifier


@dataclass
class LostAttempt:
    """What is known of one attempt. seals: by digest. confirmations: each partner's, one a seal and state."""

    plan: Signed[Plan]
    cohort: Signed[Cohort] | None = None
    joins: dict[str, Signed[Join]] = field(default_factory=dict)
    seals: dict[str, Signed[Seal]] = field(default_factory=dict)
    confirmations: list[Signed[Confirmation]] = field(default_factory=list)


@dataclass
class Evidence:
    """partners: whose files these are. own: their own chains. entries: the service's that were lost, in order."""

    partners: tuple[str, ...]
    campaigns: dict[str, Signed[Campaign]]
    attempts: dict[str, LostAttempt]
    own: dict[str, list[LedgerEntry]]
    entries: list[bytes]


def gather(
    files: Sequence[HandedBack],
    plans: Sequence[Signed[Plan]],
    charters: Mapping[str, Charter],
    known: Iterable[bytes],
    verifier: Verifier,
) -> Evidence:
    """charters: those in force before the loss, by digest. known: the chain's entries as restored.

    Raises RolledBack, LedgerBroken, Conflict, BadSignature.
    """
    reading = _Reading(charters, verifier)
    for plan in plans:
        reading.take_plan(plan)
    for file in files:
        reading.take(file)
    for file in files:
        reading.take_cohorts(file)
    return Evidence(
        partners=tuple(sorted(file.partner for file in files)),
        campaigns=reading.campaigns,
        attempts=reading.attempts,
        own={file.partner: file.own for file in files},
        entries=_lost_entries(files, reading.heads, known),
    )


class _Reading:
    """Messages of all files, verified, by what they are about."""

    def __init__(self, charters: Mapping[str, Charter], verifier: Verifier) -> None:
        self._charters = charters
        self._verifier = verifier
        self.campaigns: dict[str, Signed[Campaign]] = {}
        self.attempts: dict[str, LostAttempt] = {}
        self.heads: list[ChainHead] = []

    def take(self, file: HandedBack) -> None:
        """All but cohorts, which need every file's joins."""
        for campaign in file.of(Campaign):
            check_campaign(campaign, self._charter(campaign), self._verifier)
            self.campaigns[campaign.digest] = campaign
        for plan in file.of(Plan):
            self.take_plan(plan)
        for join in file.of(Join):
            self._verify(join, join.body.partner)
            self._of(join.body.plan).joins[join.digest] = join
        for seal in file.of(Seal):
            self._verify(seal, SERVER)
            self._of(seal.body.plan).seals[seal.digest] = seal
        for confirmation in file.of(Confirmation):
            self._verify(confirmation, confirmation.body.partner)
            self._of(confirmation.body.plan).confirmations.append(confirmation)
        for checkpoint in file.of(Checkpoint):
            self._verify(checkpoint, SERVER)
            self.heads.append(checkpoint.body.chain)
        self._check_own(file)

    def take_plan(self, plan: Signed[Plan]) -> None:
        self._verify(plan, OPERATOR)
        self.attempts.setdefault(plan.digest, LostAttempt(plan))

    def take_cohorts(self, file: HandedBack) -> None:
        """Rule 4. Joins are kept by partner from here on, for the cohort's members alone."""
        for cohort in file.of(Cohort):
            found = self._of(cohort.body.plan)
            if found.cohort is not None:
                if found.cohort.digest != cohort.digest:
                    raise Conflict(
                        f"one cohort of attempt {cohort.body.plan[:16]}",
                        f"two that the service signed, the second from {file.partner}",
                        "go on with nothing: show every partner both, and find out who had the online key",
                    )
                continue
            named = {member.partner: found.joins.get(member.join) for member in cohort.body.members}
            joins = {name: join for name, join in named.items() if join is not None}
            charter = self._charter(cohort)
            check_cohort(cohort, joins, found.plan.body, charter, {}, self._verifier)
            found.cohort, found.joins = cohort, {join.digest: join for join in joins.values()}

    def _check_own(self, file: HandedBack) -> None:
        """The file's own chain, up to the head that its partner signed for it, of nobody else."""
        signed = file.of(OwnCheckpoint)
        verifier = ChainVerifier(own=True)
        for entry in file.own:
            verifier.add(entry)
        heads = {checkpoint.body.chain for checkpoint in signed if checkpoint.body.partner == file.partner}
        for checkpoint in signed:
            self._verify(checkpoint, file.partner)
        if heads != {verifier.head} or any(entry.participant != file.partner for entry in file.own):
            raise LedgerBroken(
                len(file.own),
                f"{file.partner}'s own chain, up to the head that it signed",
                f"one of {verifier.head.count} entries, of another head or partner",
                f"have {file.partner} write its file again",
            )

    def _charter(self, signed: Signed[Any]) -> Charter:
        charter = self._charters.get(signed.body.charter)
        if charter is None:
            raise RolledBack(
                "messages under charters that this backup knows",
                f"a {signed.body.type} under {signed.body.charter[:16]}",
                "restore a backup that was made after that charter came into force",
            )
        return charter

    def _verify(self, signed: Signed[Any], signer: str) -> None:
        charter = self._charter(signed)
        keys: dict[str, SigningKeys] = {OPERATOR: charter.operator_keys, SERVER: charter.server_keys}
        keys = {name: found for name, found in keys.items() if name == signer}
        self._verifier.verify(signed, keys or {signer: charter.entry(signer).signing_keys})

    def _of(self, plan: str) -> LostAttempt:
        found = self.attempts.get(plan)
        if found is None:
            raise LedgerBroken(
                0, f"the plan of attempt {plan[:16]}", "none", "have its partner write the file again"
            )
        return found


def _lost_entries(files: Sequence[HandedBack], heads: Sequence[ChainHead], known: Iterable[bytes]) -> list[bytes]:
    """Rule 3."""
    landmarks, signed = Landmarks(heads), {(head.count, head.head) for head in heads}
    restored = verify_lines(_passing(known, landmarks))
    best: tuple[ChainVerifier, list[bytes]] = restored, []
    for file in files:
        chain, lines = copy.deepcopy(restored), []
        while (line := file.entries.get(chain.head.count + 1)) is not None:
            try:
                chain.add_line(line)
            except LedgerBroken:
                break  # it is no continuation: another file may have one
            lines.append(line)
            if (chain.head.count, chain.head.head) in signed and chain.head.count > best[0].head.count:
                best = copy.deepcopy(chain), list(lines)
    found, lines = best
    replay = copy.deepcopy(restored)
    for line in lines:
        replay.add_line(line)
        landmarks.passed(replay.head)
    furthest = max((head.count for head in heads), default=0)
    if furthest > found.head.count:
        raise LedgerBroken(
            found.head.count + 1,
            f"the {furthest} entries that the service signed for",
            f"{found.head.count}: no file goes on from there",
            "give every partner's file; if that is all of them, restore a newer backup",
        )
    return lines


def _passing(lines: Iterable[bytes], landmarks: Landmarks) -> Iterable[bytes]:
    """The restored entries, each head held to what the service signed."""
    chain = ChainVerifier()
    for line in lines:
        chain.add_line(line)
        landmarks.passed(chain.head)
        yield line
