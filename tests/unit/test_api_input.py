"""Bad input: refused with a reason, never a 500, and nothing a caller may not say is listened to (F1, F3, F9, F11)."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bastide.api.native import inputs
from bastide.domain.policy import OPEN_LIMIT, Draft
from bastide.domain.requests import Request, Vote
from tests.support.api import ASK, ApiWorld, Caller, role_body, served

pytest_plugins = ["tests.support.api"]
NAMES = [
    "*", ")(uid=*", "a*b", "a(b)", "a\\b", "CORP\\*", "a,b", "cn=a", "a/b", "../../etc/passwd", "a;b", "a'b", 'a"b',
    "' OR 1=1 --", "a%00b", "<script>", "{{7*7}}", "${x}", "é", "ü" * 256, "x" * 256, "x" * 257, "x" * 300,
    "名前", "🗝", "\u202eevil", "a\nb", "a\rb", "\t", " ", "", "-rf", "a\\5cb", "\ufeffa", "ﬀ", "İ",
]  # fmt: skip


@pytest.fixture(scope="module")
def shared() -> Iterator[ApiWorld]:
    with served() as world:
        yield world


@pytest.fixture
def alice(shared: ApiWorld) -> Caller:
    return shared.corp_caller("alice")


@pytest.fixture
def dave(shared: ApiWorld) -> Caller:
    return shared.caller("dave")


def refused(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:bastide:problem:{problem['code']}"
    assert problem["status"] == answer.status_code
    assert problem["detail"]


# ------------------------------------------------------------------------------------------------------- F1: no field


def spoofs() -> list[str]:
    """Every field of a request and of a vote that a caller might try to set, and some that others had."""
    known = {field.name for kind in (Request, Vote) for field in fields(kind)}
    others = {
        "status",
        "approver",
        "approvers",
        "approved_by",
        "approvedBy",
        "principalId",
        "principal",
        "subject",
    }
    return sorted((known | others | {"actor", "on_behalf_of", "sid", "method"}) - inputs_of(inputs.Ask))


def inputs_of(kind: type[msgspec.Struct]) -> set[str]:
    return set(kind.__struct_fields__)


@pytest.mark.parametrize("field", spoofs())
def test_a_field_that_is_not_the_callers_to_set_is_refused(
    shared: ApiWorld, alice: Caller, field: str
) -> None:
    for value in ("Active", True, None, [{"person": "x", "decision": "approve"}], {"approve": 1}):
        answer = alice.post("/requests", {**ASK, field: value})
        refused(answer, 422)
        assert answer.json()["field"] == field
    assert shared.events("request.submitted") == []


@pytest.mark.parametrize("path", ["mfa", "extension", "close"])
@pytest.mark.parametrize("field", ["state", "votes", "user", "approver", "ends_at", "outcome"])
def test_nor_in_later_steps(api: ApiWorld, path: str, field: str) -> None:
    alice = api.corp_caller("alice")
    made = alice.post("/requests", {**ASK, "role": "Approved"}, code=True).json()
    body = {"extension": {"seconds": 60}}.get(path, {})
    answer = alice.post(f"/requests/{made['id']}/{path}", {**body, field: "Active"})
    assert answer.status_code in {403, 409, 422}
    assert alice.get(f"/requests/{made['id']}").json() == made


def test_a_vote_says_decision_and_reason_and_nothing_else(api: ApiWorld) -> None:
    made = api.corp_caller("alice").post("/requests", {**ASK, "role": "Approved"}, code=True).json()
    for field in ("stage", "person", "voter", "name", "at", "state", "proof"):
        body = {"decision": "approve", field: "x"}
        refused(api.caller("grace").post(f"/approvals/{made['id']}", body, code=True), 422)
    assert api.corp_caller("alice").get(f"/requests/{made['id']}").json()["votes"] == []


def test_no_body_has_a_field_for_another_person() -> None:
    """F9: the subject of a request is the caller; Draft and Ask have no place for anybody else."""
    assert inputs_of(inputs.Ask) == {"role", "ttl_seconds", "start_at", "justification", "ticket"}
    assert inputs_of(inputs.Decide) == {"decision", "reason", "signature"}
    assert inputs_of(inputs.Signed) == {"challenge", "credential", "stage"}
    assert inputs_of(inputs.NewKey) == {"name", "challenge", "credential", "invitation"}
    drafted = {"ttl", "start_at", "justification", "ticket", "method", "key"}
    assert {field.name for field in fields(Draft)} == drafted


@pytest.mark.parametrize("parameter", ["user", "as", "actor", "principalId", "state"])
def test_no_query_names_another_person(shared: ApiWorld, alice: Caller, parameter: str) -> None:
    shown = alice.get(f"/whoami?{parameter}=priv.bob")
    assert shown.json()["name"] == "CORP\\alice"
    headers = {"X-Remote-User": "dave", "X-Forwarded-User": "PRIV\\dave", "Remote-User": "dave"}
    assert alice.get("/whoami", headers=headers).json()["name"] == "CORP\\alice"
    assert shared.anonymous().get("/whoami", headers=headers).status_code == 401


# --------------------------------------------------------------------------------------------------------- ask: values


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ttl_seconds", 0), ("ttl_seconds", -1), ("ttl_seconds", 1), ("ttl_seconds", 299), ("ttl_seconds", 28_801),
        ("ttl_seconds", 10**9), ("ttl_seconds", 10**30), ("ttl_seconds", 1.5), ("ttl_seconds", "600"),
        ("ttl_seconds", True), ("ttl_seconds", [600]), ("ttl_seconds", "1h"),
        ("start_at", "2026-11-20T10:00:00"), ("start_at", "tomorrow"), ("start_at", 1_800_000_000), ("start_at", ""),
        ("start_at", "2020-01-01T00:00:00Z"), ("start_at", "2099-01-01T00:00:00Z"), ("start_at", "2026-13-40T00:00:00Z"),
        ("start_at", "0001-01-01T00:00:00+23:59"), ("start_at", "9999-12-31T23:59:59-23:59"),
        ("justification", "x" * 401), ("justification", ""), ("justification", "   "), ("justification", None),
        ("justification", "a\u0000b"), ("justification", "a\u202eb"), ("justification", "a\x1b[2Jb"), ("justification", 7),
        ("ticket", "x" * 101), ("ticket", "a\u0000"), ("ticket", {}),
        ("role", ""), ("role", None), ("role", 5), ("role", ["File administrators"]), ("role", "x" * 257),
    ],
)  # fmt: skip
def test_values_that_cannot_be_right(shared: ApiWorld, alice: Caller, field: str, value: object) -> None:
    answer = alice.post("/requests", {**ASK, field: value})
    refused(answer, 422)
    assert answer.json()["field"].startswith(field.removesuffix("_seconds"))
    assert shared.events("request.submitted") == []


@pytest.mark.parametrize("value", ["x" * 400, "ü" * 400, "line\nline", "名前 🗝", "' OR 1=1 --", "*)(uid=*"])
def test_words_that_are_right(api: ApiWorld, value: str) -> None:
    answer = api.corp_caller("alice").post("/requests", {**ASK, "justification": value})
    assert answer.status_code == 201
    assert answer.json()["justification"] == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nothing", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b'{"role": "x", }', b"{'role': 'x'}", b"\x00",
        b"[" * 10_000, b'{"role":' * 3000, b'{"role":"\\ud800"}', b"<a/>", b"role=x", b'{"role":NaN}', b'{"a":1}' * 2,
        b'{"role":"\xc3\x28"}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_request(alice: Caller, body: bytes) -> None:
    answer = alice.call("POST", "/requests", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 400, 422)


@pytest.mark.parametrize("name", NAMES)
def test_names_with_metacharacters(shared: ApiWorld, alice: Caller, dave: Caller, name: str) -> None:
    refused(alice.post("/requests", {**ASK, "role": name}), 404, 409, 422)
    refused(dave.post("/pam-users", {"corp": name}), 404, 422)
    refused(dave.post("/pam-groups", {"corp": name}), 404, 422)
    refused(dave.post("/factors/invitations", {"account": name}), 404, 422)
    refused(dave.post("/kill", {"reason": "x", "role": name, "user": ""}), 404, 422)
    refused(dave.post("/roles", role_body(candidates=[f"CORP\\{name}"])), 404, 422)
    refused(dave.post("/roles", role_body(privileges=[name])), 404, 422)
    assert shared.anonymous().post(
        "/sessions", {"account": f"CORP\\{name}"[:256], "password": "x"}
    ).status_code in {401, 422, 429}


@pytest.mark.parametrize("name", [n for n in NAMES if n.strip() and "/" not in n])
def test_names_in_paths(dave: Caller, shared: ApiWorld, name: str) -> None:
    from urllib.parse import quote

    for path in ("/roles/{}", "/pam-users/{}", "/pam-groups/{}", "/factors/{}"):
        method = "DELETE" if path.startswith("/factors") else "GET"
        refused(dave.call(method, path.format(quote(name, safe=""))), 400, 404, 422)
    refused(shared.corp_caller("alice").get(f"/requests/{quote(name, safe='')}"), 400, 422)


@pytest.mark.parametrize(
    "id_", ["x", "0", "1e5", "00000000", "../x", "*", "x" * 500, "00000000-0000-0000-0000-00000000000g"]
)
def test_an_id_that_is_none(alice: Caller, id_: str) -> None:
    for method, path in (("GET", ""), ("POST", "/mfa"), ("POST", "/close")):
        refused(alice.call(method, f"/requests/{id_}{path}", code=True), 404, 422)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/requests?limit=0", 422), ("/requests?limit=501", 422), ("/requests?limit=x", 422),
        ("/requests?limit=99999999999999999999999", 422), ("/requests?before=yesterday", 422),
        ("/requests?before=2026-01-01T00:00:00", 422), ("/requests?before=2026-13-01T00:00:00Z", 422),
        ("/requests?before=0001-01-01T00:00:00%2B23:59", 200), ("/requests?before=9999-12-31T23:59:59-23:59", 200),
        ("/requests?before=%00", 400), ("/requests?before=" + "1" * 100, 422), ("/requests?before=1e9", 422),
        ("/audit?after_seq=-1", 422), ("/audit?after_seq=9223372036854775808", 422), ("/audit?limit=1001", 422),
        ("/audit?since=x", 422), ("/audit?kind=" + "x" * 257, 422), ("/audit?person=%27%20OR%201=1", 200),
        ("/audit/holders?person=nobody", 404), ("/audit/holders?group=*", 404), ("/admin/requests?user=*", 404),
        ("/audit?newest=perhaps", 422),
    ],
)  # fmt: skip
def test_queries(shared: ApiWorld, alice: Caller, path: str, status: int) -> None:
    caller = alice if path.startswith("/requests") else shared.caller("frank")
    assert caller.get(path).status_code == status, path


# --------------------------------------------------------------------------------------------------------------- roles


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"created_at": "2026-01-01T00:00:00Z"}, {"enforcer": "removal"}, {"name": ""}, {"name": "a\nb"},
        {"privileges": []}, {"privileges": ["PAM-FileAdmins"] * 2}, {"privileges": ["x"] * 501}, {"privileges": "PAM"},
        {"candidates": []}, {"candidates": ["alice"]}, {"candidates": ["NOWHERE\\alice"]},
        {"ttl": {"default": 60, "minimum": 300, "maximum": 900}}, {"ttl": {"default": -1}}, {"ttl": {"longest": 1}},
        {"ttl": 3600}, {"ttl": None}, {"pending_life": 0}, {"pending_life": 10**12}, {"pending_life": 1},
        {"stages": [{"name": "a", "approvers": []}]}, {"stages": [{"name": "a", "approvers": ["PRIV\\grace"], "needed": 0}]},
        {"stages": [{"name": "a", "approvers": ["PRIV\\grace"], "needed": 2}]},
        {"stages": [{"name": "a", "approvers": ["PRIV\\grace"]}] * 2}, {"stages": [{"name": "a"}] * 11},
        {"stages": [{"name": "a", "approvers": ["CORP\\alice"]}]},
        {"window": {"days": [], "opens": "08:00", "closes": "18:00", "zone": "UTC"}},
        {"window": {"days": [7], "opens": "08:00", "closes": "18:00", "zone": "UTC"}},
        {"window": {"days": [1], "opens": "8:00", "closes": "18:00", "zone": "UTC"}},
        {"window": {"days": [1], "opens": "24:00", "closes": "18:00", "zone": "UTC"}},
        {"window": {"days": [1], "opens": "08:00", "closes": "08:00", "zone": "UTC"}},
        {"window": {"days": [1], "opens": "08:00", "closes": "18:00", "zone": "../../etc/passwd"}},
        {"window": {"days": [1], "opens": "08:00", "closes": "18:00", "zone": "Nowhere/Land"}},
        {"window": {"days": [1], "opens": "08:00", "closes": "18:00", "zone": "/etc/localtime"}},
        {"ticket_pattern": "("}, {"ticket_pattern": "(a+)+"}, {"ticket_pattern": "(?=a)"}, {"ticket_pattern": "x" * 201},
        {"ticket_pattern": "a{99999999999999999999}"}, {"ticket_pattern": "[a-z]{1,9999999999}"},
        {"ticket_pattern": "[[a]"}, {"ticket_pattern": "((a|a))+"}, {"ticket_pattern": "(aa?)+"}, {"ticket_pattern": "a?" * 30},
        {"ticket_pattern": ".*" * 8 + "x"}, {"ticket_pattern": "[a--b]"}, {"floor": "none"}, {"mfa": "false"}, {"mfa": 0}, {"version": -1}, {"version": "0"},
        {"description": "x" * 1001},
    ],
    ids=str,
)  # fmt: skip
def test_rules_that_cannot_be_right(shared: ApiWorld, dave: Caller, change: dict[str, Any]) -> None:
    before = dave.get("/roles").json()
    refused(dave.post("/roles", role_body(**change)), 404, 422)
    refused(dave.put("/roles/Approved", {**role_body(name="Approved"), **change}), 404, 422)
    assert dave.get("/roles").json() == before


@pytest.mark.parametrize(
    "pattern", ["(INC|CHG)-[0-9]{4,8}", r"[A-Z]{2,10}-\d+", "(RFC-)?[0-9]+", "[A-Z_-]{3}x", ""]
)
def test_ticket_patterns_that_people_write(dave: Caller, pattern: str) -> None:
    assert dave.post("/roles?dry_run=true", role_body(ticket_pattern=pattern)).status_code == 200


# ---------------------------------------------------------------------------------------------------------- F3 and F11


def test_open_requests_are_capped(api: ApiWorld) -> None:
    dave, alice = api.caller("dave"), api.corp_caller("alice")
    for number in range(OPEN_LIMIT + 1):
        assert dave.post("/roles", role_body(name=f"Role {number}")).status_code == 201
    answers = [alice.post("/requests", {**ASK, "role": f"Role {number}"}) for number in range(OPEN_LIMIT + 1)]
    assert [answer.status_code for answer in answers] == [201] * OPEN_LIMIT + [409]
    assert alice.post("/requests", {**ASK, "role": "Role 0"}).status_code == 409, "pending already"


def test_no_success_when_nothing_changed(api: ApiWorld) -> None:
    """Each move a second time, or in a state that does not allow it, is no 2xx (F11)."""
    alice, grace = api.corp_caller("alice"), api.caller("grace")
    made = alice.post("/requests", {**ASK, "role": "Approved"}, code=True).json()
    path = f"/requests/{made['id']}"
    assert alice.post(f"{path}/mfa", code=True).status_code == 409
    assert alice.post(f"{path}/extension", {"seconds": 60}, code=True).status_code == 409
    api.clock.move(hours=25)
    assert grace.post(f"/approvals/{made['id']}", {"decision": "approve"}, code=True).status_code == 409, (
        "too late"
    )
    api.work()
    assert alice.get(path).json()["state"] == "Expired"
    assert alice.post(f"{path}/close").status_code == 409
    assert api.events("request.vote.approve") == []


def test_what_the_directory_cannot_do_is_said(api: ApiWorld) -> None:
    alice = api.corp_caller("alice")
    for name in ("privdc",):
        api.priv.cut(name)
    answer = alice.post("/requests", ASK)
    refused(answer, 503)
    assert answer.headers["retry-after"]
    assert answer.json()["code"] == "directory-unavailable"
    api.priv.heal("privdc")
    api.corp.cut("corpdc")
    refused(alice.get("/whoami"), 503)


def test_a_defect_shows_an_incident_id_and_nothing_else(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("canary-in-a-message")

    monkeypatch.setattr(api.services.requests.__class__, "offers", broken)
    answer = api.corp_caller("alice").get("/offers")
    refused(answer, 500)
    assert "canary" not in answer.text
    assert answer.json()["incident"] in caplog.text
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


def test_a_scheduled_request_waits(api: ApiWorld) -> None:
    start = api.clock.now() + timedelta(hours=2)
    alice = api.corp_caller("alice")
    made = alice.post("/requests", {**ASK, "start_at": start.isoformat()}, code=True).json()
    assert made["state"] == "Scheduled"
    assert alice.post(f"/requests/{made['id']}/close").json()["state"] == "Cancelled"
