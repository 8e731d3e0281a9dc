"""The service's routes as typed calls: messages in, messages out (docs/http.md).

What comes back is read strictly and bounded, and *not* verified: signatures are for whoever relies on it. The round
document is the service's word alone; it says what to fetch next, and nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from client_sdk.answers import (
    About,
    CampaignLine,
    OwnUploadStatus,
    RoundDocument,
    RoundLine,
    malformed,
    read_document,
    read_message,
    read_messages,
    read_missing,
    read_model,
)
from client_sdk.box_fetch import split_boxes
from client_sdk.transport import LONG_POLL_SECONDS, Transport, json_object
from privacy.errors import DigestMismatch
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.protocol.canonical import MAX_MESSAGE_BYTES, canonical
from privacy.protocol.http_contract import FRAME_TYPE, frame
from privacy.protocol.messages import (
    Campaign,
    Charter,
    CharterAcceptance,
    Checkpoint,
    Cohort,
    Confirmation,
    Enrolment,
    Join,
    Manifest,
    Opening,
    Receipt,
    Refusal,
    Signed,
    StateBox,
    StateRequest,
    VoidVote,
    parse_signed,
)
from privacy.protocol.round_state import RoundState

MAX_STATE_BOX_BYTES: Final = 1 << 34
_LEDGER_PAGE: Final = 1000


class Service:
    """Calls to one service over one transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    # --- before the first round -----------------------------------------------------------------------

    def about(self) -> About:
        about: About = read_model(About, self.transport.get_json("/v1/about"), "/v1/about")
        return about

    def enrol(self, token: str, enrolment: Signed[Enrolment]) -> None:
        body = canonical({"token": token, "enrolment": enrolment.model_dump(mode="json")})
        self.transport.post("/v1/enrolments", body)

    def enrolment_state(self, partner: str, wait: int = 0) -> str:
        return str(self.transport.get_json(f"/v1/enrolments/{partner}", {"wait": wait}).get("state"))

    def latest_charter(self, wait: int = 0) -> tuple[Signed[Charter], dict[str, Signed[CharterAcceptance]], bool]:
        """(charter, acceptances by partner, whether the service says that it is in force)."""
        answer = self.transport.get_json("/v1/charters/latest", {"wait": wait})
        acceptances = answer.get("acceptances")
        if not isinstance(acceptances, dict):
            raise malformed("/v1/charters/latest", "acceptances")
        signed = {name: read_message(CharterAcceptance, value) for name, value in acceptances.items()}
        return read_message(Charter, answer.get("charter")), signed, answer.get("in_force") is True

    def accept_charter(self, acceptance: Signed[CharterAcceptance]) -> None:
        path = f"/v1/charters/{acceptance.body.charter}/acceptances"
        self.transport.post(path, acceptance.canonical_bytes)

    def post_campaign(self, campaign: Signed[Campaign]) -> None:
        self.transport.post("/v1/campaigns", campaign.canonical_bytes)

    def campaigns(self) -> list[CampaignLine]:
        """In the order posted."""
        found = self.transport.get_json("/v1/campaigns").get("campaigns")
        if not isinstance(found, list):
            raise malformed("/v1/campaigns", "campaigns")
        return [read_model(CampaignLine, line, "/v1/campaigns") for line in found]

    def campaign(self, digest: str, wait: int = 0) -> tuple[Signed[Campaign], bool]:
        answer = self.transport.get_json(f"/v1/campaigns/{digest}", {"wait": wait})
        return read_message(Campaign, answer.get("campaign")), answer.get("in_force") is True

    # --- states ---------------------------------------------------------------------------------------

    def post_state_box(self, message: Signed[StateBox], box: bytes) -> None:
        path = f"/v1/campaigns/{message.body.campaign}/state-boxes"
        self.transport.post(path, frame(message.canonical_bytes, box), FRAME_TYPE)

    def state_boxes(self, campaign: str, state: str, wait: int = 0) -> list[Signed[StateBox]]:
        answer = self.transport.get_json(f"/v1/campaigns/{campaign}/state-boxes/{state}", {"wait": wait})
        return read_messages(StateBox, answer, "boxes")

    def state_box(self, campaign: str, state: str, sender: str) -> bytes:
        path = f"/v1/campaigns/{campaign}/state-boxes/{state}/{sender}"
        return self.transport.get(path, None, MAX_STATE_BOX_BYTES)

    def request_state(self, request: Signed[StateRequest]) -> None:
        path = f"/v1/campaigns/{request.body.campaign}/state-requests"
        self.transport.post(path, request.canonical_bytes)

    def state_requests(self, campaign: str) -> list[Signed[StateRequest]]:
        answer = self.transport.get_json(f"/v1/campaigns/{campaign}/state-requests")
        return read_messages(StateRequest, answer, "requests")

    # --- rounds ---------------------------------------------------------------------------------------

    def rounds(self, campaign: str, after: int, wait: int = 0) -> list[RoundLine]:
        answer = self.transport.get_json(f"/v1/campaigns/{campaign}/rounds", {"after": after, "wait": wait})
        lines = answer.get("rounds")
        if not isinstance(lines, list):
            raise malformed("a campaign's rounds", "rounds")
        return [read_model(RoundLine, line, "a campaign's rounds") for line in lines]

    def round(self, round_digest: str, seen: int | None = None, wait: int = LONG_POLL_SECONDS) -> RoundDocument:
        """The round document; with `seen` it waits for a newer one, `wait` seconds at most."""
        query = None if seen is None else {"seen": seen, "wait": wait}
        return read_document(self.transport.get_json(f"/v1/rounds/{round_digest}", query), round_digest)

    def round_past(self, round_digest: str, state: RoundState) -> RoundDocument:
        """The round document once its state is another than this, or when a long poll's time is up."""
        query = {"state": state.value, "wait": LONG_POLL_SECONDS}
        return read_document(self.transport.get_json(f"/v1/rounds/{round_digest}", query), round_digest)

    def join(self, join: Signed[Join]) -> None:
        self.transport.post(f"/v1/rounds/{join.body.plan}/joins", join.canonical_bytes)

    def cohort(self, round_digest: str) -> tuple[Signed[Cohort], dict[str, Signed[Join]]]:
        answer = self.transport.get_json(f"/v1/rounds/{round_digest}/cohort")
        joins = read_messages(Join, answer, "joins")
        return read_message(Cohort, answer.get("cohort")), {join.body.partner: join for join in joins}

    def begin_upload(self, manifest: bytes, attachment: bytes, round_digest: str) -> tuple[int, ...]:
        """Sends manifest, shard digests and boxes; the indices of the shards that the service lacks."""
        path = f"/v1/rounds/{round_digest}/uploads"
        return read_missing(json_object(self.transport.post(path, frame(manifest, attachment), FRAME_TYPE), path))

    def own_upload(self, round_digest: str) -> OwnUploadStatus:
        answer = self.transport.get_json(f"/v1/rounds/{round_digest}/uploads/mine")
        receipt = answer.get("receipt")
        return OwnUploadStatus(read_missing(answer), None if receipt is None else read_message(Receipt, receipt))

    def put_shard(self, round_digest: str, index: int, shard: bytes) -> None:
        self.transport.put_shard(f"/v1/rounds/{round_digest}/uploads/mine/shards/{index}", shard)

    def receipt(self, round_digest: str) -> Signed[Receipt]:
        raw = self.transport.post(f"/v1/rounds/{round_digest}/uploads/mine/receipt", b"")
        return parse_signed(Receipt, raw)

    def manifests(self, round_digest: str) -> dict[str, Signed[Manifest]]:
        answer = self.transport.get_json(f"/v1/rounds/{round_digest}/uploads")
        return {message.body.partner: message for message in read_messages(Manifest, answer, "manifests")}

    def upload_shard(self, round_digest: str, partner: str, index: int, size: int) -> bytes:
        path = f"/v1/rounds/{round_digest}/uploads/{partner}/shards/{index}"
        return self.transport.get_shard(path, size)

    def share_boxes(self, round_digest: str, dealers: Sequence[str]) -> dict[str, bytes]:
        """What each dealer of U addressed to this partner."""
        return self._boxes(f"/v1/rounds/{round_digest}/boxes", dealers)

    def sum_digests(self, round_digest: str, count: int) -> list[bytes]:
        raw = self.transport.get(f"/v1/rounds/{round_digest}/sum/digests", None, 32 * count)
        if len(raw) != 32 * count:
            raise DigestMismatch(f"{count} shard digests of the sum", f"{len(raw)} bytes", "fetch them again")
        return [raw[start : start + 32] for start in range(0, len(raw), 32)]

    def sum_shard(self, round_digest: str, index: int, size: int) -> bytes:
        return self.transport.get_shard(f"/v1/rounds/{round_digest}/sum/shards/{index}", size)

    def open(self, opening: bytes, boxes: bytes, round_digest: str) -> None:
        self.transport.post(f"/v1/rounds/{round_digest}/openings", frame(opening, boxes), FRAME_TYPE)

    def openings(self, round_digest: str) -> dict[str, Signed[Opening]]:
        answer = self.transport.get_json(f"/v1/rounds/{round_digest}/openings")
        return {message.body.partner: message for message in read_messages(Opening, answer, "openings")}

    def result_boxes(self, round_digest: str, openers: Sequence[str]) -> dict[str, bytes]:
        """What each opener addressed to this partner."""
        return self._boxes(f"/v1/rounds/{round_digest}/openings/boxes", openers)

    def _boxes(self, path: str, names: Sequence[str]) -> dict[str, bytes]:
        raw = self.transport.get(path, {"of": ",".join(names)}, SHARE_BOX_BYTES * len(names))
        return split_boxes(raw, names)

    def refuse(self, refusal: Signed[Refusal]) -> None:
        self.transport.post(f"/v1/rounds/{refusal.body.plan}/refusals", refusal.canonical_bytes)

    def confirm(self, confirmation: bytes, round_digest: str) -> None:
        self.transport.post(f"/v1/rounds/{round_digest}/confirmations", confirmation)

    def confirmations(self, round_digest: str) -> dict[str, Signed[Confirmation]]:
        answer = self.transport.get_json(f"/v1/rounds/{round_digest}/confirmations")
        return {message.body.partner: message for message in read_messages(Confirmation, answer, "confirmations")}

    def void_votes(self, round_digest: str) -> list[Signed[VoidVote]]:
        return read_messages(VoidVote, self.transport.get_json(f"/v1/rounds/{round_digest}/voids"), "voids")

    def vote_void(self, vote: bytes, round_digest: str) -> None:
        self.transport.post(f"/v1/rounds/{round_digest}/voids", vote)

    # --- the ledger -----------------------------------------------------------------------------------

    def ledger(self, after: int, limit: int) -> list[bytes]:
        """Up to `limit` (at most 1,000) entries behind the `after`-th, one line each."""
        raw = self.transport.get("/v1/ledger", {"after": after, "limit": min(limit, _LEDGER_PAGE)})
        return raw.splitlines()

    def ledger_preamble(self) -> bytes:
        """Lines of an export of the service's chain up to its first entry."""
        return self.transport.get("/v1/ledger/preamble")

    def checkpoint(self) -> Signed[Checkpoint]:
        return parse_signed(Checkpoint, self.transport.get("/v1/ledger/checkpoint", None, MAX_MESSAGE_BYTES))
