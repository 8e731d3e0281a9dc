"""The lead signs a campaign once: the same file again is the same campaign (protocol 3).

Rules:
1. A genesis gets a new salt each time that one is made, and with it another hash. So what was drafted is written
   down before it is posted, and the same file again posts that. Nothing is drafted before the charter is in force.
2. The same file means the same bytes, of the model or state that it names as well. Another one under the same name
   and charter is refused: who asks for a campaign by name must not get one of two.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from client_sdk import states
from client_sdk.agent import Agent
from client_sdk.campaign_file import CampaignFile, draft, read_campaign_file
from privacy.errors import Conflict, WrongState
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.messages import Campaign

_DRAFTED: Final = "drafted campaign "


def sign_once(agent: Agent, path: Path) -> Campaign:
    """The campaign that `path` describes, signed and posted, its genesis boxed. Raises Conflict by rule 2."""
    partner, charter = agent.partner, agent.charter.digest
    described = read_campaign_file(path)
    files = _digest_of(path, described)
    fact = f"{_DRAFTED}{charter} {described.name}"
    raw = partner.journal.fact(fact)
    if raw is None:
        _require_in_force(agent)
        campaign, state = draft(path, charter, partner.outside.source)
        states.StateFolder(partner, campaign.digest).keep(state)
        kept = {"files": files, "campaign": campaign.model_dump(mode="json")}
        partner.journal.set_fact(fact, canonical(kept))
    else:
        kept = parse(raw)
        campaign = Campaign.model_validate(kept["campaign"], strict=False)
        if kept["files"] != files:
            raise Conflict(
                f"the files from which campaign {described.name!r} ({campaign.digest[:16]}) was signed",
                "others",
                "give the new campaign a name of its own; what was signed stays as it is",
            )
    genesis = states.StateFolder(partner, campaign.digest).find(campaign.genesis)
    if genesis is not None:  # else it has been trained on since, so everyone had it
        agent.publish_genesis(campaign, genesis)
    return campaign


def _require_in_force(agent: Agent) -> None:
    """Before that the service takes no campaign, and the name would be used up for nothing."""
    signed, _, in_force = agent.partner.service.latest_charter()
    if signed.digest == agent.charter.digest and not in_force:
        raise WrongState(
            "a charter that every partner has accepted",
            "one that is not in force yet",
            "wait for the acceptances, then sign this file again",
        )


def _digest_of(path: Path, described: CampaignFile) -> str:
    named = described.state if described.model is None else described.model.rpartition(":")[0]
    parts = [path.read_bytes()]
    other = path.parent / str(named)
    if other.is_file():  # draft() says what is wrong where it is none
        parts.append(other.read_bytes())
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()
