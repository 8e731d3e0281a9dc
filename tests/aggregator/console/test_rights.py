"""What each role may do, on whose behalf; and that a form is taken from the session that it was shown to alone."""

from __future__ import annotations

import pytest

from aggregator.storage.sessions import CONSORTIUM, RIGHTS, ROLES, Action, Role, Viewer
from privacy.errors import NotAllowed
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import form_token, link_for, send, sign_in_as, visit

ACTIONS: tuple[Action, ...] = ("acknowledge", "suspend", "resume", "tighten")


def viewer(role: Role, scope: str, account: str | None = "kim") -> Viewer:
    return Viewer("Kim", account, role, scope, 0.0)


def test_every_role_and_every_action_is_decided() -> None:
    assert set(RIGHTS) == set(ROLES)
    assert frozenset().union(*RIGHTS.values()) == set(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_roles_act_within_their_scope(action: Action) -> None:
    assert viewer("officer", "aster").may_act(action, "aster")
    assert viewer("officer", CONSORTIUM).may_act(action, "aster")
    assert viewer("officer", CONSORTIUM).may_act(action, None)
    for outside in ("birch", None, CONSORTIUM):
        assert not viewer("officer", "aster").may_act(action, outside)
    for scope in ("aster", CONSORTIUM):
        assert not viewer("auditor", scope).may_act(action, "aster")
        assert not viewer("officer", scope, account=None).may_act(action, "aster")
    assert viewer("operator", "aster").may_act(action, "aster") == (action in ("acknowledge", "suspend"))
    viewer("officer", "aster").require(action, "aster")
    with pytest.raises(NotAllowed, match="officer, scope aster"):
        viewer("officer", "aster").require(action, "birch")


def test_what_is_seen_is_the_scope() -> None:
    assert viewer("auditor", CONSORTIUM).may_see("aster")
    assert viewer("auditor", "aster").may_see("aster")
    assert not viewer("officer", "aster").may_see("birch")


def test_a_form_needs_the_token_of_its_own_session(running: Running) -> None:
    sign_in_as(running, account="kim")
    of_kim = form_token(running, "/console")
    sign_in_as(running, account="lee")
    of_lee = form_token(running, "/console")
    assert of_kim != of_lee
    for token in (None, "", of_kim, of_lee[:-1], of_lee + "0", of_lee.upper(), "\ud55c"):
        fields = {} if token is None else {"csrf": token}
        answer = running.http.post("/console/sign-out", data=fields)
        assert answer.status_code == 403, token
        assert running.http.get("/console").status_code == 200
    assert running.http.post("/console/sign-out", data={"csrf": of_lee}).status_code == 200
    assert running.http.get("/console").status_code == 401


def test_a_sign_in_form_needs_a_token_too_and_one_of_before_is_worth_nothing_after(running: Running) -> None:
    link = link_for(running)
    assert running.http.post("/console/sign-in", data={"link": link}).status_code == 403
    before = form_token(running)
    assert send(running, "/console/sign-in", {"link": link}).status_code == 303
    assert running.http.post("/console/sign-out", data={"csrf": before}).status_code == 403
    assert running.http.get("/console").status_code == 200


def test_signing_in_ends_the_session_that_was_there(running: Running) -> None:
    old = sign_in_as(running)
    visit(running)
    running.http.cookies.clear()
    assert running.http.get("/console", headers={"cookie": f"chorale-officer={old}"}).status_code == 401


def test_a_session_that_nobody_uses_ends(running: Running) -> None:
    visit(running)
    for _ in range(3):
        running.consortium.clock.seconds += running.settings.session_idle_seconds - 1
        assert running.http.get("/console").status_code == 200
    running.consortium.clock.seconds += running.settings.session_idle_seconds + 1
    assert running.http.get("/console").status_code == 401
