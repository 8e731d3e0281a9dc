"""Seeing one attempt through: seal, opening, decoding, the new state, confirmation, its end (protocol 4.3-4.5).

Rules:
1. It goes on from whatever the journal holds, for a member of the cohort and for a partner that was away alike.
2. The new state is durable before it is confirmed; the confirmation is in the journal before it is sent.
3. A state counts if t members of J confirmed it, each signature verified here. One that differs from this partner's
   is fetched anew, and said aloud.
4. Nothing of a void or closed attempt is applied; the state is the one its plan started from. Void is what t
   members of J signed, closed what the server signed: the round document's word for it ends nothing.
5. Who accepted a later cohort opens no earlier attempt.
"""

from __future__ import annotations

from types import MappingProxyType

from client_sdk import states
from client_sdk.answers import RoundDocument
from client_sdk.attempt import Ending, Outcome, RoundReport
from client_sdk.confirming import accepted_cohort, confirm, confirmed_state, send_confirmation
from client_sdk.decode import Opened, SealedSum, Unsealed
from client_sdk.journal import AttemptRecord
from client_sdk.meter import Meter
from client_sdk.model_state import ModelState, apply_sum
from client_sdk.opening import Manifests, release, request_for
from client_sdk.partner import Partner
from client_sdk.probe_watch import ProbeWatch
from client_sdk.unsealing import statistics_digest, unseal
from privacy.dp.mechanism import MechanismPlan
from privacy.errors import CheckRefused, ChoraleError, DigestMismatch, NotFound
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.ending_checks import check_close, check_void
from privacy.protocol.messages import Campaign, Cohort, Plan, Seal, Signed
from privacy.protocol.opening_checks import OpeningRequest, check_sealed_set
from privacy.protocol.plan_checks import mechanism
from privacy.protocol.round_state import RoundState


def mechanism_of(partner: Partner, plan: Plan, campaign: Campaign) -> MechanismPlan | None:
    """The noise mechanism of a *distributed* or *statistics* plan; None for the others."""
    if plan.event.kind in ("distributed", "statistics"):
        return mechanism(plan, partner.charter, campaign)
    return None


class Finisher:
    """Sees one attempt through. `base`: the state that its plan starts from."""

    def __init__(
        self, partner: Partner, campaign: Campaign, plan: Signed[Plan], base: ModelState, meter: Meter
    ) -> None:
        if base.digest != plan.body.base_state:
            raise DigestMismatch(
                f"the state that the plan starts from, {plan.body.base_state[:16]}",
                f"{base.digest[:16]}",
                "go on from attempt.state",
            )
        self._partner = partner
        self._campaign = campaign
        self._signed_plan = plan
        self._plan = plan.body
        self._round = plan.digest
        self._base = base
        self._meter = meter
        self._contributors: tuple[str, ...] = ()
        self._accused: dict[str, str] = {}
        self._probes = ProbeWatch(partner, plan.body, meter)

    def run(self) -> Outcome:
        """Wait for whatever has to be waited for; the outcome, journaled."""
        partner, plan = self._partner, self._plan
        partner.journal.met(
            self._round, plan.campaign, plan.round, plan.deadlines.open, self._signed_plan.canonical_bytes
        )
        record = self._record()
        with self._meter.phase("seal", f"round {plan.round}"):
            document = self._wait_for_seal()
        if document.seal is None:
            return self._closed(document)
        unsealed: Unsealed | None = None
        if record.confirmation is not None:
            send_confirmation(partner, record.confirmation, self._round)
        elif not self._lost(document, document.seal, manifests := partner.service.manifests(self._round)):
            self._open(document.seal, manifests)
            with self._meter.phase("decode"):
                unsealed, document = self._decode(document, document.seal, manifests)
            if unsealed is not None:
                self._take(unsealed)
        with self._meter.phase("confirm"):
            return self._conclude(document, unsealed)

    # --- before the sum -------------------------------------------------------------------------------

    def _record(self) -> AttemptRecord:
        record = self._partner.journal.record(self._round)
        assert record is not None  # met() wrote it
        return record

    def _wait_for_seal(self) -> RoundDocument:
        return self._partner.wait_until(self._round, RoundState.UPLOADING, lambda shown: shown.seal is not None)

    def _lost(self, document: RoundDocument, seal: Signed[Seal], manifests: Manifests) -> bool:
        """Whether a service that was restored knows of a confirmed attempt by what partners handed back alone."""
        if document.state is not RoundState.CONFIRMED or set(seal.body.partners) <= set(manifests):
            return False
        self._partner.progress.notice("the service has lost what was uploaded: the confirmed state is fetched")
        return True

    def _open(self, seal: Signed[Seal], manifests: Manifests) -> None:
        record = self._record()
        if record.cohort is None or self._accepted_later(record):
            return
        with self._meter.phase("open"):
            release(self._partner, record, seal, manifests)

    def _accepted_later(self, record: AttemptRecord) -> bool:
        found = self._partner.journal.query(
            "SELECT 1 FROM attempt WHERE campaign = ? AND sequence > ? AND cohort IS NOT NULL LIMIT 1",
            (record.campaign, record.sequence),
        )
        return bool(found)

    # --- the sum --------------------------------------------------------------------------------------

    def _decode(
        self, document: RoundDocument, seal: Signed[Seal], manifests: Manifests
    ) -> tuple[Unsealed | None, RoundDocument]:
        try:
            sealed = self._sealed_sum(seal, manifests)
        except CheckRefused as refused:
            # Nothing that fails checks 1 to 4 is ever applied, whoever opened it.
            self._meter.alarm(f"not decoded: {refused}")
            return None, document
        self._contributors = seal.body.partners
        unsealed, document = unseal(self._partner, sealed, document, self._meter)
        self._accused.update(sealed.accused)
        return unsealed, document

    def _sealed_sum(self, seal: Signed[Seal], manifests: Manifests) -> SealedSum:
        partner, record = self._partner, self._record()
        if record.cohort is not None:
            request = request_for(partner, record, seal, manifests)
        else:
            cohort = self._observed_cohort()
            request = OpeningRequest(
                partner=partner.name,
                charter=partner.charter,
                plan=self._signed_plan,
                cohort=cohort,
                seal=seal,
                manifests=manifests,
                accepted_plan=self._round,
                accepted_cohort=cohort.digest,
                own_upload=None,
                opened_set=None,
            )
        verified = check_sealed_set(request, partner.verifier)
        return SealedSum(self._plan, request.cohort, seal.body, verified)

    def _observed_cohort(self) -> Cohort:
        """The cohort of an attempt that this partner is not in."""
        partner = self._partner
        signed, joins = partner.service.cohort(self._round)
        # No counts: who neither trains for a cohort nor opens for it need not refuse a rolled-back member.
        cohort, _ = check_cohort(signed, joins, self._plan, partner.charter, {}, partner.verifier)
        return cohort

    # --- what came of it ------------------------------------------------------------------------------

    def _take(self, unsealed: Unsealed) -> None:
        """Apply, keep, confirm; in this order, each durable before the next."""
        noise = mechanism_of(self._partner, self._plan, self._campaign)
        with self._meter.phase("apply"):
            self._probes.test(unsealed.opened.values, len(self._contributors), noise)
            if self._plan.kind == "training":
                state = apply_sum(
                    self._base,
                    self._campaign,
                    self._plan,
                    noise,
                    unsealed.opened.values,
                    len(self._contributors),
                    unsealed.opened.key_bytes,
                )
                states.StateFolder(self._partner, self._campaign.digest).keep(state)
                digest = state.digest
            else:
                digest = statistics_digest(unsealed.opened.values, unsealed.opened.key_bytes)
            written: dict[str, bytes | str | float] = {"state": digest}
            if self._probes.found is not None:
                written["probe_ratio"] = self._probes.found.ratio
            self._partner.journal.write_once("applied", self._round, written)
            self._probes.test_all()
        confirm(self._partner, unsealed, digest, self._probes.figures())

    def _conclude(self, document: RoundDocument, unsealed: Unsealed | None) -> Outcome:
        """Wait until the attempt has ended, and take the state that counts."""
        partner = self._partner
        if not document.state.ended:
            document = partner.wait_until(
                self._round,
                document.state,
                lambda shown: shown.state.ended,
                meanwhile=lambda: states.answer_requests(partner, self._campaign),
            )
        if document.state is RoundState.CLOSED:
            return self._closed(document)
        if document.state is RoundState.VOID:
            return self._void(document)
        winner = confirmed_state(partner, self._plan)
        opened = None if unsealed is None else unsealed.opened
        if self._plan.kind == "statistics":
            if opened is None or self._record().state != winner:
                self._meter.alarm("this round's statistics were not decoded here as the others confirmed them")
                opened = None
            return self._end("confirmed", "", self._base, opened)
        state = states.StateFolder(partner, self._campaign.digest).find(winner)
        if state is None:
            self._meter.alarm(
                f"round {self._plan.round} is confirmed as {winner[:16]}, which this partner did not reach"
                f" ({str(self._record().state)[:16]}): fetching that state from another partner"
            )
            state = states.fetch_asking(partner, self._campaign, winner)
        return self._end("confirmed", "", state, opened)

    def _void(self, document: RoundDocument) -> Outcome:
        partner = self._partner
        try:
            if document.seal is None:
                raise NotFound("the seal of an attempt that is void", "none", "tell the operator")
            cohort = accepted_cohort(partner, self._plan)
            votes = partner.service.void_votes(self._round)
            check_void(votes, self._plan, cohort, document.seal.digest, partner.charter, partner.verifier)
        except ChoraleError as false:
            self._meter.alarm(f"the service says that this attempt is void, and it is not: {false}")
            raise
        return self._end("void", "a quorum of the cohort found that no decoding works", self._base)

    def _closed(self, document: RoundDocument) -> Outcome:
        close = check_close(document.close, self._plan, self._partner.charter, self._partner.verifier)
        if close.cause == "not-opened" and self._record().state is not None:
            self._meter.alarm("the service closed as not opened an attempt that this partner decoded")
        return self._end("closed", f"{close.cause}: {close.reason}", self._base)

    def _end(self, ending: Ending, reason: str, state: ModelState, opened: Opened | None = None) -> Outcome:
        partner = self._partner
        states.StateFolder(partner, self._campaign.digest).keep(state)
        partner.journal.end(self._round, ending, reason, self._campaign.digest, state.digest)
        if ending != "confirmed":
            partner.ledger_watch.compared = False  # nothing was confirmed, so nothing was compared
        partner.round_keys.claim(self._round)
        partner.upload_folder(self._round).drop()
        partner.sum_folder(self._round).drop()
        if ending != "confirmed":
            partner.progress.notice(f"round {self._plan.round}, attempt {self._plan.attempt} is {ending}: {reason}")
        return Outcome(
            round_digest=self._round,
            plan=self._plan,
            ended=ending,
            reason=reason,
            state=state,
            report=self._report(),
            values=None if opened is None else opened.values,
            summed_key=None if opened is None else opened.key_bytes,
        )

    def _report(self) -> RoundReport:
        spent, total = self._meter.spent(), self._probes.total()
        return RoundReport(
            contributors=self._contributors,
            probe_z=None if self._probes.found is None else self._probes.found.deviations,
            probe_z_total=None if total is None else total.deviations,
            accused=MappingProxyType(dict(self._accused)),
            seconds=MappingProxyType(dict(self._meter.seconds)),
            bytes_up=spent.up,
            bytes_down=spent.down,
            bulk_up=spent.bulk_up,
            bulk_down=spent.bulk_down,
            alarms=tuple(self._meter.alarms),
        )
