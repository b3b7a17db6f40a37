"""PIM for Groups: a role that gives one PAM group and nothing else is eligibility for that group."""

from typing import Any

import httpx
import pytest

from tests.support.api import APPROVAL, NOBODYS, ApiWorld, Caller, golden, served
from tests.support.graph import GROUP, call, error, listed, me

pytest_plugins = ["tests.support.api"]
REQUESTS = f"{GROUP}/assignmentScheduleRequests"


@pytest.fixture
def group(api: ApiWorld) -> str:
    """Of one role only: the other is made to give two groups."""
    api.services.roles.remove(api.dave, "Approved")
    return str(api.services.accounts.groups(api.dave)[0].id)


def asked(api: ApiWorld, caller: Caller, group: str, **more: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.privilegedAccessGroupAssignmentScheduleRequest",
        "accessId": "member",
        "groupId": group,
        "action": "selfActivate",
        "principalId": me(caller),
        "justification": "x",
        "scheduleInfo": {
            "startDateTime": None,
            "expiration": {"type": "afterDuration", "duration": "2:00:00"},
        },
        **more,
    }


def submit(caller: Caller, **body: Any) -> httpx.Response:
    return call(caller, "POST", REQUESTS, code=True, json=body)


def test_a_group_is_activated_and_given_back(api: ApiWorld, alice: Caller, group: str) -> None:
    made = submit(alice, **asked(api, alice, group))
    golden("graph/groupCreated", made)
    api.work()
    schedule = listed(alice, f"{GROUP}/assignmentSchedules")[0]
    assert schedule["id"] == f"{group}_member_{made.json()['id']}"
    user = api.services.accounts.user(api.dave, "priv.alice")
    assert api.opens_share(user)
    back = asked(api, alice, group, action="selfDeactivate", targetScheduleId=schedule["id"])
    assert submit(alice, **back).json()["status"] == "Revoked"
    api.work()
    assert not api.opens_share(user)
    assert error(submit(alice, **back))[:2] == (400, "RoleAssignmentDoesNotExist")


def test_a_later_start_is_cancelled(api: ApiWorld, alice: Caller, group: str) -> None:
    later = {"startDateTime": "2026-11-20T12:00:00Z", "expiration": {"duration": "PT1H"}}
    made = submit(alice, **asked(api, alice, group, scheduleInfo=later)).json()
    assert made["status"] == "Granted"
    assert call(alice, "POST", f"{REQUESTS}/{made['id']}/cancel").status_code == 204
    assert call(alice, "GET", f"{REQUESTS}/{made['id']}").json()["status"] == "Canceled"


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"accessId": "owner"}, 400, "BadRequest"),
        ({"accessId": None}, 400, "BadRequest"),
        ({"groupId": None}, 400, "BadRequest"),
        ({"roleDefinitionId": NOBODYS}, 400, "BadRequest"),
        ({"groupId": NOBODYS}, 400, "RoleAssignmentRequestPolicyValidationFailed"),
        ({"principalId": NOBODYS}, 403, "Authorization_RequestDenied"),
    ],
)
def test_what_does_not_fit_is_refused(
    api: ApiWorld, alice: Caller, group: str, more: dict[str, Any], status: int, code: str
) -> None:
    assert error(submit(alice, **asked(api, alice, group, **more)))[:2] == (status, code)


def test_several_roles_for_one_group_are_not_guessed(api: ApiWorld, alice: Caller) -> None:
    group = str(api.services.accounts.groups(api.dave)[0].id)
    assert len({one["id"] for one in listed(alice, f"{GROUP}/eligibilitySchedules")}) == 2
    status, code, message = error(submit(alice, **asked(api, alice, group)))
    assert (status, code) == (400, "BadRequest")
    assert "File administrators" in message
    assert "Approved" in message


def test_a_role_of_two_groups_is_not_eligibility_for_one_of_them() -> None:
    with served(prepared=False) as api:
        api.prepare("alice")
        api.prepare_group()
        second = api.prepare_group("DbAdmins").name
        api.add_role(candidates=("CORP\\alice",), privileges=("PAM-FileAdmins", second), stages=APPROVAL)
        alice = api.corp_caller("alice")
        assert listed(alice, f"{GROUP}/eligibilitySchedules") == []
        for group in api.services.accounts.groups(api.dave):
            answer = submit(alice, **asked(api, alice, group.id))
            assert "EligibilityRule" in error(answer)[2]


def test_an_administrator_makes_somebody_eligible_for_a_group(api: ApiWorld, group: str) -> None:
    dave, bob = api.caller("dave"), api.corp_caller("bob")
    path = f"{GROUP}/eligibilityScheduleRequests"
    wanted = asked(api, bob, group, scheduleInfo={"expiration": {"type": "noExpiration"}})
    for action in ("adminRemove", "adminAssign"):
        answer = call(dave, "POST", path, json={**wanted, "action": action})
        assert (answer.status_code, answer.json()["groupId"]) == (201, group)
        left = listed(bob, f"{GROUP}/eligibilityScheduleInstances")
        assert len(left) == (action == "adminAssign")
    missing = call(dave, "POST", path, json={**wanted, "action": "adminAssign", "groupId": NOBODYS})
    assert error(missing)[:2] == (404, "ResourceNotFound")
