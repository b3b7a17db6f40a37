"""The help desk as programs call it: MIIS_CSObject's operations over HTTP."""

from typing import Any

import pytest

from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Result
from tests.support.api import Caller
from tests.support.help_desk import HelpDeskWorld, id_of

pytest_plugins = ["tests.support.help_desk"]
NEW = "Canary-9e-New-Horse-1"
HERE = "/help-desk"


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    return help_desk_world


@pytest.fixture
def hanna(served_desk: HelpDeskWorld) -> Caller:
    """With a session that has a second factor."""
    caller = served_desk.corp_caller("hanna")
    opened = caller.post(
        "/sessions",
        {"account": "CORP\\hanna", "password": "hanna-corp-pw", "code": served_desk.code("hanna")},
    )
    assert opened.status_code == 201, opened.text
    caller.headers = {"Authorization": f"Bearer {opened.json()['token']}"}
    return caller


def verified(world: HelpDeskWorld, hanna: Caller, name: str = "alice") -> str:
    world.set_mail(name, f"{name}@corp.bastide.test")
    made = hanna.post(f"{HERE}/people/{world.person(name)}/verifications", {"method": "sent"})
    assert made.status_code == 201, made.text
    body = world.notifier.taken[-1][1].body
    code = next(line.strip() for line in body.splitlines() if line.startswith("    "))
    proof = hanna.post(f"{HERE}/verifications/{made.json()['id']}", {"code": code.lower()})
    assert (proof.status_code, proof.json()["stage"]) == (200, "proved")
    return str(made.json()["id"])


def set_it(world: HelpDeskWorld, hanna: Caller, **more: Any) -> Any:
    body = {"accounts": list(world.accounts()), "password": NEW, **more}
    return hanna.post(f"{HERE}/people/{world.person('alice')}/passwords", body)


def test_find_show_verify_set_and_what_became_of_it(served_desk: HelpDeskWorld, hanna: Caller) -> None:
    (found,) = hanna.get(f"{HERE}/people", params={"text": "alice"}).json()["items"]
    shown = hanna.get(f"{HERE}/people/{found['id']}").json()
    assert [one["agent"] for one in shown["accounts"]] == ["corp", "crm", "files"]
    assert (shown["name"], shown["out_of_reach"]) == ("Alice", "")
    refused = Result(Code.POLICY, "too easy")
    served_desk.systems.systems["crm"].faults.answers[id_of("crm alice")] = refused
    answer = set_it(served_desk, hanna, verification=verified(served_desk, hanna))
    assert answer.status_code == 202
    assert answer.json()["password"] == ""
    operation = f"{HERE}/operations/{answer.json()['operation']}"
    before = hanna.get(operation).json()
    assert (before["over"], {one["return_code"] for one in before["outcomes"]}) == (False, {""})
    served_desk.work()
    after = hanna.get(operation).json()
    assert (after["over"], after["change_type"], after["performed_by"]) == (True, "SET", "CORP\\hanna")
    assert {one["agent"]: one["return_code"] for one in after["outcomes"]} == {
        "corp": "success",
        "crm": "new-password-violate-policy",
        "files": "success",
    }
    history = hanna.get(f"{HERE}/people/{found['id']}/history").json()["items"]
    assert history == [after]


def test_change_and_unlock_answer_with_what_each_system_said(
    served_desk: HelpDeskWorld, hanna: Caller
) -> None:
    person = f"{HERE}/people/{served_desk.person('alice')}"
    accounts = list(served_desk.accounts("crm", "files"))
    served_desk.there("crm").locked = True
    done = hanna.post(f"{person}/unlocks", {"accounts": accounts, "reason": "after her holiday"})
    assert [one["return_code"] for one in done.json()["items"]] == ["success", "success"]
    served_desk.there("files").password = "Another-Horse-1"
    body = {"accounts": accounts, "old": "Old-Horse-1", "new": NEW}
    changed = hanna.post(f"{person}/changes", body).json()
    assert [one["return_code"] for one in changed["outcomes"]] == ["success", "access-denied"]
    assert changed["over"]
    served_desk.set_mail("alice", "alice@corp.bastide.test")
    unlocked, set_anew = sorted(served_desk.told_by_now(), key=lambda body: "changed" in body)
    assert "CORP\\hanna of the help desk unlocked Alice" in unlocked
    assert "CORP\\hanna of the help desk changed the password of Alice" in set_anew
    assert "In: crm\n" in set_anew


def test_what_is_refused_says_what_to_do(served_desk: HelpDeskWorld, hanna: Caller) -> None:
    plain = set_it(served_desk, hanna)
    assert (plain.status_code, plain.json()["code"]) == (403, "mfa-refused")
    served_desk.prepare("alice")
    person = f"{HERE}/people/{served_desk.person('alice')}"
    for path, body in (
        ("verifications", {"method": "sent"}),
        ("passwords", {"accounts": list(served_desk.accounts()), "password": NEW}),
        ("changes", {"accounts": list(served_desk.accounts()), "old": "a", "new": NEW}),
        ("unlocks", {"accounts": list(served_desk.accounts())}),
    ):
        answer = hanna.post(f"{person}/{path}", body)
        assert (answer.status_code, answer.json()["code"]) == (403, "not-authorized"), path
        assert "PAM user" in answer.text
        assert NEW not in answer.text


def test_only_those_in_the_groups_get_in(served_desk: HelpDeskWorld) -> None:
    for name in ("alice", "wanda"):
        caller = served_desk.corp_caller(name)
        assert set_it(served_desk, caller).status_code == 403
    found = {"text": "alice"}
    assert served_desk.corp_caller("wanda").get(f"{HERE}/people", params=found).status_code == 200
    assert served_desk.corp_caller("alice").get(f"{HERE}/people", params=found).status_code == 403
    # A CORP ticket alone sets nobody's password.
    answer = set_it(served_desk, served_desk.corp_caller("hanna"))
    assert (answer.status_code, answer.json()["code"]) == (403, "mfa-refused")


def test_an_operator_is_slowed_down(served_desk: HelpDeskWorld, hanna: Caller) -> None:
    codes = [hanna.get(f"{HERE}/people", params={"text": "alice"}).status_code for _ in range(61)]
    assert (codes[0], codes[-1]) == (200, 429)


def test_no_password_is_in_what_is_kept_or_logged(
    served_desk: HelpDeskWorld, hanna: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    made = set_it(served_desk, hanna, password="", verification=verified(served_desk, hanna)).json()[
        "password"
    ]
    set_it(served_desk, hanna, verification=verified(served_desk, hanna))
    served_desk.work()
    assert served_desk.there("crm").password == NEW
    kept = caplog.text + served_desk.whole_audit() + repr(served_desk.numbered.written)
    assert made
    assert made not in kept
    assert NEW not in kept
