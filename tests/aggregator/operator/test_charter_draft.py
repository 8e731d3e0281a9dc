"""From a draft in TOML to a charter that check_charter takes, or an error that names the line."""

import pytest

from aggregator.operator.answers import CharterRecord, EnrolmentRecord
from aggregator.operator.charter_draft import build_charter, costs, order_choice, read_draft
from aggregator.operator.trusted import approved_enrolments
from privacy.errors import BadSignature, ConfigurationError, NotAllowed, UnsafeParameters
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.plan_checks import check_charter
from privacy.protocol.signing import sign
from tests.aggregator.operator.paper_consortium import PARTNERS, enrolment

DRAFT = """
consortium = "Test wood"
n_min = 4
colluders = 1
lead = "ash"
privacy_unit = "one record"

[[table]]
name = "training"
kind = "distributed"
target_epsilon = 8.0
delta = 1e-5
sampling_rate = 0.05
count = 20

[[table]]
name = "labels"
kind = "statistics"
noise_multiplier = 10.0
count = 1
"""


@pytest.fixture
def draft(tmp_path):
    def make(text=DRAFT):
        (tmp_path / "draft.toml").write_text(text)
        return read_draft(tmp_path / "draft.toml")

    return make


@pytest.fixture
def enrolments(consortium):
    return {name: enrolment(consortium, name).body for name in PARTNERS}


@pytest.fixture
def charter(consortium, enrolments):
    def make(draft, latest=None):
        return build_charter(draft, enrolments, latest, consortium.operator.public, consortium.server.public)

    return make


def test_a_target_becomes_the_noise_that_meets_it(draft, charter):
    made = charter(draft())
    check_charter(made)
    assert made.partners == PARTNERS
    assert (made.epoch, made.previous) == (1, "0" * 64)
    training, labels, whole = costs(made)
    assert 7.9 < training.epsilon_in_sum <= 8.0 < training.epsilon_alone
    assert labels.noise_multiplier == 10.0
    assert whole.epsilon_in_sum > training.epsilon_in_sum


def test_a_draft_may_name_its_partners_in_any_order(draft, charter):
    text = DRAFT.replace("n_min", 'partners = ["elm", "dogwood", "cedar", "ash"]\nn_min')
    assert charter(draft(text)).partners == ("ash", "cedar", "dogwood", "elm")
    with pytest.raises(ConfigurationError, match="yew"):
        charter(draft(text.replace("elm", "yew")))


def test_a_charter_in_force_has_a_successor_and_a_draft_a_replacement(draft, charter, consortium):
    first = charter(draft())
    record = CharterRecord(charter=sign(first, OPERATOR, consortium.operator), acceptances={}, in_force=True)
    second = charter(draft(), record)
    assert (second.epoch, second.previous) == (2, first.digest)
    waiting = record.model_copy(update={"in_force": False})
    assert (charter(draft(), waiting).epoch, charter(draft(), waiting).previous) == (1, "0" * 64)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("target_epsilon = 8.0", "target_epsilon = 8.0\nnoise_multiplier = 1.0", "both"),
        ("target_epsilon = 8.0", "", "neither"),
        ("delta = 1e-5", "", "delta"),
        ('kind = "statistics"', 'kind = "none"', "kind none"),
        ('kind = "statistics"', 'kind = "statistic"', "kind"),
        ("count = 20", "count = 0", "count"),
        ("count = 20", "count = 20\ncolour = 1", "colour"),
        ("n_min = 4", "n_min = ", "TOML"),
        ('lead = "ash"', 'lead = "Ash"', "lead"),
        ("noise_multiplier = 10.0", "noise_multiplier = nan", "noise_multiplier"),
    ],
)
def test_a_draft_with_a_mistake_is_refused_by_name(draft, charter, old, new, named):
    with pytest.raises(ConfigurationError, match=named):
        charter(draft(DRAFT.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"), [("n_min = 4", "n_min = 2"), ("target_epsilon = 8.0", "noise_multiplier = 0.3")]
)
def test_unsafe_numbers_are_refused_before_signing(draft, charter, old, new):
    with pytest.raises(UnsafeParameters):
        check_charter(charter(draft(DRAFT.replace(old, new))))


def test_an_enrolment_counts_as_it_was_approved_here(consortium):
    records = [EnrolmentRecord(state="approved", enrolment=enrolment(consortium, name)) for name in PARTNERS]
    approvals = {record.enrolment.body.partner: record.enrolment.digest for record in records}
    assert set(approved_enrolments(records, approvals)) == set(PARTNERS)
    with pytest.raises(NotAllowed, match="ash"):
        approved_enrolments(records, approvals | {"ash": "00" * 32})
    pending = [records[0].model_copy(update={"state": "pending"}), *records[1:]]
    assert "ash" not in approved_enrolments(pending, approvals)
    forged = sign(records[0].enrolment.body, "ash", consortium.server)
    with pytest.raises(BadSignature):
        approved_enrolments([EnrolmentRecord(state="approved", enrolment=forged)], approvals)


def test_a_draft_with_a_filter_says_how_often_each_row_fits(draft, charter):
    many = DRAFT.replace("count = 20", "count = 5000").replace(
        "target_epsilon = 8.0\ndelta = 1e-5", "noise_multiplier = 1.0"
    )
    with pytest.raises(UnsafeParameters, match="a table of epsilon"):
        check_charter(charter(draft(many)))
    made = charter(draft("filter_order = 6\n" + many.lstrip()))
    check_charter(made)
    assert made.filter_order == 6
    found = {cost.name: cost.fits for cost in costs(made)}
    kept = made.filter_for(PARTNERS[0])
    assert 0 < found["training"] == kept.room_for((), made.table[0].event) < 5000
    assert found["labels"] == 1
    assert found["whole table"] is None
    with pytest.raises(ConfigurationError, match="filter_order"):
        draft("filter_order = 1\n" + DRAFT.lstrip())


def test_a_draft_may_leave_the_order_to_be_found_once(draft, charter):
    many = DRAFT.replace("count = 20", "count = 5000").replace(
        "target_epsilon = 8.0\ndelta = 1e-5", "noise_multiplier = 1.0"
    )
    made = charter(draft('filter_order = "best"\n' + many.lstrip()))
    check_charter(made)
    chosen = order_choice(made)
    assert made.filter_order == chosen.order
    rows = [(row.event, row.count) for row in made.table]
    by_hand = {}
    for order in range(2, 17):
        fixed = charter(draft(f"filter_order = {order}\n" + many.lstrip()))
        by_hand[order] = min(fixed.filter_for(partner).share(rows) for partner in PARTNERS)
    assert max(by_hand, key=lambda order: by_hand[order]) == chosen.order
    assert by_hand[chosen.order] == chosen.share < 1
    assert dict(chosen.beside) == {
        order: by_hand[order] for order in (chosen.order - 1, chosen.order + 1) if order in by_hand
    }
    for wrong in ('"most"', "true", '""'):
        with pytest.raises(ConfigurationError, match="filter_order"):
            draft(f"filter_order = {wrong}\n" + DRAFT.lstrip())
    nothing = DRAFT[: DRAFT.index("[[table]]")] + '[[table]]\nname = "open"\nkind = "none"\ncount = 3\n'
    with pytest.raises(UnsafeParameters, match="a row that a filter could refuse"):
        charter(draft('filter_order = "best"\nallow_none = true\n' + nothing.lstrip()))
    with pytest.raises(UnsafeParameters, match="an order from 2 to 64"):
        charter(draft('filter_order = "best"\n' + many.lstrip().replace("= 10.0", "= 0.1")))
