"""Bastide's own tokens for programs: the steps of Authenticator.open_token, one by one."""

import json
import logging
from datetime import datetime
from typing import Any

import httpx
import pytest

from bastide.services.ports import AuditQuery
from tests.support.api import ApiWorld, Caller
from tests.support.graph import DIRECTORY, body, call, listed, submit

pytest_plugins = ["tests.support.api"]


def opened(caller: Caller, **asked: Any) -> httpx.Response:
    return caller.post("/tokens", asked)


def bearer(api: ApiWorld, answer: httpx.Response, person: str = "alice") -> Caller:
    assert answer.status_code == 201, answer.text
    return Caller(api, {"Authorization": f"Bearer {answer.json()['token']}"}, person)


def test_a_token_for_a_ticket_is_a_way_in(api: ApiWorld, alice: Caller) -> None:
    answer = alice.post("/tokens")
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert (made["rights"], made["expires_at"]) == (["use"], "2026-11-20T09:15:00Z")
    program = bearer(api, answer)
    said = program.get("/whoami").json()
    assert (said["name"], said["via"], said["rights"]) == ("CORP\\alice", "token", ["use"])
    assert len(listed(program, f"{DIRECTORY}/roleDefinitions")) == 2
    assert submit(program, code=True, **body(api, program)).status_code == 201


# ---------------------------------------------------------------------------------------------- (1) what it is given for


def test_1_a_password_a_session_and_a_token_give_none(api: ApiWorld, alice: Caller) -> None:
    signed_in = api.anonymous().post("/sessions", {"account": "CORP\\alice", "password": "alice-corp-pw"})
    program = bearer(api, opened(alice))
    with_ticket = Caller(
        api, {"Authorization": f"Bearer {api.services.authn.open_session(api.sign_in('dave'))}"}, "dave"
    )
    for caller in (bearer(api, signed_in), program, with_ticket):
        refused = opened(caller)
        assert (refused.status_code, refused.json()["code"]) == (403, "not-authorized")
        assert "Kerberos ticket" in refused.json()["detail"]
    assert opened(api.anonymous()).status_code == 401


# ----------------------------------------------------------------------------------------------------- (2) how long


@pytest.mark.parametrize("minutes", [1, 60])
def test_2_it_ends_in_time(api: ApiWorld, alice: Caller, minutes: int) -> None:
    program = bearer(api, opened(alice, minutes=minutes))
    api.clock.move(seconds=minutes * 60 - 1)
    assert program.get("/whoami").status_code == 200
    api.clock.move(seconds=1)
    assert program.get("/whoami").status_code == 401


@pytest.mark.parametrize("minutes", [0, 61, -5, 10**12, "5", 1.5, None])
def test_2_it_lives_for_an_hour_at_most(api: ApiWorld, alice: Caller, minutes: Any) -> None:
    assert opened(alice, minutes=minutes).status_code in {400, 422}
    assert api.events("session.opened") == []


def test_2_a_second_factor_that_is_shown_makes_it_live_no_longer(api: ApiWorld, alice: Caller) -> None:
    program = bearer(api, opened(alice, minutes=1))
    assert program.get("/whoami", code=True).json()["mfa"]["method"] == "totp"
    api.clock.move(seconds=31)
    assert program.get("/whoami").status_code == 401


# ------------------------------------------------------------------------------------------------------ (3) what it may


def test_3_it_gives_the_rights_that_were_named_and_no_other(api: ApiWorld, dave: Caller) -> None:
    plain = bearer(api, opened(dave), "dave")
    assert plain.get("/roles").status_code == 403
    assert plain.get("/roles", code=True).status_code == 403, "a code adds none"
    assert call(plain, "GET", "policies/roleManagementPolicies").status_code == 403
    wide = bearer(api, opened(dave, rights=["administer", "use"]), "dave")
    assert wide.get("/roles").status_code == 200
    alone = bearer(api, opened(dave, rights=["administer"]), "dave")
    assert (alone.get("/roles").status_code, alone.get("/offers").status_code) == (200, 403)


@pytest.mark.parametrize(
    ("name", "right"), [("frank", "administer"), ("dave", "audit"), ("grace", "administer")]
)
def test_3_nobody_is_given_a_right_that_they_lack(api: ApiWorld, name: str, right: str) -> None:
    refused = opened(api.caller(name), rights=["use", right])
    assert (refused.status_code, refused.json()["code"]) == (403, "not-authorized")
    assert api.events("session.opened") == []


def test_3_a_right_that_was_taken_away_is_gone(api: ApiWorld, dave: Caller) -> None:
    program = bearer(api, opened(dave, rights=["administer", "use"]), "dave")
    administrators = api.teams["Administrators"]
    directory = api.adapters.realms[api.dave.forest].directory
    directory.remove_members(administrators.ref, [api.dave.sid])
    assert program.get("/whoami").json()["rights"] == ["use"]
    assert program.get("/roles").status_code == 403


@pytest.mark.parametrize("rights", [[], ["everything"], ["use", "root"], "use", None])
def test_3_rights_are_named(api: ApiWorld, alice: Caller, rights: Any) -> None:
    assert opened(alice, rights=rights).status_code == 422


def test_3_a_token_registers_no_second_factor(api: ApiWorld) -> None:
    """With a ticket of the PRIV account that goes without an invitation; with what was left lying about it does not."""
    heidi = api.caller("heidi")
    program = bearer(api, opened(heidi), "heidi")
    refused = program.post("/me/factors", {})
    assert (refused.status_code, refused.json()["code"]) == (403, "not-authorized")
    assert heidi.post("/me/factors", {}).status_code == 201


# ------------------------------------------------------------------------------------------------------ (4) what is kept


def test_4_only_its_hash_is_kept_and_nothing_says_it(
    api: ApiWorld, alice: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = opened(alice, minutes=30)
    token = answer.json()["token"]
    program = bearer(api, answer)
    listing = program.get("/sessions").text
    with api.store.read() as uow:
        records = list(uow.audit.read(AuditQuery(limit=0)))
        kept = repr(uow.factors.open_sessions(api.clock.now()))
    said = json.loads(next(one.data for one in records if one.kind == "session.opened"))
    assert said == {
        "via": "token",
        "rights": ["use"],
        "until": "2026-11-20T09:30:00+00:00",
        "address": "testclient",
    }
    assert token not in listing + repr(records) + kept + caplog.text


def test_4_it_is_listed_and_ended(api: ApiWorld, alice: Caller) -> None:
    program = bearer(api, opened(alice))
    found = alice.get("/sessions").json()["items"]
    assert [(one["via"], datetime.fromisoformat(one["expires_at"]).minute) for one in found] == [
        ("token", 15)
    ]
    assert alice.delete(f"/sessions/{found[0]['id']}").status_code == 204
    assert program.get("/whoami").status_code == 401


def test_4_it_ends_itself(api: ApiWorld, alice: Caller) -> None:
    program = bearer(api, opened(alice))
    assert program.delete("/sessions/current").status_code == 204
    assert program.get("/whoami").status_code == 401


def test_a_field_that_a_body_does_not_have_is_refused(api: ApiWorld, alice: Caller) -> None:
    for more in (
        {"sid": "S-1-5-21-1-2-3-500"},
        {"account": "PRIV\\dave"},
        {"expires_at": "2027-01-01T00:00:00Z"},
    ):
        assert opened(alice, **more).status_code == 422


def test_3_a_token_of_an_administrator_registers_no_second_factor_either(api: ApiWorld, dave: Caller) -> None:
    """Who may invite could invite themselves, and make of an hour what lasts."""
    program = bearer(api, opened(dave, rights=["administer", "use"]), "dave")
    invited = program.post("/factors/invitations", {"account": "PRIV\\dave"})
    assert invited.status_code == 201, invited.text
    code = invited.json()["code"]
    refused = program.post("/me/factors", {"invitation": code})
    assert (refused.status_code, refused.json()["code"]) == (403, "not-authorized")
    assert dave.post("/me/factors", {"invitation": code}).status_code == 201, "it is not used up"
