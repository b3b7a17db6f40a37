"""What the PowerShell module sends and reads, beside the server: its OpenAPI description, and the application itself.

The bodies of `TAKEN` have the fields that the module sends, no more and no fewer, in the form in which it sends them: the server must take them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from bastide.domain.health import Severity
from bastide.domain.people import Forest
from bastide.domain.requests import OPEN, Decision, State
from bastide.domain.roles import Carrier
from bastide.http.door import CODE_HEADER
from tests.support import powershell as ps
from tests.support.api import ApiWorld, Caller, served

API = "/api/v1"
Send = Callable[[ApiWorld, dict[str, Any]], httpx.Response]
#: Functions that turn an answer into an object, by what they are given.
READERS = {
    "ConvertTo-PAMUser": "PamUserView",
    "Get-BastideSubject": "PamUserView",
    "ConvertTo-PAMSubject": "SubjectView",
    "ConvertTo-PAMGroup": "PamGroupView",
    "ConvertTo-PAMRole": "RoleView",
    "ConvertTo-PAMRoleForRequest": "OfferView",
    "ConvertTo-PAMRequest": "RequestView",
    "ConvertTo-PAMRequestToApprove": "RequestView",
}
FIELD = re.compile(r"[a-z][a-z_]*")


@pytest.fixture(scope="module", name="api")
def _api() -> Iterator[ApiWorld]:
    with served() as world:
        yield world


@pytest.fixture(scope="module", name="document")
def _document(api: ApiWorld) -> dict[str, Any]:
    found: dict[str, Any] = api.anonymous().get("/openapi.json").json()
    return found


def _schema(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["components"]["schemas"][name]
    return found


def _sent(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an operation's body."""
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return _schema(document, reference.rpartition("/")[2])


# ---------------------------------------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize("call", ps.calls(), ids=lambda c: f"{c.function.name} {c.method} {c.path}")
def test_the_server_has_every_call(call: ps.Call, document: dict[str, Any]) -> None:
    item = document["paths"][API + call.path]
    operation = item[call.method.lower()]
    assert call.key == ("{" in call.path)
    known = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
    assert call.query <= known
    if call.body is None:
        assert not operation.get("requestBody", {}).get("required", False)
    elif call.function.name != "Set-PAMRole":  # a role's body is that of the role that was read: below
        schema = _sent(document, operation)
        assert call.body
        assert call.body <= set(schema["properties"])
        assert set(schema.get("required", ())) <= call.body


def test_pages_are_asked_for_as_the_server_gives_them() -> None:
    node = ps.functions()["Get-BastidePage"].node
    (call,) = (c for c in ps.functions()["Get-BastidePage"].commands if c.name == "Invoke-BastideApi")
    query = call.arguments["Query"]
    assert query is not None
    assert ps.hash_keys(query) == {"limit", "before", "user"}
    assert "limit = 500" in ps.text(query)
    assert "$before = $page.next_before" in ps.text(node)


def test_a_role_that_is_changed_keeps_every_rule(document: dict[str, Any]) -> None:
    """What the module does not name it carries over: a rule that is left out would get its default, and could be weaker."""
    shown, taken = (set(_schema(document, name)["properties"]) for name in ("RoleView", "RoleIn"))
    source = (ps.MODULE / "Private/Rules.ps1").read_text()
    line = re.search(r"^\$script:ShownOnly = @\((.*)\)$", source, re.MULTILINE)
    assert line is not None
    assert set(re.findall(r"'(\w+)'", line[1])) == shown - taken
    assert taken <= shown


def _set_on(variable: str, *functions: str) -> set[str]:
    """Keys that functions set on a body they are given."""
    pattern = re.compile(rf"\{variable}\['(\w+)'\]\s*=[^=]")
    return {key for name in functions for key in pattern.findall(ps.text(ps.functions()[name].node))}


def test_what_is_written_into_a_role_is_a_rule(document: dict[str, Any]) -> None:
    written = _set_on("$Rules", "Edit-BastideRules", "Edit-BastideGates", "Set-BastideTtl") | _set_on(
        "$rules", "ConvertTo-BastideRules"
    )
    assert written == {
        *(
            "name",
            "description",
            "mfa",
            "candidates",
            "privileges",
            "owner_auto_approval",
            "ttl",
            "stages",
            "window",
        ),
    }
    assert written <= set(_schema(document, "RoleIn")["properties"])


@pytest.mark.parametrize(
    ("function", "schema"),
    [("Get-BastideStage", "StageIn"), ("Get-BastideWindow", "WindowIn"), ("Set-BastideTtl", "TtlIn")],
)
def test_parts_of_a_role_are_whole(function: str, schema: str, document: dict[str, Any]) -> None:
    assert ps.hash_keys(ps.functions()[function].node) == set(_schema(document, schema)["properties"])


def test_words_are_the_servers() -> None:
    def texts(function: str) -> set[str]:
        return {ps.literal(one) for one in ps.of_type(ps.functions()[function].node, "string_literal")}

    assert set(Decision) == texts("Set-PAMRequestToApprove") & {"approve", "reject"}
    carriers = ps.functions()["New-PAMGroup"].parameters["Carrier"].attributes["ValidateSet"]
    assert set(carriers.values()) == set(Carrier)
    forests = (
        ps.functions()["Test-PAMDomainConfiguration"].parameters["SourceDomain"].attributes["ValidateSet"]
    )
    assert {one.lower() for one in forests.values()} == set(Forest)
    assert {"ok", "error"} <= texts("Test-PAMTrust") & set(Severity)
    assert texts("Get-BastideOpenRequests") & set(State) == OPEN - {
        State.CLOSING
    }  # that one is ending already
    named = texts("Get-BastideStates")
    assert named & set(State) == named
    assert set(State) - named == {State.SCHEDULED, State.PROCESSING, State.CLOSING}
    assert "PendingMFA" in texts("New-PAMRequest") & set(State)


def test_the_code_goes_in_the_servers_header() -> None:
    source = (ps.MODULE / "Private/Connection.ps1").read_text()
    assert f"$script:CodeHeader = '{CODE_HEADER.title()}'" in source


# ---------------------------------------------------------------------------------------------------------------- what is read


def _chains(function: ps.Function, variable: str) -> set[tuple[str, ...]]:
    """What is read off a variable: `$Answer.corp.dn` as ("corp", "dn")."""
    nodes = ps.of_type(function.node, "member_access")
    found = (re.fullmatch(rf"\{variable}((?:\.\w+)+)", ps.text(one)) for one in nodes)
    return {tuple(match[1][1:].split(".")) for match in found if match is not None}


def _has(document: Mapping[str, Any], schema: Mapping[str, Any], chain: tuple[str, ...]) -> bool:
    while "$ref" in schema:
        schema = _schema(document, schema["$ref"].rpartition("/")[2])
    if "oneOf" in schema:
        return any(_has(document, one, chain) for one in schema["oneOf"])
    if not chain:
        return True
    inner = schema.get("properties", {}).get(chain[0])
    return inner is not None and _has(document, inner, chain[1:])


@pytest.mark.parametrize("name", READERS)
def test_every_field_that_is_read_is_in_the_answer(name: str, document: dict[str, Any]) -> None:
    chains = _chains(ps.functions()[name], "$Answer")
    assert chains
    for chain in chains:
        assert _has(document, _schema(document, READERS[name]), chain), chain


def test_every_name_of_a_field_is_one(document: dict[str, Any]) -> None:
    """Also where it is read off something else than `$Answer`. Properties of PowerShell have capitals, those of the API have none."""
    known = {name for one in document["components"]["schemas"].values() for name in one.get("properties", {})}
    for function in ps.functions().values():
        for node in ps.of_type(function.node, "member_name"):
            name = ps.text(node)
            if FIELD.fullmatch(name) and "::" not in ps.text(node.parent or node):
                assert name in known, f"{function.name}: {name}"


# ------------------------------------------------------------------------------------------------------------ the server takes it


def _alice(api: ApiWorld) -> Caller:
    return api.corp_caller("alice")


def _waiting(api: ApiWorld) -> str:
    """A request of alice's that waits for approval."""
    alice = _alice(api)
    asked = {"role": "Approved", "justification": "figures"}
    made = alice.post("/requests", asked, code=True)
    if made.status_code == 409:
        waiting = next(
            one for one in alice.get("/requests").json()["items"] if one["state"] == "PendingApproval"
        )
        return str(waiting["id"])
    assert made.json()["state"] == "PendingApproval", made.text
    return str(made.json()["id"])


def _planned(api: ApiWorld, path: str, body: dict[str, Any]) -> str:
    """The SID of what the server would take: asked first, as the module does."""
    planned = api.caller("dave").post(path, body, params={"dry_run": "true"}).json()
    assert planned["priv"]["dn"]
    assert planned["dry_run"] is True
    return str(planned["corp"]["sid"])


def _ask(api: ApiWorld, body: dict[str, Any]) -> httpx.Response:
    return api.corp_caller("bob").post("/requests", body, code=True)


def _decide(api: ApiWorld, body: dict[str, Any]) -> httpx.Response:
    return api.caller("grace").post(f"/approvals/{_waiting(api)}", body, code=True)


def _kill(api: ApiWorld, body: dict[str, Any]) -> httpx.Response:
    return api.caller("dave").post("/kill", {**body, "request": _waiting(api)})


def _add_user(api: ApiWorld, body: dict[str, Any]) -> httpx.Response:
    return api.caller("dave").post("/pam-users", {**body, "corp": _planned(api, "/pam-users", body)})


def _add_group(api: ApiWorld, body: dict[str, Any]) -> httpx.Response:
    return api.caller("dave").post("/pam-groups", {**body, "corp": _planned(api, "/pam-groups", body)})


def _set_password(api: ApiWorld, body: dict[str, Any]) -> httpx.Response:
    user = api.caller("dave").get("/pam-users/priv.alice").json()["id"]
    return api.caller("dave").post(f"/pam-users/{user}/password", body)


ROLE = {
    "name": "From PowerShell",
    "description": "",
    "privileges": ["PAM-FileAdmins"],
    "candidates": ["CORP\\alice"],
    "mfa": True,
    "justification": False,
    "owner_auto_approval": False,
    "stages": [{"name": "owners", "approvers": ["PRIV\\grace"], "needed": 1}],
    "window": {"days": [0, 1, 2, 3, 4, 5, 6], "opens": "22:00", "closes": "06:00", "zone": "Europe/Berlin"},
}
TAKEN: dict[str, tuple[dict[str, Any], Send]] = {
    "New-BastideConnection": (
        {"account": "CORP\\alice", "password": "alice-corp-pw", "code": ""},
        lambda api, body: api.anonymous().post("/sessions", body),
    ),
    "New-PAMRequest": (
        {
            "role": "File administrators",
            "justification": "figures",
            "ticket": "",
            "ttl_seconds": 900,
            "start_at": "2026-11-20T12:00:00.000Z",
        },
        _ask,
    ),
    "Close-PAMRequest": (
        {"reason": ""},
        lambda api, body: _alice(api).post(f"/requests/{_waiting(api)}/close", body),
    ),
    "Set-PAMRequestToApprove": (
        {"decision": "reject", "reason": "rejected (Set-PAMRequestToApprove)"},
        _decide,
    ),
    "Close-PAMRequestForControl": (
        {"reason": "ended (Close-PAMRequestForControl)", "request": "", "role": "", "user": "", "all": False},
        _kill,
    ),
    "New-PAMUser": ({"corp": "mallory", "priv_name": "", "adopt": False}, _add_user),
    "New-PAMUser password": ({"password": "Not-A-Real-One-42"}, _set_password),
    "New-PAMGroup": ({"corp": "DbAdmins", "carrier": "foreign-principal"}, _add_group),
    "New-PAMRole": (ROLE, lambda api, body: api.caller("dave").post("/roles", body)),
}


def test_every_body_is_tried() -> None:
    sent = {
        (c.function.name, c.body)
        for c in ps.calls()
        if c.body is not None and c.function.name != "Set-PAMRole"
    }
    assert sent == {(name.partition(" ")[0], frozenset(body)) for name, (body, _) in TAKEN.items()}


@pytest.mark.parametrize("name", TAKEN)
def test_the_server_takes_what_is_sent(name: str) -> None:
    body, send = TAKEN[name]
    with served() as api:
        answer = send(api, body)
    assert answer.status_code in {200, 201, 204}, answer.text


def test_a_role_goes_back_as_it_came() -> None:
    """What Set-PAMRole sends for a role in which nothing is changed but the text; it comes back with that change alone."""
    with served() as api:
        dave = api.caller("dave")
        read = dave.get("/roles/Approved").json()
        rules = {name: value for name, value in read.items() if name not in {"id", "created_at"}}
        rules["privileges"] = [one["id"] for one in read["privileges"]]
        rules["candidates"] = [one["name"] for one in read["candidates"]]
        rules["stages"] = [
            {"name": s["name"], "approvers": [a["name"] for a in s["approvers"]], "needed": s["needed"]}
            for s in read["stages"]
        ]
        answer = dave.put(f"/roles/{read['id']}", {**rules, "description": "for the night"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["changes"] == {"description": ["", "for the night"]}


def test_a_request_waits_for_the_code_and_takes_it() -> None:
    """New-PAMRequest without a code, then Confirm-PAMRequest."""
    with served() as api:
        alice = _alice(api)
        made = alice.post(
            "/requests", {"role": "File administrators", "justification": "figures", "ticket": ""}
        )
        assert made.json()["state"] == "PendingMFA"
        path = f"/requests/{made.json()['id']}"
        refused = alice.post(f"{path}/mfa")
        assert refused.json()["code"] == "mfa-refused"
        assert alice.post(f"{path}/mfa", code=True).json()["state"] == "Processing"


def test_a_problem_has_what_is_read_of_it(document: dict[str, Any]) -> None:
    read = _chains(ps.functions()["ConvertTo-BastideProblem"], "$said")
    assert read == {("detail",), ("field",), ("incident",), ("code",), ("remedy",)}
    assert {one[0] for one in read} <= set(_schema(document, "Problem")["properties"])


def test_codes_that_have_a_category_are_codes() -> None:
    """Beside four of the module's own."""
    source = (ps.MODULE / "Private/Problems.ps1").read_text()
    table = source[source.index("$script:Categories") : source.index("function")]
    keys = set(re.findall(r"^\s+'([a-z-]+)'\s+=", table, re.MULTILINE))
    documented = set(
        re.findall(r"^\| `([a-z-]+)` \|", (ps.ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE)
    )
    assert keys - documented == {"unavailable", "certificate", "filter", "usage"}
