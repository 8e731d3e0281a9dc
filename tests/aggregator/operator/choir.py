"""A service made by `init`, the operator's commands that speak to it, and partners who take part."""

import json

import httpx
from typer.testing import CliRunner

from aggregator import cli
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Charter, Plan, parse_signed
from tests.aggregator.driver import RoundDriver
from tests.consortium import done

DRAFT = """
consortium = "Test choir"
n_min = 3
colluders = 1
lead = "partner-01"
privacy_unit = "one compound with all its measurements"

[[table]]
name = "training"
kind = "distributed"
noise_multiplier = 2.0
sampling_rate = 0.05
count = 3
"""


class Partners(RoundDriver):
    """Takes part in a round that somebody else planned."""

    def __init__(self, consortium, http, charter, campaign, plan):
        self.consortium, self.http, self.charter, self.campaign = consortium, http, charter, campaign
        self.names, self.plan, self.base = consortium.names, plan, f"/v1/rounds/{plan.digest}"
        self.vectors, self.frames = {}, {}

    def sing(self):
        self.join_all()
        for name in self.names:
            self.upload(name)
        self.wait_for("opening")
        for name in self.names:
            done(self.open(name), 201)
        for name in self.names:
            done(self.confirm(name), 201)
        self.wait_for("confirmed")


class Choir:
    """A service made by `init`, served in this process, and the commands that speak to it."""

    def __init__(self, folder, http, consortium):
        self.folder, self.http, self.consortium = folder, http, consortium
        self.charter = self.campaign = None
        self.silent = False

    def answer(self, request):
        """Forward; where the conductor waits for a round, let the partners take part in it first."""
        target = request.url.raw_path.decode()
        if target.startswith("/v1/rounds/") and "wait=" in target:
            self._sing(request.url.path.split("/")[3])
        answer = self.http.request(request.method, target, content=request.content, headers=request.headers)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def _sing(self, round_digest):
        shown = done(self.consortium.client(self.http, "operator").get(f"/v1/rounds/{round_digest}"))
        if shown["state"] != "joining":
            return
        if self.silent:
            self.consortium.clock.seconds += 61
            return
        plan = parse_signed(Plan, canonical(shown["plan"])).body
        Partners(self.consortium, self.http, self.charter, self.campaign, plan).sing()

    def run(self, *words):
        return CliRunner().invoke(cli.app, [*words, "--operator", str(self.folder / "operator")])

    def json(self, *words):
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output + str(result.exception)
        return json.loads(result.stdout)

    def enrol(self, name):
        token = self.json("invite", name)["token"]
        message = self.consortium.enrolment(name, token)
        body = canonical({"token": token, "enrolment": message.model_dump(mode="json")})
        done(self.http.post("/v1/enrolments", content=body), 201)

    def constitute(self, draft=DRAFT):
        for name in self.consortium.names:
            self.enrol(name)
            self.json("approve", name, "--yes")
        (self.folder / "draft.toml").write_text(draft)
        drafted = self.json("charter", "draft", str(self.folder / "draft.toml"), "--yes")
        lead = self.consortium.client(self.http, self.consortium.names[0])
        self.charter = parse_signed(Charter, canonical(done(lead.get("/v1/charters/latest"))["charter"])).body
        assert drafted["charter"] == self.charter.digest
        for name in self.consortium.names:
            target = f"/v1/charters/{self.charter.digest}/acceptances"
            partner = self.consortium.client(self.http, name)
            done(partner.post(target, self.consortium.acceptance(self.charter, name)), 201)
        self.campaign = self.consortium.campaign(self.charter)
        done(lead.post("/v1/campaigns", self.consortium.by(self.charter.lead, self.campaign)), 201)
