"""What a plan may be made of: a row with room, a layout that it needs, an event that the charter allows."""

import pytest

from aggregator.operator.answers import BudgetRow, Participant
from aggregator.operator.planning import Phases, PublicScale, check_room, signed_plan, table_row, vector_layout
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import BudgetExhausted, ConfigurationError, WeakerThanCharter
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.signing import Verifier, countersign
from tests.aggregator.operator.paper_consortium import ROW


def test_the_room_of_any_row_that_covers_the_event_counts(consortium):
    wider = TableRow(
        name="spare", event=PrivacyEvent(kind="distributed", noise_multiplier=3.0, sampling_rate=0.2), count=1
    )
    charter = consortium.charter.model_copy(update={"table": (ROW, wider)})
    spent = BudgetRow(name="training", charged=10, reserved=0, count=10, left=0)
    spare = BudgetRow(name="spare", charged=0, reserved=0, count=1, left=1)
    check_room(charter, ROW, [Participant(partner=name, rows=(spent, spare)) for name in charter.partners])
    with pytest.raises(BudgetExhausted):
        check_room(charter, ROW, [Participant(partner=name, rows=(spent,)) for name in charter.partners])


def test_rows_without_noise_need_a_public_scale(consortium):
    row = TableRow(name="open", event=PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0), count=1)
    body = consortium.campaign.body
    with pytest.raises(ConfigurationError, match="--scale"):
        vector_layout(consortium.charter, body, row, None)
    layout = vector_layout(consortium.charter, body, row, PublicScale(1000.0, 24))
    assert (layout.scale, layout.lane_width, layout.probes) == (1000.0, 24, 0)
    with pytest.raises(ConfigurationError, match="training"):
        table_row(consortium.charter, "trainings")


def test_an_event_weaker_than_the_charters_is_never_signed(consortium):
    event = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.1)
    weaker = TableRow(name="weaker", event=event, count=10)
    campaign = countersign(consortium.campaign, OPERATOR, consortium.operator)
    with pytest.raises(WeakerThanCharter, match="an event that fits a row"):
        signed_plan(
            consortium.charter,
            campaign,
            weaker,
            vector_layout(consortium.charter, campaign.body, weaker, None),
            number=1,
            attempt=1,
            base_state=campaign.body.genesis,
            deadlines=Phases(60, 60, 60).deadlines(0.0),
            key=consortium.operator,
            verifier=Verifier(),
        )
