"""What administrators do by way of Graph: access is ended and never given; every other action has its code."""

from typing import Any

import pytest

from tests.support.api import APPROVAL, NOBODYS, ApiWorld, Caller, golden, holds_access
from tests.support.graph import DIRECTORY, GROUP, activate, body, call, error, listed, me, role_id

pytest_plugins = ["tests.support.api"]
REQUESTS = f"{DIRECTORY}/roleAssignmentScheduleRequests"
ELIGIBLE = f"{DIRECTORY}/roleEligibilityScheduleRequests"
GROUP_REQUESTS = f"{GROUP}/assignmentScheduleRequests"
RULES = "RoleAssignmentRequestPolicyValidationFailed"


def about(api: ApiWorld, caller: Caller, action: str, **more: Any) -> dict[str, Any]:
    """A call about Alice's access by the usual role."""
    return {
        "action": action,
        "principalId": me(api.corp_caller("alice")),
        "roleDefinitionId": role_id(caller),
        "directoryScopeId": "/",
        "justification": "incident 42",
        **more,
    }


@pytest.fixture
def granted(api: ApiWorld, alice: Caller) -> str:
    """Access of Alice's that is there."""
    made = activate(api, alice)
    api.work()
    assert holds_access(api)
    return str(made["id"])


@pytest.mark.parametrize("said", [{}, {"targetScheduleId": "KEY"}, {"action": "AdminRemove"}])
def test_an_administrator_ends_access(
    api: ApiWorld, dave: Caller, granted: str, said: dict[str, str]
) -> None:
    more = {name: value.replace("KEY", granted) for name, value in said.items()}
    asked = {**about(api, dave, "adminRemove"), **more}
    answer = call(dave, "POST", REQUESTS, json=asked)
    if not said:
        golden("graph/removed", answer)
    assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (201, "Revoked", granted)
    api.work()
    assert not holds_access(api)
    assert api.events("kill-switch") == ["kill-switch"]
    again = call(dave, "POST", REQUESTS, json=asked)
    assert error(again)[:2] == (400, "RoleAssignmentDoesNotExist")


def test_what_waits_is_withdrawn_with_the_access(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    later = {"startDateTime": "2026-11-20T12:00:00Z", "expiration": {"duration": "PT1H"}}
    begun, waits = activate(api, alice), activate(api, alice, scheduleInfo=later)
    other = activate(api, alice, "Approved")
    api.work()
    assert call(dave, "POST", REQUESTS, json=about(api, dave, "adminRemove")).json()["id"] == begun["id"]
    api.work()
    states = {one["id"]: one["status"] for one in listed(dave, REQUESTS)}
    assert states == {begun["id"]: "Revoked", waits["id"]: "Canceled", other["id"]: "PendingApproval"}


def test_only_what_is_named_by_its_schedule_is_ended(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    one, two = activate(api, alice), activate(api, alice)
    api.work()
    asked = about(api, dave, "adminRemove", targetScheduleId=one["id"])
    assert call(dave, "POST", REQUESTS, json=asked).status_code == 201
    api.work()
    states = {found["id"]: found["status"] for found in listed(dave, REQUESTS)}
    assert states == {one["id"]: "Revoked", two["id"]: "Provisioned"}


def test_trying_to_end_access_ends_none(api: ApiWorld, dave: Caller, granted: str) -> None:
    before = api.events()
    answer = call(dave, "POST", REQUESTS, json=about(api, dave, "adminRemove", isValidationOnly=True))
    assert (answer.status_code, answer.json()["isValidationOnly"]) == (201, True)
    api.work()
    assert holds_access(api)
    assert api.events() == before


def test_ending_access_needs_a_reason_and_the_rule_says_so(api: ApiWorld, dave: Caller, granted: str) -> None:
    for said in ({"justification": None}, {"justification": " "}):
        status, code, message = error(
            call(dave, "POST", REQUESTS, json=about(api, dave, "adminRemove", **said))
        )
        assert (status, code) == (400, RULES)
        assert message.startswith('The following policy rules failed: ["JustificationRule"]')
    assert holds_access(api)
    path = f"policies/roleManagementPolicies/DirectoryRole_{role_id(dave)}/rules/Enablement_Admin_Assignment"
    assert call(dave, "GET", path).json()["enabledRules"] == ["Justification"]


@pytest.mark.parametrize(
    "more",
    [
        {"principalId": NOBODYS},
        {"roleDefinitionId": NOBODYS},
        {"targetScheduleId": NOBODYS},
        {"targetScheduleId": "_"},
        {"targetScheduleId": f"{NOBODYS}_"},
        {"principalId": "S-1-5-21-1-2-3-500"},
    ],
)
def test_access_that_is_not_there_is_not_ended(
    api: ApiWorld, dave: Caller, granted: str, more: dict[str, str]
) -> None:
    answer = call(dave, "POST", REQUESTS, json={**about(api, dave, "adminRemove"), **more})
    assert error(answer)[:2] == (400, "RoleAssignmentDoesNotExist")
    assert holds_access(api)
    assert api.events("kill-switch") == []


def test_of_two_administrators_the_slower_one_ends_nothing(
    api: ApiWorld, dave: Caller, granted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look, then both end: the second finds what is ending already."""
    real = api.services.requests.kill

    def kill(*said: Any, **more: Any) -> Any:
        real(*said, **more)
        return real(*said, **more)

    monkeypatch.setattr(api.services.requests, "kill", kill)
    answer = call(dave, "POST", REQUESTS, json=about(api, dave, "adminRemove"))
    assert error(answer)[:2] == (400, "RoleAssignmentDoesNotExist")


@pytest.mark.parametrize("action", ["adminAssign", "adminUpdate", "adminExtend", "adminRenew"])
@pytest.mark.parametrize("path", [REQUESTS, GROUP_REQUESTS])
@pytest.mark.parametrize(
    "expiration",
    [{"type": "noExpiration"}, {"type": "afterDuration", "duration": "PT1H"}, {"type": "notSpecified"}],
)
def test_an_administrator_gives_and_lengthens_no_access(
    api: ApiWorld, dave: Caller, granted: str, action: str, path: str, expiration: dict[str, str]
) -> None:
    asked = about(api, dave, action, scheduleInfo={"expiration": expiration})
    if path == GROUP_REQUESTS:
        group = listed(dave, f"{GROUP}/assignmentSchedules")[0]["groupId"]
        asked = {**asked, "groupId": group, "accessId": "member"}
        del asked["roleDefinitionId"], asked["directoryScopeId"]
    before = api.events()
    status, code, message = error(call(dave, "POST", path, json=asked))
    assert (status, code) == (400, RULES)
    assert message.startswith('The following policy rules failed: ["ExpirationRule"]: ')
    assert api.events() == before


@pytest.mark.parametrize("action", ["adminAssign", "adminRemove", "adminExtend"])
@pytest.mark.parametrize("name", ["alice", "bob", "grace", "frank"])
def test_who_is_no_administrator_does_nothing_for_another(
    api: ApiWorld, dave: Caller, granted: str, action: str, name: str
) -> None:
    caller = api.corp_caller(name) if name in {"alice", "bob"} else api.caller(name)
    answer = call(caller, "POST", REQUESTS, json=about(api, dave, action))
    assert error(answer)[:2] == (403, "Authorization_RequestDenied")
    assert holds_access(api)


def test_an_administrator_ends_access_to_a_group_by_whatever_role(
    api: ApiWorld, alice: Caller, dave: Caller
) -> None:
    api.add_role("The same", candidates=("CORP\\alice",))
    made = {activate(api, alice)["id"], activate(api, alice, "The same")["id"]}
    api.work()
    schedules = listed(dave, f"{GROUP}/assignmentSchedules")
    assert {one["id"].rpartition("_")[2] for one in schedules} == made
    asked = {
        "action": "adminRemove",
        "principalId": me(alice),
        "groupId": schedules[0]["groupId"],
        "accessId": "member",
        "justification": "incident 42",
    }
    one = {**asked, "targetScheduleId": schedules[0]["id"]}
    assert call(dave, "POST", GROUP_REQUESTS, json=one).status_code == 201
    api.work()
    assert holds_access(api), "the other role still gives it"
    assert call(dave, "POST", GROUP_REQUESTS, json=asked).status_code == 201
    api.work()
    assert not holds_access(api)
    assert error(call(dave, "POST", GROUP_REQUESTS, json=asked))[:2] == (400, "RoleAssignmentDoesNotExist")


# ------------------------------------------------------------------------------------------------ every action has a code


@pytest.mark.parametrize(
    ("path", "action", "status", "code"),
    [
        (REQUESTS, "selfRenew", 400, "RoleAssignmentDoesNotExist"),
        (REQUESTS, "selfExtend", 400, "RoleAssignmentDoesNotExist"),
        (REQUESTS, "selfDeactivate", 400, "RoleAssignmentDoesNotExist"),
        (ELIGIBLE, "adminUpdate", 400, "InvalidRoleAssignmentRequestSchedule"),
        (ELIGIBLE, "adminExtend", 400, "InvalidRoleAssignmentRequestSchedule"),
        (ELIGIBLE, "adminRenew", 400, "InvalidRoleAssignmentRequestSchedule"),
        (ELIGIBLE, "selfActivate", 400, "BadRequest"),
        (ELIGIBLE, "selfDeactivate", 400, "BadRequest"),
        (ELIGIBLE, "selfExtend", 400, "BadRequest"),
        (ELIGIBLE, "selfRenew", 400, "BadRequest"),
        (REQUESTS, "adminGrant", 400, "BadRequest"),
    ],
)
def test_an_action_that_there_is_no_place_for_has_its_code(
    api: ApiWorld, path: str, action: str, status: int, code: str
) -> None:
    """Alice's own, and an administrator's."""
    alice = api.corp_caller("alice")
    caller = api.caller("dave") if path == ELIGIBLE else alice
    asked = {**body(api, alice), "action": action}
    answer = call(caller, "POST", path, json=asked)
    assert error(answer)[:2] == (status, code)
    assert api.events("request.submitted") == api.events("role.changed") == []


def test_access_that_waits_for_its_start_is_an_assignment(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    api.add_role("Later", candidates=("CORP\\alice",), stages=APPROVAL)
    later = {"startDateTime": "2026-11-20T12:00:00Z", "expiration": {"duration": "PT1H"}}
    made = activate(api, alice, "Later", scheduleInfo=later)
    asked = about(api, dave, "adminRemove", roleDefinitionId=role_id(dave, "Later"))
    assert error(call(dave, "POST", REQUESTS, json=asked))[:2] == (400, "RoleAssignmentDoesNotExist")
    api.approve(api.services.requests.show(api.dave, made["id"]))
    answer = call(dave, "POST", REQUESTS, json=asked)
    assert (answer.status_code, answer.json()["status"]) == (201, "Canceled")
