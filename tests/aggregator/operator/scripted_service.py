"""A service on paper, for the operator's tests: an httpx.MockTransport that answers as docs/http.md says.

Each attempt's fate is given by `fates`: how each posted plan ends.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import parse_qs

import httpx

from privacy.errors import ChoraleError, Conflict, NotFound
from privacy.protocol.http_contract import PROBLEM_TYPE, RequestClaims, request_text
from privacy.protocol.identifiers import OPERATOR, SERVER, ZERO_DIGEST
from privacy.protocol.messages import (
    Abort,
    Campaign,
    ChainHead,
    Charter,
    CharterAcceptance,
    Close,
    Cohort,
    CohortMember,
    Confirmation,
    Contributor,
    Join,
    Plan,
    Seal,
    ShardRoot,
    Signed,
    VoidVote,
    parse_signed,
)
from privacy.protocol.problems import problem_of
from privacy.protocol.signing import SigningKey, sign, verify_request
from tests.aggregator.operator.paper_consortium import PARTNERS, ROW, Clock, Consortium, digest_of, dump, enrolment


@dataclass
class ScriptedService:
    """fates: for each plan in the order posted, "confirmed", "void" or "closed"; the last one repeats.
    "late": while this one joins, the one before it is confirmed. "stuck": it joins for ever.

    lose: how many of the next posts of a plan are taken and their answers lost. forged: confirmations by strangers.
    """

    consortium: Consortium
    clock: Clock
    fates: list = field(default_factory=lambda: ["confirmed"])
    lose: int = 0
    signers: tuple = PARTNERS
    forged: bool = False
    campaign: Signed = None
    plans: list = field(default_factory=list)
    states: dict = field(default_factory=dict)
    charges: int = 0
    leases: list = field(default_factory=list)
    approved: tuple = PARTNERS
    charters: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    voters: tuple = PARTNERS
    closer: SigningKey | None = None
    aborts: list = field(default_factory=list)

    def __post_init__(self):
        self.campaign = self.campaign or self.consortium.campaign

    def transport(self):
        return httpx.MockTransport(self.answer)

    def answer(self, request):
        claims = RequestClaims.read(request.headers)
        target = request.url.raw_path.decode()
        assert claims.body_digest == sha256(request.content).hexdigest()
        text = request_text(request.method, target, OPERATOR, claims.time, claims.nonce, claims.body_digest)
        verify_request(text, claims.signature, self.consortium.operator.public)
        self.requests.append((request.method, request.url.path, claims.nonce))
        try:
            status, value = self._route(request)
        except ChoraleError as error:
            problem = problem_of(error)
            return httpx.Response(error.status, json=problem, headers={"content-type": PROBLEM_TYPE})
        return httpx.Response(status, json=value)

    def _route(self, request):
        path = request.url.path.split("/")[2:]
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        match [request.method, *path]:
            case ["GET", "about"]:
                return 200, self._about()
            case ["GET", "charters", "latest"]:
                return 200, self._charter()
            case ["POST", "charters"]:
                self.charters.append(parse_signed(Charter, request.content))
                return 201, {"charter": self.charters[-1].digest, "words": "left to the client"}
            case ["GET", "enrolments"]:
                return 200, {"enrolments": [self._enrolment(name) for name in PARTNERS]}
            case ["POST", "enrolments", partner, "approval"]:
                self.approved = (*self.approved, partner)
                return 200, {"partner": partner, "state": "approved"}
            case ["GET", "campaigns"]:
                listed = {"campaign": self.campaign.digest, "name": "leaves", "in_force": self._in_force()}
                listed["charter"] = self.campaign.body.charter
                return 200, {"campaigns": [listed]}
            case ["GET", "campaigns", _]:
                return 200, {"campaign": dump(self.campaign), "in_force": self._in_force()}
            case ["POST", "campaigns", _, "countersignature"]:
                self.campaign = parse_signed(Campaign, request.content)
                return 201, {}
            case ["GET", "campaigns", _, "rounds"]:
                return 200, {"rounds": [self._summary(plan) for plan in self.plans[int(query["after"]) :]]}
            case ["POST", "rounds"]:
                return self._take_plan(parse_signed(Plan, request.content))
            case ["GET", "rounds", digest]:
                return 200, self._document(digest, query)
            case ["GET", "rounds", digest, "cohort"]:
                cohort, joins = self._cohort(digest)
                return 200, {"cohort": dump(cohort), "joins": [dump(join) for join in joins]}
            case ["GET", "rounds", digest, "confirmations"]:
                return 200, {"confirmations": [dump(c) for c in self._confirmations(digest)]}
            case ["GET", "rounds", digest, "voids"]:
                return 200, {"voids": [dump(vote) for vote in self._votes(digest)]}
            case ["POST", "rounds", digest, "abort"]:
                self.aborts.append(parse_signed(Abort, request.content).body)
                self.states[digest] = "closed"
                return 200, self._document(digest, {})
            case ["GET", "budget"]:
                left = max(0, ROW.count - self.charges)
                row = {"name": ROW.name, "charged": self.charges, "reserved": 0, "count": ROW.count, "left": left}
                return 200, {"participants": [{"partner": name, "rows": [row]} for name in PARTNERS]}
            case ["POST", "conductor-lease"]:
                return 200, self._lease(json.loads(request.content))
        raise NotFound("a route", request.url.path, "read docs/http.md")

    def _about(self):
        keys = {
            "server_keys": dump(self.consortium.server.public),
            "operator_keys": dump(self.consortium.operator.public),
        }
        names = {"name": "chorale", "version": "0.1.0", "parameter_sets": ["bfv-4096-60"]}
        return {**names, **keys, "time": self.clock.now(), "limits": {"shard_bytes": 1, "message_bytes": 1}}

    def _charter(self):
        charter = self.consortium.charter
        acceptances = {
            name: dump(sign(CharterAcceptance(charter=charter.digest, partner=name), name, key))
            for name, key in self.consortium.partners.items()
        }
        signed = sign(charter, OPERATOR, self.consortium.operator)
        return {"charter": dump(signed), "acceptances": acceptances, "in_force": True}

    def _enrolment(self, name):
        state = "approved" if name in self.approved else "pending"
        return {"state": state, "enrolment": dump(enrolment(self.consortium, name)), "fingerprint_words": ""}

    def _in_force(self):
        return OPERATOR in self.campaign.signatures

    def _lease(self, body):
        if self.leases and self.leases[-1][0] != body["holder"] and self.leases[-1][1] > self.clock.now():
            raise Conflict(
                "a campaign that no other conductor leads", "one that is led", "wait until its lease ends"
            )
        self.leases.append((body["holder"], self.clock.now() + body["seconds"]))
        return {"held": True, "until": self.leases[-1][1]}

    def _take_plan(self, signed):
        if signed.digest not in self.states:
            body = signed.body
            assert all(p.body.round != body.round or p.body.attempt < body.attempt for p in self.plans)
            assert all(self.states[p.digest] in ("confirmed", "void", "closed") for p in self.plans)
            self.plans.append(signed)
            self.states[signed.digest] = "joining"
        if self.lose:
            self.lose -= 1
            raise httpx.ReadError("the answer was lost")
        return 201, {"round": signed.digest}

    def _plan(self, digest):
        return next(plan for plan in self.plans if plan.digest == digest)

    def _summary(self, plan):
        body = plan.body
        state = self.states[plan.digest]
        return {"round": plan.digest, "number": body.round, "attempt": body.attempt, "state": state}

    def _document(self, digest, query):
        plan = self._plan(digest)
        index = self.plans.index(plan)
        if int(query.get("wait", 0)) and self.states[digest] == "joining":
            self.clock.sleep(5)
            fate = self.fates[min(index, len(self.fates) - 1)]
            if fate == "stuck":
                pass
            elif fate == "late":
                self.states[self.plans[index - 1].digest] = "confirmed"
            else:
                self.states[digest] = fate
                self.charges += fate != "closed"
        state = self.states[digest]
        body = Close(charter=plan.body.charter, plan=digest, cause="too-few-joined", reason="two joined")
        close = sign(body, SERVER, self.closer or self.consortium.server)
        confirmed = {name: self.state(plan.body.round) for name in self.signers} if state == "confirmed" else {}
        return {
            **self._summary(plan),
            "version": 1 if state == "joining" else 2,
            "plan": dump(plan),
            "joined": list(PARTNERS),
            "cohort": None,
            "manifests": [],
            "uploaded": [],
            "seal": dump(self._seal(digest)) if state == "void" else None,
            "openings": [],
            "confirmations": confirmed,
            "refusals": [],
            "voids": [],
            "close": dump(close) if state == "closed" else None,
            "receipts": [],
            "seconds": {"joining": 1.5},
        }

    def state(self, number):
        return digest_of(f"state {number}")

    def _cohort(self, digest):
        charter = self._plan(digest).body.charter
        head = ChainHead(count=0, head=ZERO_DIGEST)
        joins = [
            sign(
                Join(
                    charter=charter,
                    plan=digest,
                    partner=name,
                    round_key=self.consortium.result_keys[name],
                    ledger=head,
                ),
                name,
                key,
            )
            for name, key in self.consortium.partners.items()
        ]
        members = tuple(CohortMember(partner=join.body.partner, join=join.digest) for join in joins)
        cohort = Cohort(charter=charter, plan=digest, members=members)
        return sign(cohort, SERVER, self.consortium.server), joins

    def _seal(self, digest):
        cohort, _ = self._cohort(digest)
        seal = Seal(
            charter=cohort.body.charter,
            plan=digest,
            cohort=cohort.digest,
            contributors=tuple(Contributor(partner=name, manifest=digest_of(name)) for name in PARTNERS),
            sum=ShardRoot(root=digest_of("sum"), count=1, shard_bytes=1 << 20),
        )
        return sign(seal, SERVER, self.consortium.server)

    def _votes(self, digest):
        plan, seal = self._plan(digest).body, self._seal(digest).digest
        for name in self.voters:
            body = VoidVote(
                charter=plan.charter, plan=digest, seal=seal, partner=name, openings=(), reason="nothing decodes"
            )
            yield sign(body, name, self.consortium.partners[name])

    def _confirmations(self, digest):
        plan = self._plan(digest).body
        for name in self.signers:
            body = Confirmation(
                charter=plan.charter,
                plan=digest,
                seal=digest_of("seal"),
                partner=name,
                state=self.state(plan.round),
                fingerprints=(),
                checkpoint=ChainHead(count=1, head=ZERO_DIGEST),
                probes=None,
            )
            yield sign(body, name, self.consortium.server if self.forged else self.consortium.partners[name])
