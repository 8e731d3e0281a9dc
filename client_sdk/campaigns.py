"""Campaigns that this partner works for, and the states of theirs that count (protocol 3).

Rules:
1. A campaign counts if operator and lead signed it under the pinned charter; it is pinned at its first use.
2. It is worked for once every partner of the roster signed the charter, whatever the service says (protocol 4.0).
3. A state counts if it is the genesis, or if t partners of its round's J confirmed it; it is started from no other.
"""

from __future__ import annotations

from typing import Final

from client_sdk import states
from client_sdk.confirming import confirmed_state
from client_sdk.model_state import ModelState
from client_sdk.partner import Partner
from client_sdk.transport import LONG_POLL_SECONDS
from privacy.errors import ConfigurationError, NotFound, WeakerThanCharter
from privacy.protocol.messages import Campaign, Signed, parse_signed
from privacy.protocol.plan_checks import check_acceptances, check_campaign, check_plan
from privacy.protocol.round_state import RoundState

_CAMPAIGN_FACT: Final = "campaign "
_IN_FORCE: Final = "charter in force "


def pinned(partner: Partner, digest: str) -> Campaign:
    """A campaign in force under the pinned charter, verified; pinned at its first use. Waits for it once."""
    _require_charter_in_force(partner)
    raw = partner.journal.fact(_CAMPAIGN_FACT + digest)
    if raw is not None:
        return check_campaign(parse_signed(Campaign, raw), partner.charter, partner.verifier)
    signed, in_force = partner.service.campaign(digest, LONG_POLL_SECONDS)
    if not in_force:
        raise NotFound(
            f"campaign {digest[:16]} signed by operator and lead",
            "not countersigned yet",
            "wait for the operator",
        )
    campaign = check_campaign(signed, partner.charter, partner.verifier)
    if campaign.digest != digest:
        raise WeakerThanCharter(f"campaign {digest[:16]}", f"{campaign.digest[:16]}", "tell the operator")
    partner.journal.set_fact(_CAMPAIGN_FACT + digest, signed.canonical_bytes)
    return campaign


def pinned_campaigns(partner: Partner) -> list[bytes]:
    """Every campaign that this partner has pinned, as it was signed."""
    return partner.journal.facts(_CAMPAIGN_FACT)


def _require_charter_in_force(partner: Partner) -> None:
    """Rule 2: asked of the service once, verified here, written down. Raises WeakerThanCharter."""
    charter = partner.charter
    if partner.journal.fact(_IN_FORCE + charter.digest) is not None:
        return
    offered, acceptances, _ = partner.service.latest_charter()
    if offered.digest != charter.digest:
        raise WeakerThanCharter(
            f"the acceptances of charter {charter.digest[:16]}, which this partner signed",
            f"those of {offered.digest[:16]}",
            "accept the newest charter, or ask the operator why there is another",
        )
    check_acceptances(charter, acceptances, partner.verifier)
    partner.journal.set_fact(_IN_FORCE + charter.digest, b"in force")


def find(partner: Partner, wanted: str | None) -> Campaign:
    """By digest or name, among those in force under the pinned charter; None: the one that is.

    Of several that share a name it is the newest. Raises NotFound, ConfigurationError if names differ.
    """
    charter = partner.charter.digest
    in_force = [line for line in partner.service.campaigns() if line.in_force and line.charter == charter]
    found = {line.name: line.campaign for line in in_force if wanted in (None, line.campaign, line.name)}
    if not found:
        raise NotFound(
            f"a campaign in force{f' called {wanted}' if wanted else ''}",
            f"{', '.join(line.name for line in in_force) or 'none'}",
            "wait for the lead and the operator to sign it",
        )
    if len(found) > 1:
        raise ConfigurationError("one campaign", ", ".join(found), "name one")
    return pinned(partner, *found.values())


def publish_genesis(partner: Partner, draft: Campaign, state: ModelState) -> Signed[Campaign]:
    """The lead's part: sign the campaign whose genesis is `state`, post it, and box the state to everyone.

    Raises WeakerThanCharter where draft, charter and state do not belong together. Harmless to call again.
    """
    if draft.genesis != state.digest or draft.charter != partner.charter.digest:
        raise WeakerThanCharter(
            f"a campaign under charter {partner.charter.digest[:16]} with genesis {state.digest[:16]}",
            f"charter {draft.charter[:16]}, genesis {draft.genesis[:16]}",
            "draft it from this state and this charter",
        )
    state.check(draft)
    states.StateFolder(partner, draft.digest).keep(state)
    signed = partner.sign(draft)
    partner.service.post_campaign(signed)
    states.publish(partner, draft, state)
    return signed


def fetch_state(partner: Partner, campaign: Campaign, state_digest: str) -> ModelState:
    """Rule 3: from the disk or from a partner; kept on disk. Raises WeakerThanCharter."""
    folder = states.StateFolder(partner, campaign.digest)
    state = folder.find(state_digest)
    if state is None or partner.journal.stands_on(campaign.digest) != state_digest:
        # A state on this disk may have been applied here and confirmed by no quorum.
        _check_counts(partner, campaign, state_digest)
    if state is None:
        state = states.fetch_asking(partner, campaign, state_digest)
    folder.keep(state)
    folder.move_on_to(state)
    return state


def _check_counts(partner: Partner, campaign: Campaign, state_digest: str) -> None:
    if state_digest == campaign.genesis:
        return
    for line in reversed(partner.service.rounds(campaign.digest, 0)):
        document = partner.service.round(line.round)
        if document.state is RoundState.CONFIRMED and state_digest in document.confirmations.values():
            plan = check_plan(document.plan, partner.charter, campaign, partner.verifier)
            if confirmed_state(partner, plan) == state_digest:
                return
    raise WeakerThanCharter(
        "the genesis, or a state that a quorum confirmed", state_digest[:16], "start from no other state"
    )
