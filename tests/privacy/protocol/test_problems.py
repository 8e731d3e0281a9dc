"""Every error of the tree survives the wire; what is not ours says nothing; a hostile problem is only text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy import errors
from privacy.protocol.problems import MAX_TEXT, error_of, problem_of

ALL = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.ChoraleError)]


def make(error_class):
    texts = ("three apples", "two", "bring one more")
    if error_class is errors.CheckRefused:
        return error_class(6, *texts)
    if error_class is errors.LedgerBroken:
        return error_class(17, *texts)
    return error_class(*texts)


@pytest.mark.parametrize("error_class", ALL, ids=lambda c: c.__name__)
def test_an_error_comes_back_as_itself(error_class):
    error = make(error_class)
    problem = json.loads(json.dumps(problem_of(error)))
    back = error_of(problem, problem["status"])
    assert type(back) is error_class
    assert vars(back) == vars(error)
    assert problem["type"] == f"urn:chorale:problem:{error_class.code}"


def test_codes_are_distinct():
    assert len({c.code for c in ALL}) == len(ALL)


def test_a_foreign_exception_tells_nothing():
    problem = problem_of(ValueError("the secret seed is 42"))
    assert problem["status"] == 500
    assert "42" not in json.dumps(problem)


@pytest.mark.parametrize(("status", "error_class"), [(503, errors.ServiceUnavailable), (418, errors.ChoraleError)])
def test_no_problem_at_all_is_an_error_of_its_status(status, error_class):
    assert type(error_of(None, status)) is error_class


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["type", "status", "expected", "came", "remedy", "number", "line"])


@given(st.dictionaries(MEMBERS, JSON | st.just("urn:chorale:problem:opening-refused")), st.integers(400, 599))
def test_any_problem_becomes_an_error(problem, status):
    assert isinstance(error_of(problem, status), errors.ChoraleError)


def test_overlong_text_is_cut():
    error = error_of({"expected": "a" * 10**6, "came": "b", "remedy": "c"}, 422)
    assert len(error.expected) == MAX_TEXT
