"""The service's routes as the operator uses them (docs/http.md), typed.

An answer that is not of its route's schema is MalformedMessage. Signatures inside answers are not verified here:
trusted.py does, for whoever decides by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from aggregator.operator import answers
from aggregator.operator.signed_http import Query, SignedHttp
from privacy.errors import MalformedMessage
from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import split_frame
from privacy.protocol.messages import Abort, Campaign, Charter, Plan, Signed, VoidVote

AnswerT = TypeVar("AnswerT", bound=answers.Answer)


class OperatorClient:
    """One method a route."""

    def __init__(self, http: SignedHttp) -> None:
        self._http = http

    def about(self) -> answers.About:
        return self._get(answers.About, "/v1/about")

    def invite(self, partner: str, expires_in_seconds: int, again: bool = False) -> answers.Invitation:
        body = {"partner": partner, "expires_in_seconds": expires_in_seconds, **({"again": True} if again else {})}
        return self._post(answers.Invitation, "/v1/invitations", canonical(body), idempotent=False)

    def enrolments(self) -> tuple[answers.EnrolmentRecord, ...]:
        return self._get(answers.Enrolments, "/v1/enrolments").enrolments

    def enrolment_state(self, partner: str, wait: int = 0) -> answers.EnrolmentState:
        return self._get(answers.EnrolmentState, f"/v1/enrolments/{partner}", {"wait": wait})

    def approve(self, partner: str) -> answers.EnrolmentState:
        return self._post(answers.EnrolmentState, f"/v1/enrolments/{partner}/approval", b"")

    def post_charter(self, charter: Signed[Charter]) -> answers.CharterPosted:
        return self._post(answers.CharterPosted, "/v1/charters", charter.canonical_bytes)

    def latest_charter(self, wait: int = 0) -> answers.CharterRecord:
        """Raises NotFound before the first charter."""
        return self._get(answers.CharterRecord, "/v1/charters/latest", {"wait": wait})

    def campaigns(self) -> tuple[answers.CampaignSummary, ...]:
        return self._get(answers.Campaigns, "/v1/campaigns").campaigns

    def campaign(self, campaign: str) -> answers.CampaignRecord:
        return self._get(answers.CampaignRecord, f"/v1/campaigns/{campaign}")

    def countersign(self, campaign: Signed[Campaign]) -> None:
        path = f"/v1/campaigns/{campaign.digest}/countersignature"
        self._http.request("POST", path, body=campaign.canonical_bytes)

    def post_plan(self, plan: Signed[Plan]) -> answers.RoundPosted:
        return self._post(answers.RoundPosted, "/v1/rounds", plan.canonical_bytes)

    def rounds(self, campaign: str) -> tuple[answers.RoundSummary, ...]:
        """All attempts of the campaign, in the order posted."""
        return tuple(self._get(answers.Rounds, f"/v1/campaigns/{campaign}/rounds", {"after": 0, "wait": 0}).rounds)

    def round(self, round_digest: str) -> answers.RoundDocument:
        return self._get(answers.RoundDocument, f"/v1/rounds/{round_digest}")

    def round_past(self, document: answers.RoundDocument, wait: int) -> answers.RoundDocument:
        """Once its state is another, or when `wait` seconds are over."""
        query = {"seen": document.version, "state": document.state.value, "wait": wait}
        return self._get(answers.RoundDocument, f"/v1/rounds/{document.round}", query)

    def cohort(self, round_digest: str) -> answers.CohortRecord:
        return self._get(answers.CohortRecord, f"/v1/rounds/{round_digest}/cohort")

    def confirmations(self, round_digest: str) -> answers.Confirmations:
        return self._get(answers.Confirmations, f"/v1/rounds/{round_digest}/confirmations")

    def void_votes(self, round_digest: str) -> tuple[Signed[VoidVote], ...]:
        return self._get(answers.VoidVotes, f"/v1/rounds/{round_digest}/voids").voids

    def abort(self, abort: Signed[Abort]) -> answers.RoundDocument:
        path = f"/v1/rounds/{abort.body.plan}/abort"
        return self._post(answers.RoundDocument, path, abort.canonical_bytes)

    def budgets(self) -> tuple[answers.Participant, ...]:
        return self._get(answers.Budgets, "/v1/budget").participants

    def ledger_preamble(self) -> bytes:
        """Lines of an export up to its first entry."""
        return self._http.request("GET", "/v1/ledger/preamble")

    def ledger(self, after: int, limit: int) -> list[bytes]:
        """Up to `limit` entries behind the `after`-th, one line each."""
        return self._http.request("GET", "/v1/ledger", query={"after": after, "limit": limit}).splitlines()

    def report(self, form: str, language: str, participant: str, first: str, last: str) -> tuple[bytes, bytes]:
        """(signature file, report); nothing is verified here."""
        query = {"format": form, "language": language, "participant": participant, "from": first, "to": last}
        return split_frame(self._http.request("GET", "/v1/report", query={k: v for k, v in query.items() if v}))

    def officer_link(self, officer: str, scope: str) -> answers.OfficerLink:
        body = canonical({"officer": officer, "scope": scope})
        return self._post(answers.OfficerLink, "/v1/officer-links", body, idempotent=False)

    def create_account(self, wanted: Mapping[str, str | None]) -> answers.AccountOpened:
        return self._post(answers.AccountOpened, "/v1/accounts", canonical(dict(wanted)), idempotent=False)

    def accounts(self) -> tuple[answers.Account, ...]:
        return self._get(answers.Accounts, "/v1/accounts").accounts

    def reset_account(self, name: str) -> answers.AccountOpened:
        path = f"/v1/accounts/{quote(name, safe='')}/reset"
        return self._post(answers.AccountOpened, path, b"", idempotent=False)

    def disable_account(self, name: str) -> answers.Account:
        return self._post(answers.Account, f"/v1/accounts/{quote(name, safe='')}/disabling", b"")

    def lease(self, campaign: str, holder: str, seconds: int) -> answers.Lease:
        """Take or renew. Raises Conflict while another holds it."""
        body = canonical({"campaign": campaign, "holder": holder, "seconds": seconds})
        return self._post(answers.Lease, "/v1/conductor-lease", body)

    def _get(self, model: type[AnswerT], path: str, query: Query | None = None) -> AnswerT:
        return answer_of(model, path, self._http.request("GET", path, query=query))

    def _post(self, model: type[AnswerT], path: str, body: bytes, *, idempotent: bool = True) -> AnswerT:
        return answer_of(model, path, self._http.request("POST", path, body=body, idempotent=idempotent))


def answer_of(model: type[AnswerT], path: str, raw: bytes) -> AnswerT:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(
            f"an answer of {path} as docs/http.md has it",
            f"{where}: {first['msg']}",
            "check that service and command line are of the same version",
        ) from None
