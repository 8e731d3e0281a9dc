"""The service's report on its own ledger, signed with the server key: for the API and the console alike.

It reads the whole chain and asks the accountant: hundreds of milliseconds, in a worker thread, a few at a time.
"""

from __future__ import annotations

from sqlalchemy import select

from aggregator.rounds.ledger_export import acceptances
from aggregator.storage import ledger
from aggregator.storage.alarms import every_alarm
from aggregator.storage.reports import MadeReport
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, CharterRow
from privacy.errors import WrongState
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Charter
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import RaisedAlarm
from privacy.report.build import build_report
from privacy.report.period import period_of
from privacy.report.render import rendered
from privacy.report.shown import day
from privacy.report.signature import MEDIA_TYPES, Format, sign_report


def make_report(
    service: Service, participant: str | None, form: Format, language: str, first: str | None, last: str | None
) -> MadeReport:
    """participant: None for the whole consortium; first, last: days as YYYY-MM-DD, or nothing.

    Raises WrongState before a charter is in force, MalformedMessage for a stranger, ConfigurationError for days or
    a language that are none, ServiceUnavailable when too many are being made.
    """
    period = period_of(first, last, service.now())
    with service.reports.place():
        with service.database.read() as session:
            row = session.scalars(
                select(CharterRow).where(CharterRow.in_force).order_by(CharterRow.sequence.desc()).limit(1)
            ).first()
            if row is None:
                raise WrongState("a charter in force", "none yet", "wait until every partner has signed it")
            charter = stored(Charter, row.message)
            by_partner = {one.body.partner: one for one in acceptances(session, row.digest)}
            charters = [stored(Charter, message).body for message in session.scalars(select(CharterRow.message))]
            states = session.execute(select(AttemptRow.round, AttemptRow.state))
            outcomes = {digest: RoundState(state) for digest, state in states}
            raised = [
                RaisedAlarm(id=one.id, kind=one.kind, participant=one.participant, at=one.at, detail=one.detail)
                for one in every_alarm(session, participant)
            ]
            lines = list(ledger.lines(session, 0, ledger.head(session).count))
        report = build_report(
            charter.body,
            (LedgerEntry.model_validate_json(line) for line in lines),
            service.now(),
            source="service",
            outcomes=outcomes,
            participants=None if participant is None else [participant],
            period=period,
            earlier=charters,
            alarms=raised,
        )
        raw = rendered(report, form, language)
    signature = sign_report(
        report,
        form,
        raw,
        charter,
        [by_partner[partner] for partner in charter.body.partners],
        SERVER,
        service.keys.server,
    )
    return MadeReport(
        name=f"privacy-budget-{participant or 'consortium'}-{day(period.end - 1)}.{form}",
        media_type=MEDIA_TYPES[form],
        participant=participant,
        sha256=signature.statement.body.sha256,
        raw=raw,
        signature=signature.canonical_bytes,
    )
