"""What a service may answer that is no answer."""

from __future__ import annotations

import json

import pytest

from client_sdk.answers import read_document
from client_sdk.transport import json_object
from privacy.errors import MalformedMessage


@pytest.mark.parametrize("version", ["1e999", "-Infinity", "NaN", "null", '"\u00b2"', "[]", "9" * 400])
def test_a_version_that_is_no_number_of_ours_is_refused(version: str) -> None:
    answer = json_object(b'{"round":"00","version":%s}' % version.encode(), "/v1/rounds")
    with pytest.raises(MalformedMessage):
        read_document(answer, "00")


@pytest.mark.parametrize("digits", ["9" * 5000, "1e5000"])
def test_a_number_that_is_too_long_is_no_end_of_the_process(digits: str) -> None:
    try:
        answer = json_object(b'{"missing":[%s]}' % digits.encode(), "/v1/rounds")
    except MalformedMessage:
        return
    assert json.dumps(answer)
