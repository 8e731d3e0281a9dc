"""Canonical JSON: one form, bounded, and nothing else accepted."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import MalformedMessage, TooLarge
from privacy.protocol.canonical import MAX_DEPTH, canonical, parse

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=8)
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_parsing_the_canonical_form_gives_the_value_back(value: object) -> None:
    assert canonical(parse(canonical(value))) == canonical(value)


@given(values | st.floats(allow_nan=False, allow_infinity=False) | st.tuples(st.text(), st.floats(0, 1e-5)))
def test_it_is_what_the_library_for_rfc_8785_writes(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["\ud800", {"\ud800": 1}, {1: 2}, {None: 1}, 2**53, -(2**53), float("nan"), float("inf"), b"x", {1, 2}]
)
def test_what_the_library_refuses_is_refused(value: object) -> None:
    for form in (value, [value], {"inside": value}):
        with pytest.raises(MalformedMessage):
            canonical(form)


class Loud(str):
    def __str__(self) -> str:
        return "loud"


def test_a_subclass_is_written_as_what_it_holds() -> None:
    for value in (Loud("quiet"), {Loud("quiet"): Loud("quiet")}, {"é": 1, "z": 2, "\U0001f600": 3, "\uffff": 4}):
        assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"b":1,"a":2}',  # keys out of order
        b'{"a": 1}',  # white space
        b'{"a":1.0}',  # a number in another spelling
        b'{"a":1,"a":1}',  # a key twice
        b'{"a":"\\u0061"}',  # an escape that is not needed
        b"\xff",
        b"",
        b'{"a":NaN}',
        b'{"a":9007199254740993}',  # beyond 2^53 - 1
        b'"\\ud800"',  # half of a surrogate pair, which UTF-8 cannot hold
        b'{"\\ud800":1}',
    ],
)
def test_anything_but_the_canonical_form_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(raw)


def test_a_depth_bomb_never_reaches_the_parser() -> None:
    parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(MalformedMessage, match="nested"):
        parse(b"[" * 100_000 + b"]" * 100_000)


def test_brackets_inside_strings_are_not_nesting() -> None:
    assert parse(canonical('[[[[[[[[[[[[[[[[[[\\"[[[[')) == '[[[[[[[[[[[[[[[[[[\\"[[[['


def test_size_is_bounded_before_parsing() -> None:
    with pytest.raises(TooLarge):
        parse(b'"' + b"a" * 100 + b'"', limit=50)


@pytest.mark.parametrize("raw", [b'"\\' * 300_000, b'"' + b'\\"' * 300_000, b'"\\', b'["' + b"[" * 100])
def test_strings_that_never_end_are_refused_in_linear_time(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(raw)
