"""Whole journeys over HTTP, with the real use cases, the real runner and forests in memory."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from litestar.testing import TestClient

from bastide.domain.audit import GENESIS
from bastide.domain.health import Finding, Severity
from bastide.domain.people import Forest
from bastide.web import create_app
from bastide.wiring import assemble
from tests.support.api import ASK, NOBODYS, ApiWorld, Caller, role_body

pytest_plugins = ["tests.support.api"]
ASK_APPROVED = {**ASK, "role": "Approved"}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def ask(caller: Caller, body: dict[str, Any] = ASK, **more: Any) -> dict[str, Any]:
    answer = caller.post("/requests", {**body, **more}, code=True)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def active(api: ApiWorld, caller: Caller, **more: Any) -> dict[str, Any]:
    made = ask(caller, **more)
    api.work()
    shown: dict[str, Any] = caller.get(f"/requests/{made['id']}").json()
    assert shown["state"] == "Active"
    return shown


# ---------------------------------------------------------------------------------------------------------- elevation


def test_from_the_offer_to_the_end_of_access(api: ApiWorld, alice: Caller) -> None:
    offers = {offer["name"]: offer for offer in alice.get("/offers").json()["items"]}
    assert offers["File administrators"]["why_not"] == ""
    assert offers["Approved"]["needs_approval"] is True
    answer = alice.post("/requests", {**ASK, "ttl_seconds": 1800}, code=True)
    made = answer.json()
    assert (answer.status_code, made["state"]) == (201, "Processing")
    assert answer.headers["location"] == f"/api/v1/requests/{made['id']}"
    user = api.services.accounts.user(api.dave, "priv.alice")
    assert not api.opens_share(user)
    api.work()
    shown = alice.get(f"/requests/{made['id']}").json()
    assert (shown["state"], shown["enforcer"]) == ("Active", "dormant-account")
    assert time(shown["ends_at"]) == time(shown["active_from"]) + timedelta(minutes=30)
    assert time(shown["true_end"]) == time(shown["ends_at"]) + timedelta(minutes=15)
    assert shown["directory_end"] is not None
    assert api.opens_share(user)
    api.clock.move(minutes=31)
    api.work()
    assert alice.get(f"/requests/{made['id']}").json()["state"] == "Expired"
    assert not api.opens_share(user)


def test_without_a_code_it_waits_for_one(api: ApiWorld, alice: Caller) -> None:
    made = alice.post("/requests", ASK).json()
    assert made["state"] == "PendingMFA"
    path = f"/requests/{made['id']}/mfa"
    refused = alice.post(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "mfa-refused")
    wrong = alice.post(path, headers={"Bastide-Code": api.wrong_code("alice")})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "mfa-refused")
    assert alice.get(f"/requests/{made['id']}").json()["state"] == "PendingMFA"
    assert alice.post(path, code=True).json()["state"] == "Processing"
    assert alice.post(path, code=True).status_code == 409


def test_approval(api: ApiWorld, alice: Caller) -> None:
    made = ask(alice, ASK_APPROVED)
    assert (made["state"], made["missing"]) == ("PendingApproval", {"owners": 1})
    grace = api.caller("grace")
    waiting = grace.get("/approvals").json()["items"]
    assert [(one["id"], one["user"], one["justification"]) for one in waiting] == [
        (made["id"], "priv.alice", "patch the server")
    ]
    path = f"/approvals/{made['id']}"
    without_code = grace.post(path, {"decision": "approve"})
    assert (without_code.status_code, without_code.json()["code"]) == (403, "mfa-refused")
    decided = grace.post(path, {"decision": "approve", "reason": "agreed"}, code=True)
    assert (decided.status_code, decided.json()["state"]) == (200, "Processing")
    assert [(v["name"], v["decision"], v["reason"], v["stage"]) for v in decided.json()["votes"]] == [
        ("PRIV\\grace", "approve", "agreed", "owners")
    ]
    twice = grace.post(path, {"decision": "approve"}, code=True)
    assert twice.status_code == 409
    assert grace.get("/approvals").json()["items"] == []


def test_rejection_needs_a_reason_and_ends_it(api: ApiWorld, alice: Caller) -> None:
    path = f"/approvals/{ask(alice, ASK_APPROVED)['id']}"
    grace = api.caller("grace")
    assert grace.post(path, {"decision": "reject"}, code=True).status_code == 422
    rejected = grace.post(path, {"decision": "reject", "reason": "no change window"}, code=True).json()
    assert rejected["state"] == "Rejected"
    assert "no change window" in rejected["reason"]
    assert api.caller("heidi").post(path, {"decision": "approve"}, code=True).status_code == 409


def test_extension(api: ApiWorld, alice: Caller) -> None:
    shown = active(api, alice, ttl_seconds=1800)
    path = f"/requests/{shown['id']}/extension"
    assert alice.post(path, {"seconds": 600}).json()["code"] == "mfa-refused"
    asked = alice.post(path, {"seconds": 600}, code=True).json()
    assert time(asked["extend_to"]) == time(shown["ends_at"]) + timedelta(minutes=10)
    assert asked["ends_at"] == shown["ends_at"], "not before it was read back"
    api.work()
    later = alice.get(f"/requests/{shown['id']}").json()
    assert (later["ends_at"], later["extend_to"]) == (asked["extend_to"], None)
    too_long = alice.post(path, {"seconds": 28_800}, code=True)
    assert (too_long.status_code, "allows 8h in all" in too_long.json()["detail"]) == (409, True)


@pytest.mark.parametrize("body", [None, {}, {"reason": "done"}])
def test_close(api: ApiWorld, alice: Caller, body: Any) -> None:
    shown = active(api, alice)
    closing = alice.post(f"/requests/{shown['id']}/close", body)
    assert (closing.status_code, closing.json()["state"]) == (200, "Closing"), (
        "not Closed before absence was read back"
    )
    api.work()
    assert alice.get(f"/requests/{shown['id']}").json()["state"] == "Closed"
    assert alice.post(f"/requests/{shown['id']}/close", body).status_code == 409


def test_the_list_pages_backwards(api: ApiWorld, alice: Caller) -> None:
    ids = []
    for _ in range(5):
        made = ask(alice)
        alice.post(f"/requests/{made['id']}/close")
        ids.append(made["id"])
    first = alice.get("/requests?limit=3").json()
    second = alice.get("/requests", params={"limit": 3, "before": first["next_before"]}).json()
    assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next_before"] is None


def test_requests_of_one_moment_are_on_one_page_each(api: ApiWorld, alice: Caller) -> None:
    """Paging by time alone skipped what was asked in the microsecond of the last one of a page."""
    made = [alice.post("/requests", role).json() for role in (ASK, ASK_APPROVED)]
    assert len({one["created_at"] for one in made}) == 1
    first = alice.get("/requests?limit=1").json()
    second = alice.get("/requests", params={"limit": 1, "before": first["next_before"]}).json()
    assert {one["id"] for page in (first, second) for one in page["items"]} == {one["id"] for one in made}
    only_time = first["next_before"].partition("/")[0]
    assert alice.get("/requests", params={"before": only_time}).json()["items"] == []
    assert alice.get("/requests", params={"before": f"{only_time}/x"}).status_code == 422


# -------------------------------------------------------------------------------------------------------- two persons


def test_one_persons_request_does_not_exist_for_another(api: ApiWorld, alice: Caller) -> None:
    made = ask(alice, ASK_APPROVED)
    bob = api.corp_caller("bob")
    for others in (bob, api.corp_caller("mallory"), api.caller("ivan")):
        shown, unknown = (others.get(f"/requests/{i}") for i in (made["id"], NOBODYS))
        assert (shown.status_code, unknown.status_code) == (404, 404)
    for path, body in (("mfa", None), ("extension", {"seconds": 60}), ("close", {"reason": "x"})):
        answers = [bob.post(f"/requests/{i}/{path}", body) for i in (made["id"], NOBODYS)]
        assert [answer.status_code for answer in answers] == [404, 404]
    assert bob.get("/requests").json()["items"] == []
    vote = api.caller("ivan").post(f"/approvals/{made['id']}", {"decision": "approve"}, code=True)
    assert vote.status_code == 404, "ivan approves in other roles, not in this one"
    assert alice.get(f"/requests/{made['id']}").json()["state"] == "PendingApproval"


def test_who_may_see_a_request(api: ApiWorld, alice: Caller, dave: Caller, frank: Caller) -> None:
    made = ask(alice, ASK_APPROVED)
    for who in (alice, dave, frank, api.caller("grace"), api.caller("heidi")):
        assert who.get(f"/requests/{made['id']}").status_code == 200
    for who in (dave, frank):
        assert [one["id"] for one in who.get("/admin/requests").json()["items"]] == [made["id"]]
        assert who.get("/admin/requests?user=priv.bob").json()["items"] == []


def test_nobody_approves_their_own_request(api: ApiWorld, dave: Caller) -> None:
    body = role_body(name="Own", candidates=["PRIV\\grace", "CORP\\alice"], stages=[
        {"name": "owners", "approvers": ["PRIV\\grace", "PRIV\\heidi"]}])  # fmt: skip
    api.corp.add_person("grace", password="x")
    assert (
        dave.post(
            "/pam-users", {"corp": "grace", "priv_name": "grace", "adopt": True, "kept_alive": True}
        ).status_code
        == 201
    )
    assert dave.post("/roles", {**body, "floor": "removal"}).status_code == 201
    grace = api.caller("grace")
    made = ask(grace, {**ASK, "role": "Own"})
    answer = grace.post(f"/approvals/{made['id']}", {"decision": "approve"}, code=True)
    assert (answer.status_code, answer.json()["detail"]) == (403, "nobody approves a request of their own")
    assert grace.get("/approvals").json()["items"] == []


# ------------------------------------------------------------------------------------------------------------ factors


def test_enrolment_by_invitation(api: ApiWorld, dave: Caller) -> None:
    bob = api.corp_caller("bob")
    assert bob.post("/me/factors").status_code == 403, "a CORP sign-in alone registers nothing"
    invited = dave.post("/factors/invitations", {"account": "priv.bob"})
    assert invited.status_code == 201
    made = bob.post("/me/factors", {"invitation": invited.json()["code"]})
    assert made.status_code == 201
    assert made.json()["uri"].startswith("otpauth://totp/")
    assert len(made.json()["recovery_codes"]) == 10
    assert [one["confirmed"] for one in bob.get("/me/factors").json()["items"]] == [False]
    secret = made.json()["uri"].partition("secret=")[2].partition("&")[0]
    confirmed = bob.post("/me/factors/confirm", {"code": _totp(secret, api)})
    assert (confirmed.status_code, confirmed.json()["method"]) == (200, "totp")
    api.clock.move(seconds=30)
    proved = bob.get("/whoami", headers={"Bastide-Code": _totp(secret, api)})
    assert proved.json()["mfa"]["method"] == "totp"
    assert bob.post("/me/factors").status_code in {403, 409}
    assert dave.delete("/factors/priv.bob").json() == {"account": "priv.bob", "removed": 1}
    assert dave.delete("/factors/priv.bob").status_code == 404
    assert dave.delete("/factors/CORP%5Cbob").status_code == 404


def _totp(secret: str, api: ApiWorld) -> str:
    import pyotp

    return str(pyotp.TOTP(secret).at(api.clock.now()))


def test_five_wrong_codes_lock_the_factor(api: ApiWorld, alice: Caller) -> None:
    wrong = api.wrong_code("alice")
    for _ in range(5):
        assert alice.get("/whoami", headers={"Bastide-Code": wrong}).status_code == 403
    assert "locked" in alice.get("/whoami", headers={"Bastide-Code": api.code("alice")}).json()["detail"]
    assert alice.get("/me/factors").json()["items"][0]["locked_until"] is not None


# -------------------------------------------------------------------------------------------------------------- roles


def test_a_role_from_dry_run_to_removal(api: ApiWorld, dave: Caller) -> None:
    window = {"days": [0, 4], "opens": "22:00", "closes": "06:00", "zone": "Europe/Zurich"}
    body = role_body(
        description="Name with ümlaut", window=window, ttl={"default": 600, "minimum": 300, "maximum": 900},
        stages=[{"name": "owners", "approvers": ["PRIV\\grace", "PRIV\\heidi"], "needed": 2}],
    )  # fmt: skip
    dry = dave.post("/roles?dry_run=true", body)
    assert (dry.status_code, dry.json()["dry_run"]) == (200, True)
    assert dave.get("/roles/New%20role").status_code == 404
    made = dave.post("/roles", body)
    assert made.status_code == 201
    assert "dry_run" not in made.json()
    assert dave.get(made.headers["location"].removeprefix("/api/v1")).json() == made.json()
    assert made.json()["window"] == window
    assert made.json()["privileges"][0]["name"] == "PAM-FileAdmins"
    assert dave.post("/roles", body).status_code == 409
    changed = {**body, "description": "", "mfa": False}
    dry = dave.put("/roles/New%20role?dry_run=true", changed).json()
    assert dry["dry_run"] is True
    assert dry["changes"] == {"description": ["Name with ümlaut", ""], "mfa": [True, False]}
    assert dave.get("/roles/New%20role").json()["mfa"] is True
    saved = dave.put("/roles/New%20role", {**changed, "version": made.json()["version"]}).json()
    assert saved["changes"] == dry["changes"]
    assert dave.get("/roles/New%20role").json()["mfa"] is False
    assert dave.delete("/roles/New%20role?dry_run=true").json()["dry_run"] is True
    assert dave.delete("/roles/New%20role").status_code == 200
    assert dave.delete("/roles/New%20role").status_code == 404


def test_a_change_that_somebody_else_made_is_not_overwritten(dave: Caller) -> None:
    path = "/roles/File%20administrators"
    first = dave.put(path, role_body(name="File administrators")).json()
    dave.put(path, role_body(name="File administrators", mfa=False, version=first["version"]))
    late = dave.put(path, role_body(name="File administrators", version=first["version"]))
    assert late.status_code == 409


@pytest.mark.parametrize("who", ["grace", "alice", "frank"])
def test_approvers_candidates_and_auditors_cannot_change_a_role(
    api: ApiWorld, dave: Caller, who: str
) -> None:
    caller = api.corp_caller(who) if who == "alice" else api.caller(who)
    before = dave.get("/roles/Approved").json()
    body = role_body(name="Approved", candidates=["PRIV\\grace"], owner_auto_approval=True)
    for answer in (
        caller.put("/roles/Approved", body),
        caller.put("/roles/Approved?dry_run=true", body),
        caller.post("/roles", role_body()),
        caller.delete("/roles/Approved"),
    ):
        assert answer.status_code == 403
    assert dave.get("/roles/Approved").json() == before


def test_a_role_with_an_open_request_stays(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    ask(alice, ASK_APPROVED)
    assert dave.delete("/roles/Approved").status_code == 409


# ------------------------------------------------------------------------------------------------------------ prepare


def test_people_and_groups(api: ApiWorld, dave: Caller, frank: Caller) -> None:
    dry = dave.post("/pam-users?dry_run=true", {"corp": "mallory"})
    assert (dry.status_code, dry.json()["dry_run"]) == (200, True)
    made = dave.post("/pam-users", {"corp": "mallory"})
    assert (made.status_code, made.json()["ticket_cap"]) == (201, 900)
    assert dave.post("/pam-users", {"corp": "mallory"}).status_code == 409
    assert dave.post("/pam-users", {"corp": "nobody"}).status_code == 404
    assert "priv.mallory" in [one["name"] for one in frank.get("/pam-users").json()["items"]]
    assert frank.get("/pam-users/priv.mallory").json() == made.json()
    assert dave.post("/pam-users/priv.mallory/password", {"password": "Correct-Horse-9"}).status_code == 204
    assert dave.delete("/pam-users/priv.mallory?dry_run=true").json()["dry_run"] is True
    assert dave.delete("/pam-users/priv.mallory?delete=true").status_code == 200
    assert dave.get("/pam-users/priv.mallory").status_code == 404
    assert dave.delete("/pam-users/priv.alice").status_code == 409, "still a candidate"
    assert dave.post("/pam-groups?dry_run=true", {"corp": "DbAdmins"}).json()["dry_run"] is True
    made = dave.post("/pam-groups", {"corp": "DbAdmins"})
    assert (made.status_code, made.json()["carrier"]) == (201, "foreign-principal")
    assert dave.get(made.headers["location"].removeprefix("/api/v1")).json()["name"] == "PAM-DbAdmins"
    assert len(frank.get("/pam-groups").json()["items"]) == 2
    assert dave.delete("/pam-groups/PAM-DbAdmins").status_code == 200
    assert dave.delete("/pam-groups/PAM-FileAdmins").status_code == 409, "given by a role"
    shadow = dave.post("/pam-groups", {"corp": "DbAdmins", "carrier": "shadow-principal"})
    assert (shadow.status_code, shadow.json()["code"]) == (501, "capability-missing")


def test_the_kill_switch(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    shown = active(api, alice)
    pending = ask(api.corp_caller("bob"), ASK_APPROVED)
    for wrong in (
        {"reason": "x"},
        {"reason": "x", "all": True, "role": "Approved"},
        {"reason": " ", "all": True},
    ):
        assert dave.post("/kill", wrong).status_code == 422
    killed = dave.post("/kill", {"reason": "incident 42", "user": "priv.alice"}).json()["items"]
    assert [(one["id"], one["state"]) for one in killed] == [(shown["id"], "Closing")]
    rest = dave.post("/kill", {"reason": "incident 42", "all": True}).json()["items"]
    assert [(one["id"], one["state"]) for one in rest] == [(pending["id"], "Cancelled")]
    api.work()
    assert alice.get(f"/requests/{shown['id']}").json()["state"] == "Closed"
    again = dave.post("/kill", {"reason": "x", "request": shown["id"]})
    assert again.status_code == 409, "nothing was ended"


# -------------------------------------------------------------------------------------------------------------- audit


def test_the_audit_tells_the_story(api: ApiWorld, alice: Caller, frank: Caller) -> None:
    shown = active(api, alice)
    records = frank.get(f"/audit?request={shown['id']}").json()
    kinds = [record["kind"] for record in records["items"]]
    assert (kinds[0], kinds[-1]) == ("request.submitted", "request.active")
    assert records["items"][0]["data"]["justification"] == "patch the server"
    assert (
        frank.get("/audit?kind=request.active&person=priv.alice").json()["items"][0]["request"] == shown["id"]
    )
    api.services.audit.checkpoint()
    verdict = frank.get("/audit/verification").json()
    assert (verdict["checkpoints"], verdict["signed"]) == (1, verdict["seq"])
    held = frank.get("/audit/holders?group=PAM-FileAdmins").json()["items"]
    assert [(one["person"], one["request"], one["until"]) for one in held] == [
        ("priv.alice", shown["id"], None)
    ]
    assert time(held[0]["true_end"]) == time(shown["true_end"])
    assert frank.get("/audit/holders?since=2030-01-01T00:00:00Z").json()["items"] == []


def test_the_audit_pages_by_sequence(frank: Caller) -> None:
    seen, after = [], 0
    while after is not None:
        page = frank.get(f"/audit?limit=2&after_seq={after}").json()
        seen += [record["seq"] for record in page["items"]]
        after = page["next_after_seq"]
    assert seen == list(range(1, len(seen) + 1))
    assert [one["seq"] for one in frank.get("/audit?newest=true&limit=2").json()["items"]] == seen[-2:]
    assert frank.get("/audit?newest=true&kind=x").status_code == 422


def test_the_export_can_be_verified_elsewhere(api: ApiWorld, alice: Caller, frank: Caller) -> None:
    from bastide.domain.audit import Record, verify

    active(api, alice)
    answer = frank.get("/audit/export")
    assert answer.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    records = [Record(**{**line, "at": time(line["at"])}) for line in lines]
    assert (
        len(list(verify(records, previous=GENESIS)))
        == len(records)
        == frank.get("/audit/verification").json()["seq"]
    )


def test_a_broken_chain_is_no_success(api: ApiWorld, frank: Caller) -> None:
    with api.store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS audit_update")
        triggers = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall()
        for (name,) in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql("UPDATE audit SET actor_name='nobody' WHERE seq=2")
    answer = frank.get("/audit/verification")
    assert (answer.status_code, answer.json()["code"]) == (500, "audit-broken")
    assert "record 2" in answer.json()["detail"]


class Prober:
    def test_domain(self, forest: Forest) -> tuple[Finding, ...]:
        return (Finding("clock", Severity.WARNING, f"the clock of {forest} is late", "9 s", "set it"),)

    def test_trust(self) -> tuple[Finding, ...]:
        return (Finding("trust", Severity.OK, "the trust works"),)


def test_the_directories_are_tested(api: ApiWorld, dave: Caller) -> None:
    assert dave.post("/directory/trust-tests").json()["code"] == "capability-missing"
    world = assemble(replace(api.adapters, prober=Prober()), api._preparation())
    with TestClient(create_app(world)) as client:
        api.client = client
        trust = dave.post("/directory/trust-tests").json()["items"]
        assert [(one["key"], one["severity"], one["forest"]) for one in trust] == [("trust", "ok", "")]
        found = dave.post("/directory/domain-tests").json()["items"]
        assert {one["forest"] for one in found} == {"priv", "corp"}
        one = dave.post("/directory/domain-tests?forest=corp").json()["items"]
        assert [(f["text"], f["evidence"], f["remedy"]) for f in one] == [
            ("the clock of corp is late", "9 s", "set it")
        ]
        assert dave.post("/directory/domain-tests?forest=moon").status_code == 422


def test_the_work_is_shown(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    ask(alice)
    rows = dave.get("/work").json()["items"]
    assert "account" in [row["kind"] for row in rows]
