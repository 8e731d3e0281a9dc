"""A command's connection to the service: folder, key, client, and the questions several commands ask of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from aggregator.operator.answers import CharterRecord, EnrolmentRecord
from aggregator.operator.client import OperatorClient
from aggregator.operator.folder import OperatorFolder, open_operator_folder, read_passphrase
from aggregator.operator.signed_http import SignedHttp
from aggregator.operator.trusted import campaign_by_lead, charter_in_force, signed_charter
from privacy.clock import Clock, SystemClock
from privacy.errors import ConfigurationError, NotFound
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Campaign, Charter, Signed
from privacy.protocol.plan_checks import check_campaign
from privacy.protocol.signing import SigningKey, Verifier, countersign
from privacy.randomness import RandomSource, SystemRandom

CONSORTIUM_SCOPE = "consortium"


@dataclass(frozen=True)
class OperatorSession:
    """What a command works with."""

    folder: OperatorFolder
    key: SigningKey
    client: OperatorClient
    clock: Clock
    verifier: Verifier

    def charter_record(self) -> CharterRecord | None:
        """The newest charter or draft, as the service tells it; None before the first."""
        try:
            return self.client.latest_charter()
        except NotFound:
            return None

    def charter_in_force(self) -> Charter:
        """Verified by every partner's signature."""
        record = self._drafted()
        return charter_in_force(record, self.key.public, self.folder.settings.server_keys, self.verifier)

    def check_scope(self, scope: str) -> None:
        """Raises ConfigurationError unless it is the consortium, or one partner of the roster."""
        roster = signed_charter(self._drafted(), self.key.public).partners
        if scope not in (CONSORTIUM_SCOPE, *roster):
            raise ConfigurationError(
                f"a scope: a partner of the roster ({', '.join(roster)}), or {CONSORTIUM_SCOPE}",
                repr(scope),
                "correct --scope",
            )

    def enrolment(self, partner: str) -> EnrolmentRecord:
        for record in self.client.enrolments():
            if record.enrolment.body.partner == partner:
                return record
        raise NotFound(f"an enrolment of {partner}", "none", "invite the partner, and have it enrol")

    def campaign(self, named: str, charter: Charter) -> str:
        """The hash of the newest campaign of this name under the charter, or of the one whose hash begins so."""
        campaigns = [c for c in self.client.campaigns() if c.charter == charter.digest]
        matches = [c.campaign for c in campaigns if c.name == named][-1:]
        matches = matches or [c.campaign for c in campaigns if named and c.campaign.startswith(named)]
        return _only(matches, f"one campaign named {named}", "name it by more of its hash: `chorale-server status`")

    def campaign_in_force(
        self, campaign: str, charter: Charter, agree: Callable[[Campaign], None]
    ) -> Signed[Campaign]:
        """The campaign signed by lead and operator; countersigned now where it was not, unless `agree` raises."""
        record = self.client.campaign(campaign)
        by_lead = campaign_by_lead(record, campaign, charter)
        if record.in_force:
            check_campaign(record.campaign, charter, self.verifier)
            return record.campaign
        agree(by_lead.body)
        signed = countersign(by_lead, OPERATOR, self.key)
        check_campaign(signed, charter, self.verifier)
        self.client.countersign(signed)
        return signed

    def _drafted(self) -> CharterRecord:
        record = self.charter_record()
        if record is None:
            raise NotFound("a charter", "none drafted yet", "draft it: chorale-server charter draft FILE")
        return record

    def round(self, named: str | None) -> str:
        """The attempt whose R begins so; None: the newest of the newest campaign."""
        campaigns = self.client.campaigns()
        if named is not None and len(named) == 64:
            return named
        if named is None:
            attempts = self.client.rounds(campaigns[-1].campaign) if campaigns else ()
            return _only([a.round for a in attempts[-1:]], "a round attempt", "conduct a campaign first")
        found = [a.round for c in campaigns for a in self.client.rounds(c.campaign) if a.round.startswith(named)]
        return _only(found, f"one round attempt {named}", "name it by more of its hash")


@contextmanager
def open_session(
    path: Path,
    ask: Callable[[], str] | None,
    *,
    clock: Clock | None = None,
    source: RandomSource | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Iterator[OperatorSession]:
    """The session of the operator's folder at `path`. Raises ConfigurationError, KeystoreLocked."""
    folder = open_operator_folder(path)
    key = folder.load_key(read_passphrase(ask))
    clock = clock or SystemClock()
    http = SignedHttp(folder.settings.url, key, clock, source or SystemRandom(), time.sleep, transport=transport)
    try:
        yield OperatorSession(folder, key, OperatorClient(http), clock, Verifier())
    finally:
        http.close()


def _only(found: list[str], expected: str, remedy: str) -> str:
    if len(found) != 1:
        raise ConfigurationError(expected, "none" if not found else f"{len(found)} of them", remedy)
    return found[0]
