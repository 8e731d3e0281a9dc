"""Drives one attempt over HTTP with synthetic uploads: words below q and boxes of the right width, no encryption.

The service cannot tell the difference: that is what it is made for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from privacy.he.addition import MODULUS
from privacy.he.boxes import SHARE_BOX_BYTES, BoxKey
from privacy.he.lanes import LaneLayout
from privacy.protocol import merkle
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import (
    Abort,
    AddressedDigest,
    Campaign,
    ChainHead,
    Charter,
    Confirmation,
    Manifest,
    Opening,
    Plan,
    ProbeFigures,
    Seal,
    ShardRoot,
    Signed,
    UploadFingerprint,
    VoidVote,
)
from tests.consortium import TestConsortium, done
from tests.signed_client import SignedClient

SHARD_BYTES = 32768
STATE = hashlib.sha256(b"state after round 1").hexdigest()


class RoundDriver:
    def __init__(
        self, consortium: TestConsortium, http: httpx.Client, charter: Charter, campaign: Campaign, **plan: Any
    ) -> None:
        self.consortium = consortium
        self.http = http
        self.charter = charter
        self.campaign = campaign
        self.names = consortium.names
        self.plan: Plan = consortium.plan(charter, campaign, **plan)
        done(self.client(OPERATOR).post("/v1/rounds", consortium.by_operator(self.plan)), 201)
        self.base = f"/v1/rounds/{self.plan.digest}"
        self.vectors: dict[str, NDArray[np.uint64]] = {}
        self.frames: dict[str, tuple[Signed[Manifest], bytes]] = {}

    def client(self, identity: str) -> SignedClient:
        return self.consortium.client(self.http, identity)

    def document(self) -> dict[str, Any]:
        shown: dict[str, Any] = done(self.client(OPERATOR).get(self.base))
        return shown

    def wait_for(self, state: str) -> dict[str, Any]:
        """Long polls until the attempt is in this state."""
        shown = self.document()
        for _ in range(20):
            if shown["state"] == state:
                return shown
            shown = done(self.client(OPERATOR).get(f"{self.base}?seen={shown['version']}&wait=5"))
        raise AssertionError(f"still {shown['state']}, not {state}")

    # --- joining --------------------------------------------------------------------------------------

    def join(self, name: str) -> httpx.Response:
        return self.client(name).post(
            f"{self.base}/joins", self.consortium.join(self.plan, name, BoxKey.generate())
        )

    def join_all(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        for name in names or self.names:
            done(self.join(name), 201)
        if names is not None:
            self.consortium.clock.seconds = self.plan.deadlines.join + 1
        return self.wait_for("uploading")

    # --- uploading ------------------------------------------------------------------------------------

    @property
    def words(self) -> int:
        lanes = LaneLayout(self.plan.layout.lane_width, self.charter.n_max)
        return lanes.polynomials(self.plan.layout.length) * 4096

    def vector(self, name: str) -> NDArray[np.uint64]:
        """uint64[words] below q, the same at each call for this name and attempt."""
        if name not in self.vectors:
            raw = self.consortium.source.bytes(8 * self.words)
            self.vectors[name] = np.frombuffer(raw, dtype="<u8") % np.uint64(MODULUS)
        return self.vectors[name]

    def shards(self, name: str) -> list[bytes]:
        data = self.vector(name).astype("<u8").tobytes()
        return [data[offset : offset + SHARD_BYTES] for offset in range(0, len(data), SHARD_BYTES)]

    def boxes(self, receivers: Sequence[str]) -> tuple[tuple[AddressedDigest, ...], bytes]:
        boxes = [self.consortium.source.bytes(SHARE_BOX_BYTES) for _ in receivers]
        named = tuple(
            AddressedDigest(receiver=receiver, digest=hashlib.sha256(box).hexdigest())
            for receiver, box in zip(receivers, boxes, strict=True)
        )
        return named, b"".join(boxes)

    def manifest(self, name: str, **changes: Any) -> tuple[Signed[Manifest], bytes]:
        """(signed manifest, attachment), new at each call."""
        shown = self.document()
        cohort = done(self.client(name).get(f"{self.base}/cohort"))["cohort"]["body"]
        shards = self.shards(name)
        digests = [merkle.shard_digest(shard) for shard in shards]
        named, boxes = self.boxes([member["partner"] for member in cohort["members"]])
        values: dict[str, Any] = {
            "charter": self.charter.digest,
            "plan": self.plan.digest,
            "cohort": shown["cohort"],
            "partner": name,
            "coefficients": self.words,
            "shards": ShardRoot(root=merkle.root(digests), count=len(shards), shard_bytes=SHARD_BYTES),
            "boxes": named,
        }
        return self.consortium.by(name, Manifest(**{**values, **changes})), b"".join(digests) + boxes

    def announce(self, name: str) -> list[int]:
        signed, attachment = self.frames.setdefault(name, self.manifest(name))
        answer = done(self.client(name).post_frame(f"{self.base}/uploads", signed, attachment), 201)
        missing: list[int] = answer["missing"]
        return missing

    def put(self, name: str, index: int, shard: bytes | None = None) -> httpx.Response:
        body = self.shards(name)[index] if shard is None else shard
        return self.client(name).put(f"{self.base}/uploads/mine/shards/{index}", body)

    def receipt(self, name: str) -> httpx.Response:
        return self.client(name).post(f"{self.base}/uploads/mine/receipt")

    def upload(self, name: str) -> None:
        for index in self.announce(name):
            done(self.put(name, index), 201)
        done(self.receipt(name))

    # --- opening and after ----------------------------------------------------------------------------

    def opening(self, name: str, **changes: Any) -> tuple[Signed[Opening], bytes]:
        shown = self.document()
        named, boxes = self.boxes(self.charter.partners)
        values: dict[str, Any] = {
            "charter": self.charter.digest,
            "plan": self.plan.digest,
            "cohort": shown["cohort"],
            "seal": self.seal_digest(shown),
            "partner": name,
            "boxes": named,
            "fingerprint": ("1", "2") if name in shown["receipts"] else None,
        }
        return self.consortium.by(name, Opening(**{**values, **changes})), boxes

    def seal_digest(self, shown: dict[str, Any]) -> str:
        return Seal.model_validate(shown["seal"]["body"], strict=False).digest

    def open(self, name: str) -> httpx.Response:
        signed, boxes = self.opening(name)
        return self.client(name).post_frame(f"{self.base}/openings", signed, boxes)

    def confirmation(self, name: str, state: str = STATE, **changes: Any) -> Signed[Confirmation]:
        shown = self.document()
        checkpoint = done(self.client(name).get("/v1/ledger/checkpoint"))["body"]["chain"]
        contributors = [one["partner"] for one in shown["seal"]["body"]["contributors"]]
        values: dict[str, Any] = {
            "charter": self.charter.digest,
            "plan": self.plan.digest,
            "seal": self.seal_digest(shown),
            "partner": name,
            "state": state,
            "fingerprints": tuple(UploadFingerprint(partner=one, fingerprint=("1", "2")) for one in contributors),
            "checkpoint": ChainHead(**checkpoint),
            "probes": ProbeFigures(ratio=1.0, total_ratio=1.0, total_probes=self.plan.layout.probes),
        }
        return self.consortium.by(name, Confirmation(**{**values, **changes}))

    def confirm(self, name: str, state: str = STATE) -> httpx.Response:
        return self.client(name).post(f"{self.base}/confirmations", self.confirmation(name, state))

    def void(self, name: str) -> httpx.Response:
        shown = self.document()
        openings = done(self.client(name).get(f"{self.base}/openings"))["openings"]
        digests = tuple(sorted(Opening.model_validate(one["body"], strict=False).digest for one in openings))
        body = VoidVote(
            charter=self.charter.digest,
            plan=self.plan.digest,
            seal=self.seal_digest(shown),
            partner=name,
            openings=digests,
            reason="no decoding works",
        )
        return self.client(name).post(f"{self.base}/voids", self.consortium.by(name, body))

    def abort(self, reason: str) -> httpx.Response:
        body = Abort(charter=self.charter.digest, plan=self.plan.digest, reason=reason)
        return self.client(OPERATOR).post(f"{self.base}/abort", self.consortium.by_operator(body))

    def to_opening(self) -> dict[str, Any]:
        self.join_all()
        for name in self.names:
            self.upload(name)
        return self.wait_for("opening")

    def to_confirmed(self, state: str = STATE) -> dict[str, Any]:
        self.to_opening()
        for name in self.names:
            done(self.open(name), 201)
        for name in self.names:
            done(self.confirm(name, state), 201)
        return self.wait_for("confirmed")
