"""Generated requests made authentic: by an identity of the consortium, about things that the service holds.

Rules:
1. A request is signed as docs/http.md says, over what is really sent; so it is refused for what it says, not for
   who sends it.
2. Names and digests in a path are the standing round's, but where the case is `raw`.
3. A message is one of: as generated; a real one of its kind with one member as generated; a real one. But where the
   case is raw it is signed by whoever must sign it, so that what stands behind that check is reached.
4. Long polls are short: a generated `wait` would cost its seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import assume
from hypothesis import strategies as st
from schemathesis import Case

from privacy.errors import MalformedMessage
from privacy.he.boxes import SHARE_BOX_BYTES, BoxKey
from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import MESSAGE_TYPE, frame
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort, CharterAcceptance, Enrolment, Refusal, StateBox, StateRequest
from privacy.protocol.signing import SigningKey
from tests.aggregator.driver import RoundDriver
from tests.consortium import done
from tests.fuzzing.document import framed_routes

_SIGNED = b"chorale/1 signed\x00"
_FRAMED = framed_routes()


@dataclass(frozen=True)
class Manner:
    """How a case is sent. real: of the message's members, the share that is taken from a real one: none, all but
    one, or all. pick: which one, and which bytes stand behind a framed message."""

    identity: str
    raw: bool
    real: int
    pick: int


def manners(driver: RoundDriver) -> st.SearchStrategy[Manner]:
    return st.builds(
        Manner,
        st.sampled_from([OPERATOR] * len(driver.names) + driver.names),
        st.sampled_from([False, False, True]),
        st.integers(0, 2),
        st.integers(0, 1 << 16),
    )


class Standing:
    """A service with a round under way, whoever may ask it, and what is real there."""

    def __init__(self, driver: RoundDriver) -> None:
        self.driver = driver
        name = driver.names[0]
        self.in_force = {
            "round_digest": driver.plan.digest,
            "campaign": driver.campaign.digest,
            "charter": driver.charter.digest,
            "state": driver.campaign.genesis,
            "partner": name,
            "sender": name,
            "participant": name,
            "of": ",".join(driver.names),
            "index": 0,
        }
        invited = driver.client(OPERATOR).post(
            "/v1/invitations", {"partner": "newcomer", "expires_in_seconds": 86_400}
        )
        self._token: str = done(invited, 201)["token"]
        opening, self.boxes = driver.opening(name)
        manifest = driver.frames[name][0]
        box = StateBox(
            charter=driver.charter.digest,
            campaign=driver.campaign.digest,
            state=driver.campaign.genesis,
            sender=name,
            receiver=driver.names[1],
            box="ab" * 32,
        )
        request = StateRequest(
            charter=driver.charter.digest,
            campaign=driver.campaign.digest,
            state=driver.campaign.genesis,
            partner=name,
        )
        refusal = Refusal(
            charter=driver.charter.digest, plan=driver.plan.digest, partner=name, check=1, reason="no reason"
        )
        bodies = [
            driver.charter,
            driver.campaign,
            driver.plan,
            driver.consortium.join(driver.plan, name, BoxKey.generate()).body,
            CharterAcceptance(charter=driver.charter.digest, partner=name),
            Abort(charter=driver.charter.digest, plan=driver.plan.digest, reason="no reason"),
            manifest.body,
            opening.body,
            driver.confirmation(name).body,
            box,
            request,
            refusal,
            driver.consortium.enrolment(name, self._token).body,
        ]
        self.real: dict[str, dict[str, Any]] = {body.type: body.model_dump(mode="json") for body in bodies}

    def known(self) -> set[str]:
        """Every hexadecimal value that stands in a real message."""
        found: set[str] = set()
        _strings(list(self.real.values()), found)
        return found

    def key(self, identity: str) -> SigningKey:
        consortium = self.driver.consortium
        return consortium.operator if identity == OPERATOR else consortium.keys(identity).signing

    def send(self, case: Case, manner: Manner) -> httpx.Response:
        case.path_parameters = self._placed(case.path_parameters, manner)
        case.query = self._placed(case.query, manner)
        raw = self._body(case, manner) if case.operation.body and type(case.body).__name__ != "NotSet" else b""
        try:
            url = httpx.URL("http://testserver" + case.formatted_path, params=case.query or None)
        except httpx.InvalidURL:  # longer than the client can write
            assume(False)
        client = self.driver.client(manner.identity)
        headers = client.headers(case.method, url.raw_path.decode("ascii"), raw)
        if raw:
            headers["content-type"] = case.media_type or MESSAGE_TYPE
        return client.http.request(case.method, url, content=raw, headers=headers)

    def _placed(self, values: dict[str, Any] | None, manner: Manner) -> dict[str, Any]:
        shown = dict(values or {})
        for name in shown:
            if name == "wait" and isinstance(shown[name], (int, float)):
                shown[name] = min(shown[name], 0)
            elif not manner.raw and name in self.in_force:
                shown[name] = self.in_force[name]
        return shown

    def _body(self, case: Case, manner: Manner) -> bytes:
        if isinstance(case.body, bytes):
            return case.body
        value = case.body
        if not manner.raw and isinstance(value, dict) and "token" in value:
            signed = {"body": {"type": Enrolment.model_fields["type"].default, **value}, "signatures": {}}
            value = {"token": self._token, "enrolment": self._signed(signed, manner)}
        elif not manner.raw and isinstance(value, dict) and isinstance(value.get("body"), dict):
            value = self._signed(value, manner)
        try:
            message = canonical(value)
        except MalformedMessage:
            message = json.dumps(value, default=str).encode()
        if (case.method, case.operation.path) not in _FRAMED:
            return message
        behind = (b"", self.boxes, bytes(manner.pick), bytes(3 * SHARE_BOX_BYTES))[manner.pick % 4]
        return message + behind if manner.raw and manner.pick % 2 else frame(message, behind)

    def _signed(self, value: dict[str, Any], manner: Manner) -> dict[str, Any]:
        body = dict(value["body"])
        real = self.real.get(str(body.get("type")))
        if real is not None and manner.real:
            names = sorted(body)
            kept = {names[manner.pick % len(names)]} if manner.real == 1 and names else set()
            body = {**real, **{name: body[name] for name in kept}}
        signers = {manner.identity, OPERATOR} if "denominator" in body else {manner.identity}
        if manner.real != 1 and manner.identity != OPERATOR:
            body.update({name: manner.identity for name in ("partner", "sender") if name in body})
        try:
            said = _SIGNED + canonical(body)
        except MalformedMessage:
            return {**value, "body": body}
        pairs = {one: self.key(one).sign_bytes(said).model_dump() for one in sorted(signers)}
        return {**value, "body": body, "signatures": pairs}


def _strings(node: Any, found: set[str]) -> None:
    if isinstance(node, str):
        found.add(node)
    elif isinstance(node, dict):
        for value in node.values():
            _strings(value, found)
    elif isinstance(node, list):
        for value in node:
            _strings(value, found)
