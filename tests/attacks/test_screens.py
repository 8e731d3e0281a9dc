"""Adversary: a partner, the operator or the service, in whatever text of its own others read. It wants to draw on
the screen on which people compare words: other words beside its hash, a hidden line, a name that reads as another.
Names in messages are printable, and what else came from outside is made visible before it is shown.
"""

from __future__ import annotations

import io

import pytest
from pydantic import ValidationError
from rich.console import Console

from aggregator.operator import screens
from client_sdk import terminal
from client_sdk.commands.charters import _print_charter
from client_sdk.enrolment import Offered
from privacy.dp.events import TableRow
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Charter, ParameterShape
from privacy.protocol.problems import error_of
from privacy.protocol.words import words
from tests.aggregator.conftest import Running
from tests.consortium import EVENT, TestConsortium, done, refused

FALSE = "abandon ability able"
DRAWING = {
    "another line": f"Aster\nwords  {FALSE}",
    "back to the line's start": f"Aster\rwords  {FALSE}",
    "an escape sequence": f"Aster\x1b[1A\x1b[2Kwords  {FALSE}",
    "its one-byte form": f"Aster\x9b2Kwords  {FALSE}",
    "a bell and a backspace": "Aster\x07\x08",
    "text that runs to the left": "Aster \u202eretsA",
    "an isolate": "Aster \u2066x\u2069",
    "no width": "As\u200bter",
    "a soft hyphen": "As\u00adter",
    "a line separator": f"Aster\u2028words {FALSE}",
    "a nul": "Aster\x00",
    "space at the end": "Aster ",
    "another form of the same letters": "Aste\u0301r",
}


@pytest.fixture(scope="module")
def charter(tmp_path_factory: pytest.TempPathFactory) -> Charter:
    consortium = TestConsortium()
    consortium.server_folder(tmp_path_factory.mktemp("choir") / "server")
    return consortium.charter(consortium="Choir [red]of[/] [/nobody]", privacy_unit="one [conceal]compound[/]")


@pytest.mark.parametrize("how", DRAWING)
def test_no_message_has_a_name_that_draws(charter: Charter, how: str) -> None:
    text = DRAWING[how]
    read = charter.model_dump(mode="json")
    honest = TableRow(name="training", event=EVENT, count=1)
    assert Charter.model_validate_json(canonical(read)) == charter
    for changed in (
        {**read, "consortium": text},
        {**read, "privacy_unit": text},
        {**read, "roster": [{**read["roster"][0], "name": text}, *read["roster"][1:]]},
        {**read, "table": [honest.model_copy(update={"name": text}).model_dump(mode="json")]},
    ):
        with pytest.raises(ValidationError, match="printable"):
            Charter.model_validate_json(canonical(changed))
    with pytest.raises(ValidationError, match="printable"):
        ParameterShape(name=text, shape=(1,))


@pytest.mark.parametrize("how", DRAWING)
def test_a_partner_does_not_enrol_under_a_name_that_draws(running: Running, how: str) -> None:
    consortium = running.consortium
    invited = consortium.client(running.http, OPERATOR).post(
        "/v1/invitations", {"partner": "partner-01", "expires_in_seconds": 60}
    )
    token = done(invited, 201)["token"]
    honest = consortium.enrolment("partner-01", token)
    drawing = honest.body.model_copy(update={"name": DRAWING[how]})
    for message, status in ((consortium.by("partner-01", drawing), 422), (honest, 201)):
        body = canonical({"token": token, "enrolment": message.model_dump(mode="json")})
        answer = running.http.post("/v1/enrolments", content=body)
        assert answer.status_code == status, answer.text
    refused(running.http.post("/v1/enrolments", content=b"{}"), 422, "malformed-message")


def test_letters_of_all_scripts_are_names(charter: Charter) -> None:
    for name in ("아스터 제약", "Élan Pharma & Søn", "アスター製薬", "Аптека", "Q:1 \u2013 [x] <y> \U0001f33c"):
        read = {**charter.model_dump(mode="json"), "consortium": name}
        assert Charter.model_validate_json(canonical(read)).consortium == name


def test_a_charters_texts_are_shown_as_they_are_and_its_words_once(
    charter: Charter, capsys: pytest.CaptureFixture[str]
) -> None:
    """Square brackets are no markup of ours."""
    consortium = TestConsortium()
    offered = Offered(consortium.by_operator(charter), words(charter.digest), (), False)
    _print_charter(offered, ())
    shown = capsys.readouterr().out
    assert "Choir [red]of[/] [/nobody], epoch 1" in shown
    assert "one [conceal]compound[/]" in shown
    assert [line for line in shown.splitlines() if line.startswith("words")] == [f"words  {words(charter.digest)}"]


def test_what_a_service_or_a_partner_says_draws_on_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems of the service, and reasons that it or a partner signed."""
    for text in DRAWING.values():
        said = error_of(
            {"type": "urn:chorale:problem:conflict", "expected": text, "came": text, "remedy": text}, 409
        )
        partners, operators = io.StringIO(), io.StringIO()
        terminal.show_error(said, Console(file=partners, width=500))
        terminal.Lines(Console(file=partners, width=500)).notice(f"round 1 is closed: {text}")
        monkeypatch.setattr(screens, "errors", Console(file=operators, width=500))
        screens.show_error(said)
        Console(file=operators, width=500).print(screens.facts([("closed", text)]))
        for shown in (partners.getvalue(), operators.getvalue()):
            assert not any(line.startswith("words") for line in shown.splitlines())
            assert all(one.isprintable() or one == "\n" for one in shown), shown
