"""Model states: on this partner's disk, and on their way to another partner's result key (protocol 3, 4.5).

Rules:
1. A state file stands whole, under its hash, before the journal names it; the two newest of a campaign are kept,
   and the one that this partner stands on.
2. A state from another partner counts only by its hash: the genesis that the campaign names, or one that t partners
   confirmed. Who sent it is signed, so that a wrong one is named.
3. The service stores boxes unread.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from client_sdk.durable import make_folder, write_durably
from client_sdk.model_state import ModelState
from client_sdk.partner import Partner
from privacy.errors import ChoraleError, Conflict, DigestMismatch, NotAllowed, NotFound, QuotaReached
from privacy.he.boxes import open_box, seal_box
from privacy.protocol.canonical import digest
from privacy.protocol.messages import Campaign, Signed, StateBox, StateRequest

KEPT: Final = 2
_REQUEST_PAUSE: Final = 1.0
_REQUEST_WAIT: Final = 10
_INFO: Final = b"chorale/1 state box"


class StateFolder:
    """The states of one campaign on disk."""

    def __init__(self, partner: Partner, campaign: str) -> None:
        self._journal = partner.journal
        self._campaign = campaign
        self._folder = make_folder(partner.folder / "states")

    def _path(self, state_digest: str) -> Path:
        return self._folder / f"{state_digest}.state"

    def keep(self, state: ModelState) -> None:
        """Rule 1. Harmless twice in a row."""
        known = self._journal.states(self._campaign)
        if not (known and known[0][0] == state.digest and self._path(state.digest).exists()):
            write_durably(self._path(state.digest), state.to_bytes())
            self._journal.add_state(self._campaign, state.digest, state.round)
        stands_on = self._journal.stands_on(self._campaign)
        for name, _ in self._distinct()[KEPT:]:
            if name != stands_on:
                self._path(name).unlink(missing_ok=True)

    def _distinct(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys(self._journal.states(self._campaign)))

    def newest(self) -> ModelState | None:
        """The newest state that counts, verified by its hash; None before the first. Raises DigestMismatch.

        One that was applied here and that no quorum has confirmed yet does not count (protocol 3).
        """
        stands_on = self._journal.stands_on(self._campaign)
        return None if stands_on is None else self.find(stands_on)

    def move_on_to(self, state: ModelState) -> None:
        """Stand on a state that counts, if it is of a later round."""
        rounds = dict(self._journal.states(self._campaign))
        if state.round > rounds.get(str(self._journal.stands_on(self._campaign)), -1):
            self._journal.stand_on(self._campaign, state.digest)

    def find(self, state_digest: str) -> ModelState | None:
        try:
            raw = self._path(state_digest).read_bytes()
        except FileNotFoundError:
            return None
        return _read_state(raw, state_digest, "this folder")


def publish(partner: Partner, campaign: Campaign, state: ModelState) -> None:
    """Box a state to the result key of everyone else on the roster, and post the boxes. Harmless to call again."""
    for entry in partner.charter.roster:
        if entry.partner != partner.name:
            try:
                _post(partner, campaign, state, entry.partner)
            except Conflict:
                continue  # no two boxes of one state are the same bytes: an earlier one lies there


def answer_requests(partner: Partner, campaign: Campaign) -> int:
    """Answer the state-requests that this partner can; how many.

    What the service refuses is set aside: whoever asks for what may not be sent must not stop this partner.
    """
    answered = 0
    folder = StateFolder(partner, campaign.digest)
    for signed in partner.service.state_requests(campaign.digest):
        name = signed.body.partner
        if name == partner.name:
            continue
        request = partner.verifier.verify(signed, {name: partner.charter.entry(name).signing_keys})
        state = folder.find(request.state) if request.campaign == campaign.digest else None
        if state is not None:
            try:
                _post(partner, campaign, state, name)
            except (NotAllowed, Conflict, QuotaReached) as error:
                partner.progress.notice(f"a state for {name} was not taken: {error}")
                continue
            answered += 1
    return answered


def fetch(partner: Partner, campaign: Campaign, state_digest: str, wait: int = 0) -> ModelState:
    """A state by its hash: from this disk, or from a box to this partner. Raises NotFound where none came yet."""
    held = StateFolder(partner, campaign.digest).find(state_digest)
    if held is not None:
        return held
    refused: ChoraleError | None = None
    for signed in partner.service.state_boxes(campaign.digest, state_digest, wait):
        try:
            return _open(partner, campaign, state_digest, signed)
        except ChoraleError as error:
            if error.status >= 500:
                raise
            refused = error
            partner.progress.notice(f"a state from {signed.body.sender} was set aside: {error}")
    if refused is not None:
        raise refused
    raise NotFound(
        f"a box with state {state_digest[:16]} for {partner.name}", "none yet", "wait until a partner answers"
    )


def fetch_asking(partner: Partner, campaign: Campaign, state_digest: str) -> ModelState:
    """A state that counts, from whichever partner holds it: asked for, and waited for."""
    asked = False
    while True:
        try:
            state = fetch(partner, campaign, state_digest, wait=_REQUEST_WAIT if asked else 0)
        except NotFound:
            if not asked:
                request(partner, campaign, state_digest)
                asked = True
            else:
                partner.progress.notice(f"waiting for a partner to send state {state_digest[:16]}")
                partner.outside.sleep(_REQUEST_PAUSE)
            continue
        return state


def request(partner: Partner, campaign: Campaign, state_digest: str) -> None:
    body = StateRequest(
        charter=partner.charter.digest, campaign=campaign.digest, partner=partner.name, state=state_digest
    )
    partner.service.request_state(partner.sign(body))


def _post(partner: Partner, campaign: Campaign, state: ModelState, receiver: str) -> None:
    info = _info(campaign.digest, partner.name, receiver, state.digest)
    box = seal_box(bytes.fromhex(partner.charter.entry(receiver).result_key), info, state.to_bytes())
    body = StateBox(
        charter=partner.charter.digest,
        campaign=campaign.digest,
        sender=partner.name,
        receiver=receiver,
        state=state.digest,
        box=digest(box),
    )
    partner.service.post_state_box(partner.sign(body), box)


def _open(partner: Partner, campaign: Campaign, state_digest: str, signed: Signed[StateBox]) -> ModelState:
    sender = signed.body.sender
    body = partner.verifier.verify(signed, {sender: partner.charter.entry(sender).signing_keys})
    if (body.campaign, body.receiver, body.state) != (campaign.digest, partner.name, state_digest):
        raise DigestMismatch(
            f"a box with state {state_digest[:16]}", f"one with {body.state[:16]}", "ask another partner"
        )
    box = partner.service.state_box(campaign.digest, state_digest, sender)
    if digest(box) != body.box:
        raise DigestMismatch(f"the box that {sender} signed for", "other bytes", "ask another partner")
    raw = open_box(partner.keys.result, _info(campaign.digest, sender, partner.name, state_digest), box)
    state = _read_state(raw, state_digest, sender)
    state.check(campaign)
    return state


def _info(campaign: str, sender: str, receiver: str, state_digest: str) -> bytes:
    """32 bytes that bind a state box to its campaign, sender, receiver and state."""
    bound = sha256(_INFO)
    for part in (bytes.fromhex(campaign), sender.encode(), receiver.encode(), bytes.fromhex(state_digest)):
        bound.update(len(part).to_bytes(8, "little") + part)
    return bound.digest()


def _read_state(raw: bytes, state_digest: str, where: str) -> ModelState:
    if digest(raw) != state_digest:
        raise DigestMismatch(
            f"state {state_digest[:16]} from {where}", f"{digest(raw)[:16]}", "fetch it from another partner"
        )
    return ModelState.from_bytes(raw)
