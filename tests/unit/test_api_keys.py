"""Security keys over the native API."""

from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.people import Demand, Forest
from bastide.services.security_keys import Answer, Asked
from tests.support.api import APPROVAL, ApiWorld, Caller, role_body
from tests.support.authenticator import Authenticator

pytest_plugins = ["tests.support.api"]


@pytest.fixture
def grace(api: ApiWorld) -> Caller:
    return api.caller("grace")


def asked(caller: Caller, path: str, body: Any = None) -> tuple[Asked, dict[str, Any]]:
    """What a browser is told."""
    import json

    answer = caller.post(path, body if body is not None else {})
    assert answer.status_code == 201, answer.text
    said = answer.json()
    return Asked(said["challenge"], json.dumps(said["options"])), said


def body(answer: Answer, **more: Any) -> dict[str, Any]:
    return {"challenge": answer.challenge, "credential": answer.credential, **more}


def give_key(caller: Caller, name: str = "blue key") -> Authenticator:
    device = Authenticator()
    ask, _ = asked(caller, "/me/keys/registration")
    made = caller.post("/me/keys", body(device.make(ask), name=name))
    assert made.status_code == 201, made.text
    assert made.json()["name"] == name
    return device


def in_session(api: ApiWorld, name: str) -> Caller:
    token = api.services.authn.open_session(api.sign_in(name))
    return Caller(api, {"Authorization": f"Bearer {token}"}, name)


def test_register_list_prove_remove(api: ApiWorld, grace: Caller) -> None:
    device = give_key(grace)
    (shown,) = grace.get("/me/factors").json()["items"]
    assert (shown["method"], shown["name"], shown["confirmed"]) == ("webauthn", "blue key", True)
    assert "sealed" not in shown
    session = in_session(api, "grace")
    ask, said = asked(session, "/me/keys/challenge")
    assert said["options"]["userVerification"] == "required"
    assert said["options"]["rpId"] == "bastide.priv.bastide.test"
    proof = session.post("/me/keys/proof", body(device.use(ask)))
    assert (proof.status_code, proof.json()["method"]) == (200, "webauthn")
    assert session.get("/whoami").json()["mfa"]["method"] == "webauthn"
    refused = session.delete(f"/me/keys/{shown['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    ask, _ = asked(session, "/me/keys/registration")
    assert session.post("/me/keys", body(Authenticator().make(ask), name="red key")).status_code == 201
    assert session.delete("/me/keys/blue%20key").json()["name"] == "blue key"
    assert session.get("/whoami").json()["mfa"] is None, "a proof lasts no longer than its key"


def test_a_proof_wants_a_session(grace: Caller) -> None:
    give_key(grace)
    for path in ("/me/keys/challenge", "/me/keys/proof"):
        refused = grace.post(path, {"challenge": "x", "credential": {}})
        assert (refused.status_code, "no session" in refused.text) == (409, True)


def test_an_approval_is_signed_over_the_api(api: ApiWorld, grace: Caller) -> None:
    api.add_role("Signed", candidates=("CORP\\alice",), stages=APPROVAL, approval_factor=Demand.WEBAUTHN)
    device = give_key(grace)
    request = api.ask("Signed")
    path, ballot = f"/approvals/{request.id}", {"decision": "approve", "reason": "agreed"}
    refused = grace.post(path, ballot, code=True)
    assert (refused.status_code, refused.json()["code"]) == (403, "key-needed")
    assert "portal" in refused.json()["remedy"]
    ask, said = asked(grace, f"{path}/challenge", ballot)
    signature = body(device.use(ask), stage=said["stage"])
    changed = grace.post(path, {**ballot, "reason": "never said", "signature": signature})
    assert changed.status_code == 403
    ask, said = asked(grace, f"{path}/challenge", ballot)
    signature = body(device.use(ask), stage=said["stage"])
    done = grace.post(path, {**ballot, "signature": signature})
    assert done.status_code == 200, done.text
    assert done.json()["votes"][0]["signed"] is True
    assert api.get(request).votes[0].signature is not None
    elsewhere = api.ask()
    assert grace.post(f"/approvals/{elsewhere.id}/challenge", ballot).status_code == 404


def test_a_role_says_which_factor_it_wants(api: ApiWorld, dave: Caller) -> None:
    rules = role_body(
        factor="webauthn",
        approval_factor="webauthn",
        stages=[{"name": "owners", "approvers": ["PRIV\\grace"], "needed": 1}],
    )
    made = dave.post("/roles", rules)
    assert made.status_code in {201, 202}, made.text
    role = api.services.roles.show(api.dave, "New role")
    assert (role.factor, role.approval_factor) == (Demand.WEBAUTHN, Demand.WEBAUTHN)
    assert dave.get(f"/roles/{role.id}").json()["approval_factor"] == "webauthn"
    offer = next(o for o in api.corp_caller("alice").get("/offers").json()["items"] if o["id"] == role.id)
    assert offer["factor"] == "webauthn"
    assert dave.post("/roles", role_body(name="Other", factor="sms")).status_code == 422


def test_one_persons_keys_are_nobody_elses(api: ApiWorld, grace: Caller) -> None:
    give_key(grace)
    (key,) = grace.get("/me/factors").json()["items"]
    heidi = api.caller("heidi")
    assert heidi.get("/me/factors").json()["items"] == []
    assert heidi.delete(f"/me/keys/{key['id']}", code=True).status_code == 404
    assert api.corp_caller("alice").delete(f"/me/keys/{key['id']}", code=True).status_code == 404
    person = replace(api.sign_in("alice", Forest.CORP))
    assert api.services.security_keys.mine(person) == ()
