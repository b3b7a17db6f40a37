"""Approvals by way of Graph: stages and steps, who may decide, and what was decided already."""

from typing import Any

import httpx
import pytest

from bastide.services.roles import StageDraft
from tests.support.api import NOBODYS, ApiWorld, Caller, golden
from tests.support.graph import DIRECTORY, GROUP, activate, call, error, listed

pytest_plugins = ["tests.support.api"]
ROOTS = [f"{DIRECTORY}/roleAssignmentApprovals", f"{GROUP}/assignmentApprovals"]
TWO = (StageDraft("owners", ("PRIV\\grace",)), StageDraft("security", ("PRIV\\heidi", "PRIV\\grace")))


def decide(
    caller: Caller, path: str, result: str = "Approve", *, code: bool = True, why: Any = "OK"
) -> httpx.Response:
    asked = {"reviewResult": result, "justification": why}
    return call(caller, "PATCH", path, code=code, json=asked)


def test_an_approval_as_the_golden_files_have_it(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice, "Approved")
    grace = api.caller("grace")
    golden(
        "graph/approvals", call(grace, "GET", f"{ROOTS[1]}/filterByCurrentUser(on='approver')?$expand=stages")
    )
    assert decide(grace, f"{ROOTS[1]}/{made['approvalId']}/stages/{made['approvalId']}").status_code == 204
    golden("graph/approved", call(alice, "GET", f"{ROOTS[0]}/{made['approvalId']}"))


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("part", ["steps", "stages"])
@pytest.mark.parametrize(("result", "status"), [("Approve", "PendingProvisioning"), ("deny", "Denied")])
def test_an_approver_decides(
    api: ApiWorld, alice: Caller, root: str, part: str, result: str, status: str
) -> None:
    made = activate(api, alice, "Approved")
    grace = api.caller("grace")
    waiting = listed(grace, f"{root}/filterByCurrentUser(on='approver')")
    assert [one["id"] for one in waiting] == [made["approvalId"]]
    stage = listed(grace, f"{root}/{made['approvalId']}/{part}")[0]
    assert (stage["status"], stage["assignedToMe"]) == ("InProgress", True)
    path = f"{root}/{made['approvalId']}/{part}/{stage['id']}"
    answer = decide(grace, path, result)
    assert (answer.status_code, answer.content) == (204, b"")
    requests = f"{DIRECTORY}/roleAssignmentScheduleRequests"
    assert call(alice, "GET", f"{requests}/{made['id']}").json()["status"] == status
    done = call(grace, "GET", path).json()
    assert (done["status"], done["reviewResult"]) == ("Completed", result.capitalize())
    assert (done["reviewedBy"]["displayName"], done["justification"]) == ("PRIV\\grace", "OK")
    assert error(decide(grace, path))[:2] == (409, "Conflict")


def test_the_beta_address_is_the_same(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice, "Approved")
    headers = {**api.caller("grace").headers, "Bastide-Code": api.code("grace")}
    path = f"/beta/{ROOTS[0]}/{made['approvalId']}/steps/{made['approvalId']}"
    answer = api.client.patch(path, headers=headers, json={"reviewResult": "Approve", "justification": None})
    assert answer.status_code == 204


def test_two_stages_are_told_apart(api: ApiWorld, alice: Caller) -> None:
    api.add_role("Two", candidates=("CORP\\alice",), stages=TWO)
    made = activate(api, alice, "Two")
    root = f"{ROOTS[0]}/{made['approvalId']}/steps"
    grace, heidi = api.caller("grace"), api.caller("heidi")
    first, second = listed(heidi, root)
    assert [one["displayName"] for one in (first, second)] == ["owners", "security"]
    assert [one["assignedToMe"] for one in (first, second)] == [False, True]
    assert [one["assignedToMe"] for one in listed(grace, root)] == [True, True]
    assert error(decide(heidi, f"{root}/{first['id']}"))[:2] == (403, "Authorization_RequestDenied")
    assert decide(grace, f"{root}/{second['id']}").status_code == 204
    shown = listed(heidi, root)
    assert [one["reviewResult"] for one in shown] == ["NotReviewed", "Approve"]
    assert error(decide(heidi, f"{root}/{second['id']}"))[:2] == (409, "Conflict")
    assert error(decide(grace, f"{root}/{first['id']}"))[:2] == (409, "Conflict"), "one person, one stage"


def test_who_may_not_decide(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice, "Approved")
    path = f"{ROOTS[0]}/{made['approvalId']}/steps/{made['approvalId']}"
    assert error(decide(alice, path, code=False))[0] == 403
    assert error(decide(api.caller("dave"), path, code=False))[0] in {403, 404}
    grace = api.caller("grace")
    status, code, message = error(decide(grace, path, code=False))
    assert (status, code, "second factor" in message) == (403, "Authorization_RequestDenied", True)
    for wrong in (f"{ROOTS[0]}/{NOBODYS}/steps/{NOBODYS}", f"{ROOTS[0]}/{made['id']}/steps/{NOBODYS}"):
        assert error(decide(grace, wrong))[:2] == (404, "ResourceNotFound")
    assert error(decide(grace, path, "Deny", why=""))[0] == 400
    assert error(decide(grace, path, "Maybe"))[0] == 400
    assert listed(alice, f"{DIRECTORY}/roleAssignmentScheduleRequests")[0]["status"] == "PendingApproval"


def test_an_approval_is_shown_to_whom_the_request_is(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice, "Approved")
    path = f"{ROOTS[0]}/{made['approvalId']}"
    for other in (api.corp_caller("bob"), api.corp_caller("mallory")):
        for way in (path, f"{path}/steps", f"{path}/steps/{made['id']}"):
            assert error(call(other, "GET", way))[:2] == (404, "ResourceNotFound")
    for one in (alice, api.caller("frank"), api.caller("dave"), api.caller("grace")):
        assert call(one, "GET", path).json()["id"] == made["id"]


def test_what_nobody_had_to_approve_has_no_approval(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice)
    assert made["approvalId"] is None
    assert error(call(alice, "GET", f"{ROOTS[0]}/{made['id']}"))[0] == 404


def test_what_was_not_answered_is_over(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice, "Approved")
    api.clock.move(hours=25)
    api.work()
    shown = call(alice, "GET", f"{ROOTS[0]}/{made['id']}").json()
    assert shown["steps"][0]["status"] == "Expired"
    request = call(alice, "GET", f"{DIRECTORY}/roleAssignmentScheduleRequests/{made['id']}").json()
    assert request["status"] == "Failed"


def test_approvals_are_filtered_by_their_approver(api: ApiWorld) -> None:
    answer = call(api.caller("grace"), "GET", f"{ROOTS[0]}/filterByCurrentUser(on='principal')")
    assert error(answer)[:2] == (400, "BadRequest")
