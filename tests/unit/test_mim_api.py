"""MIM's PAM REST API through the whole application: what clients of MIM send, what they read, and what they stumble over.

The answers are in tests/data/mim/, one file each; ids and times in them are those of the seeded world.
"""

import time
from typing import Any

import httpx
import pytest

from bastide.api.mim import routes
from tests.support.api import MIM, NOBODYS, ApiWorld, Caller, golden, holds_access, served, values

pytest_plugins = ["tests.support.api"]
FORM = "application/x-www-form-urlencoded; charset=UTF-8"


def call(caller: Caller, method: str, path: str, **options: Any) -> httpx.Response:
    return caller.send(method, f"{MIM}/{path}", **options)


def role_id(caller: Caller, name: str = "File administrators") -> str:
    found = values(call(caller, "GET", f"pamroles?$filter=DisplayName eq '{name}'"))
    return str(found[0]["RoleId"])


def submit(api: ApiWorld, caller: Caller, name: str = "File administrators", **more: str) -> dict[str, Any]:
    """As jQuery sends it."""
    form = {
        "Justification": "patch the server", "RoleId": role_id(caller, name), "RequestedTTL": "3600",
        "RequestedTime": "", **more,
    }  # fmt: skip
    answer = call(caller, "POST", "pamrequests", code=True, data=form, headers={"Content-Type": FORM})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def error(answer: httpx.Response) -> str:
    said = answer.json()["odata.error"]
    assert said["message"]["lang"] == "en-US"
    return str(said["message"]["value"])


# ------------------------------------------------------------------------------------------------------------- resources


def test_roles_as_the_golden_file_has_them(api: ApiWorld, alice: Caller) -> None:
    golden("mim/pamroles", call(alice, "GET", "pamroles?v=1"))


def test_requests_and_the_answer_to_a_new_one_as_the_golden_files_have_them(
    api: ApiWorld, alice: Caller
) -> None:
    form = {"RoleId": role_id(alice), "RequestedTTL": "3600", "Justification": "patch <b>it</b>"}
    golden("mim/created", call(alice, "POST", "pamrequests", code=True, json=form))
    api.work()
    golden("mim/pamrequests", call(alice, "GET", "pamrequests"))


def test_what_waits_for_an_approver_as_the_golden_file_has_it(api: ApiWorld, alice: Caller) -> None:
    submit(api, alice, "Approved")
    golden("mim/pamrequeststoapprove", call(api.caller("grace"), "GET", "pamrequeststoapprove"))


def test_who_is_signed_in_is_an_array_of_one(api: ApiWorld, alice: Caller) -> None:
    golden("mim/sessioninfo", call(alice, "GET", "sessioninfo/"))


def test_an_error_as_the_golden_file_has_it(api: ApiWorld, alice: Caller) -> None:
    answer = call(
        alice,
        "POST",
        "pamrequests",
        code=True,
        json={"RoleId": role_id(alice), "RequestedTTL": 9e6},
    )
    assert answer.status_code == 400
    golden("mim/error", answer)


# -------------------------------------------------------------------------------------------------------------- journeys


def test_the_portals_journey_from_asking_to_giving_back(api: ApiWorld, alice: Caller) -> None:
    made = submit(api, alice)
    assert made["odata.metadata"].endswith("/api/pamresources/$metadata#pamrequests/@Element")
    api.work()
    now = api.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
    active = values(call(alice, "GET", f"pamrequests?$filter=ExpirationTime%20gt%20datetime%27{now}%27"))
    assert [(one["RequestId"], one["RequestStatus"]) for one in active] == [(made["RequestId"], "Active")]
    assert holds_access(api)
    given_back = submit(api, alice, RequestedTTL="0")
    assert (given_back["RequestId"], given_back["RequestedTTL"]) == (made["RequestId"], "0")
    assert given_back["RequestStatus"] == "Closing"
    api.work()
    assert not holds_access(api)
    assert values(call(alice, "GET", "pamrequests"))[0]["RequestStatus"] == "Closed"


def test_giving_back_what_one_has_not_changes_nothing_and_says_so(api: ApiWorld, alice: Caller) -> None:
    before = api.events()
    form = {"RoleId": role_id(alice), "RequestedTTL": "0"}
    answer = call(alice, "POST", "pamrequests", data=form)
    assert (answer.status_code, api.events()) == (409, before)
    assert "no access by File administrators" in error(answer)


def test_asking_again_while_active_is_how_the_portal_extends(api: ApiWorld, alice: Caller) -> None:
    submit(api, alice)
    api.work()
    api.clock.move(minutes=30)
    submit(api, alice)
    api.work()
    states = [one["RequestStatus"] for one in values(call(alice, "GET", "pamrequests"))]
    assert states == ["Active", "Active"]
    api.clock.move(minutes=40)
    api.work()
    assert holds_access(api), "the second grant goes on after the end of the first"


def test_close_answers_with_nothing_that_jquery_takes_for_broken_json(api: ApiWorld, alice: Caller) -> None:
    made = submit(api, alice)
    answer = call(alice, "POST", f"pamrequests(guid'{made['RequestId']}')/Close")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "json" not in answer.headers["content-type"]
    assert values(call(alice, "GET", "pamrequests"))[0]["RequestStatus"] == "Closing"


@pytest.mark.parametrize(("action", "state"), [("Approve", "Processing"), ("Reject", "Rejected")])
def test_an_approver_decides(api: ApiWorld, alice: Caller, action: str, state: str) -> None:
    submit(api, alice, "Approved")
    grace = api.caller("grace")
    key = values(call(grace, "GET", "pamrequeststoapprove"))[0]["ApprovalObjectID"]["Value"]
    answer = call(grace, "POST", f"pamrequeststoapprove(guid'{key}')/{action}", code=True)
    assert (answer.status_code, answer.content) == (200, b"")
    assert values(call(alice, "GET", "pamrequests"))[0]["RequestStatus"] == state
    assert values(call(grace, "GET", "pamrequeststoapprove")) == []


def test_an_approval_without_a_second_factor_is_refused(api: ApiWorld, alice: Caller) -> None:
    made = submit(api, alice, "Approved")
    answer = call(api.caller("grace"), "POST", f"pamrequeststoapprove(guid'{made['RequestId']}')/Approve")
    assert (answer.status_code, "second factor" in error(answer)) == (403, True)


def test_a_time_to_start_without_a_zone_is_one_of_the_servers(
    api: ApiWorld, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        made = submit(api, alice, RequestedTime="2026/11/21 23:40")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (made["RequestStatus"], made["RequestedTime"]) == ("Scheduled", "2026-11-22T07:40:00Z")


def test_more_requests_than_one_page_holds_are_all_shown(
    api: ApiWorld, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "HISTORY_LIMIT", 2)
    for _ in range(5):
        made = submit(api, alice)
        call(alice, "POST", f"pamrequests(guid'{made['RequestId']}')/Close")
        api.work()
    assert len({one["RequestId"] for one in values(call(alice, "GET", "pamrequests"))}) == 5


# ------------------------------------------------------------------------------------------------------------------ traps


def test_no_time_is_ever_null(api: ApiWorld, alice: Caller) -> None:
    submit(api, alice, "Approved")
    shown = values(call(alice, "GET", "pamrequests")) + values(call(alice, "GET", "pamroles"))
    times = {"CreationTime", "RequestedTime", "ExpirationTime", "AvailableFrom", "AvailableTo"}
    assert all(isinstance(one[name], str) for one in shown for name in times & one.keys())
    assert shown[0]["ExpirationTime"] == "0001-01-01T00:00:00"


def test_hostile_names_come_back_as_text(api: ApiWorld, alice: Caller) -> None:
    hostile = "</script><img src=x onerror=alert(1)>'\"\u202e"
    made = submit(api, alice, Justification=hostile.replace("\u202e", ""))
    assert made["Justification"] == hostile.replace("\u202e", "")
    assert call(alice, "GET", "pamrequests").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Referer": "https://evil.example/form.html"},
    ],
)
@pytest.mark.parametrize("path", ["pamrequests", f"pamrequests(guid'{NOBODYS}')/Close"])
def test_a_form_of_another_site_is_refused(
    api: ApiWorld, alice: Caller, headers: dict[str, str], path: str
) -> None:
    form = {"RoleId": role_id(alice), "RequestedTTL": "3600"}
    answer = call(alice, "POST", path, data=form, headers=headers)
    assert answer.status_code == 403
    assert "another web site" in error(answer)
    assert "request.submitted" not in api.events()


def test_a_portal_on_another_origin_works_when_it_is_named() -> None:
    origin = {"Origin": "https://portal.example:8090", "Sec-Fetch-Site": "cross-site"}
    with served(origins=["https://portal.example:8090"]) as api:
        alice = api.corp_caller("alice")
        answer = call(alice, "GET", "pamroles", headers=origin)
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
        assert answer.headers["access-control-allow-credentials"] == "true"
        asked = {
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        preflight = api.client.request("OPTIONS", f"{MIM}/pamrequests", headers=asked)
        assert preflight.status_code in {200, 204}
        assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
        form = {"RoleId": role_id(alice), "RequestedTTL": "3600", "Justification": "x"}
        assert call(alice, "POST", "pamrequests", code=True, data=form, headers=origin).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "pamroles?$filter=Nothing eq 'x'", 400, "no property"),
        ("GET", "pamroles?$top=1", 400, "$top: is not known here"),
        ("GET", "pamroles?v=2", 400, "no such version"),
        ("GET", "nothing", 404, "Not Found"),
        ("GET", f"pamrequests(guid'{NOBODYS}')", 404, "Not Found"),
        ("DELETE", "pamroles", 405, "Method Not Allowed"),
        ("POST", f"pamrequests(guid'{NOBODYS}')/Close", 404, "there is no request"),
    ],
)
def test_a_refusal_is_an_odata_error(
    api: ApiWorld, alice: Caller, method: str, path: str, status: int, said: str
) -> None:
    answer = call(alice, method, path)
    assert (answer.status_code, said in error(answer)) == (status, True), answer.text


def test_who_is_unknown_is_asked_for_a_ticket(api: ApiWorld) -> None:
    answer = call(api.anonymous(), "GET", "pamroles")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Negotiate")
    assert error(answer)


# -------------------------------------------------------------------------------------------------------------- two users


def test_nobody_sees_or_ends_what_belongs_to_another(api: ApiWorld, alice: Caller) -> None:
    """F4, F5: list, filter, close and decide, as somebody else."""
    made = submit(api, alice, "Approved")
    key = made["RequestId"]
    for other in (api.corp_caller("bob"), api.corp_caller("mallory"), api.caller("dave")):
        for path in ("pamrequests", f"pamrequests?$filter=RequestId eq guid'{key}'"):
            answer = call(other, "GET", path)
            assert key not in answer.text
        ended = call(other, "POST", f"pamrequests(guid'{key}')/Close")
        assert ended.status_code in {403, 404}
        decided = call(other, "POST", f"pamrequeststoapprove(guid'{key}')/Approve")
        assert decided.status_code in {403, 404}
    assert values(call(alice, "GET", "pamrequests"))[0]["RequestStatus"] == "PendingApproval"


def test_a_request_says_nothing_about_its_state_or_its_approver(api: ApiWorld, alice: Caller) -> None:
    """F7 (CVE-2025-1969): only four things are taken from a caller."""
    form = {"RoleId": role_id(alice, "Approved"), "RequestedTTL": "60", "RequestStatus": "Active"}
    answer = call(alice, "POST", "pamrequests", code=True, data=form)
    assert (answer.status_code, "is not part of a request" in error(answer)) == (400, True)
