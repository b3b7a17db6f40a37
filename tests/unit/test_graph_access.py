"""Who may do what by way of Graph: nobody for another, nobody sees what is another's, and administrators what maps."""

from typing import Any

import pytest

from bastide.domain.people import Forest
from bastide.services.ports import Person
from tests.support.api import NOBODYS, ApiWorld, Caller
from tests.support.graph import DIRECTORY, GROUP, activate, body, call, error, listed, me, role_id, submit

pytest_plugins = ["tests.support.api"]
REQUESTS = f"{DIRECTORY}/roleAssignmentScheduleRequests"
ELIGIBLE = f"{DIRECTORY}/roleEligibilityScheduleRequests"
MINE = "filterByCurrentUser(on='principal')"


@pytest.mark.parametrize("action", ["selfActivate", "selfDeactivate", "selfExtend"])
def test_a_principal_who_is_not_the_caller_is_refused(api: ApiWorld, alice: Caller, action: str) -> None:
    """F9 (azure-docs #113251): with a group as principal, Graph activated the role for every member of it."""
    activate(api, alice)
    api.work()
    before = api.events()
    group = listed(alice, f"{GROUP}/eligibilitySchedules")[0]["groupId"]
    asked = {**body(api, alice), "action": action}
    for principal in (
        me(api.corp_caller("bob")),
        group,
        api.services.accounts.user(api.dave, "priv.alice").corp.sid,
        NOBODYS,
    ):
        answer = submit(alice, **{**asked, "principalId": principal})
        assert error(answer)[:2] == (403, "Authorization_RequestDenied")
    assert [one for one in api.events()[len(before) :] if one.startswith("request.")] == []


def test_a_request_says_nothing_about_its_state_or_its_approver(api: ApiWorld, alice: Caller) -> None:
    """F7 (CVE-2025-1969)."""
    readonly: list[dict[str, Any]] = [
        {"status": "Provisioned"},
        {"createdBy": {}},
        {"approvalId": NOBODYS},
        {"memberType": "x"},
    ]
    for more in readonly:
        answer = submit(alice, **{**body(api, alice, "Approved"), **more})
        assert (error(answer)[0], "unknown field" in error(answer)[2]) == (400, True)


@pytest.mark.parametrize(
    "expiration",
    [
        {"type": "afterDuration", "duration": "P30D"},
        {"type": "afterDateTime", "endDateTime": "2027-01-01T00:00:00Z"},
    ],
)
def test_eligibility_with_an_end_is_refused_not_made_endless(
    api: ApiWorld, alice: Caller, expiration: dict[str, str]
) -> None:
    asked = {
        **body(api, alice),
        "action": "adminAssign",
        "principalId": me(alice),
        "scheduleInfo": {"expiration": expiration},
    }
    answer = call(api.caller("dave"), "POST", ELIGIBLE, json=asked)
    assert error(answer)[:2] == (400, "InvalidRoleAssignmentRequestSchedule")


def test_a_candidate_is_taken_away_once_and_made_again(api: ApiWorld, alice: Caller) -> None:
    dave, asked = api.caller("dave"), {**body(api, alice), "scheduleInfo": None}
    bob = me(api.corp_caller("bob"))
    steps = [
        ("adminAssign", 400, "RoleAssignmentExists"),
        ("adminRemove", 201, ""),
        ("adminRemove", 400, "RoleAssignmentDoesNotExist"),
        ("adminAssign", 201, ""),
        ("adminUpdate", 400, "InvalidRoleAssignmentRequestSchedule"),
    ]
    for action, status, code in steps:
        answer = call(dave, "POST", ELIGIBLE, json={**asked, "action": action, "principalId": bob})
        assert answer.status_code == status, answer.text
        assert answer.json().get("error", {}).get("code", "") == code
    tried = {**asked, "action": "adminRemove", "principalId": bob, "isValidationOnly": True}
    assert call(dave, "POST", ELIGIBLE, json=tried).status_code == 201
    mine = listed(dave, f"{DIRECTORY}/roleEligibilitySchedules?$filter=principalId eq '{bob}'")
    assert len(mine) == 2
    refused = call(alice, "POST", ELIGIBLE, json={**asked, "action": "adminAssign"})
    assert error(refused)[:2] == (403, "Authorization_RequestDenied")


def test_candidates_who_are_no_pam_users_go_by_their_sid(api: ApiWorld) -> None:
    dave = api.caller("dave")
    api.add_role("Wide", candidates=("CORP\\alice", "PRIV\\grace"))
    rows = listed(
        dave,
        f"{DIRECTORY}/roleEligibilitySchedules?$filter=roleDefinition/displayName eq 'Wide'&$expand=principal",
    )
    sids = [one["principalId"] for one in rows if one["principal"]["displayName"] == "PRIV\\grace"]
    assert sids[0].startswith("S-1-5-21-")
    asked = {
        "action": "adminRemove",
        "principalId": sids[0],
        "roleDefinitionId": role_id(dave, "Wide"),
        "directoryScopeId": "/",
    }
    assert call(dave, "POST", ELIGIBLE, json=asked).json()["principalId"] == sids[0]
    again = call(dave, "POST", ELIGIBLE, json={**asked, "action": "adminAssign"})
    assert "not a PAM user" in error(again)[2]


# ------------------------------------------------------------------------------------------------------------- two users


OWN = [
    f"{DIRECTORY}/{one}"
    for one in (
        "roleAssignmentScheduleRequests", "roleAssignmentSchedules", "roleAssignmentScheduleInstances",
        "roleEligibilityScheduleRequests", "roleEligibilitySchedules", "roleEligibilityScheduleInstances",
    )
] + [
    f"{GROUP}/{one}"
    for one in (
        "assignmentScheduleRequests", "assignmentSchedules", "assignmentScheduleInstances",
        "eligibilityScheduleRequests", "eligibilitySchedules", "eligibilityScheduleInstances",
    )
]  # fmt: skip


@pytest.mark.parametrize("path", OWN)
def test_nobody_sees_what_belongs_to_another(api: ApiWorld, alice: Caller, path: str) -> None:
    """F4, F5: list, filter, detail and approver's view, as somebody else; those who may see everything do."""
    activate(api, alice)
    api.work()
    hers = me(alice)
    keys = [one["id"] for one in listed(alice, path)]
    assert keys
    ways = [path, f"{path}/{MINE}", f"{path}?$filter=principalId eq '{hers}'", f"{path}?$top=1"]
    ways += [f"{path}/{key}" for key in keys]
    if "assignmentschedulerequests" in path.lower():
        ways += [f"{path}/filterByCurrentUser(on='{on}')" for on in ("createdBy", "approver")]
    for other in (api.corp_caller("bob"), api.corp_caller("mallory"), api.caller("grace")):
        for way in ways:
            answer = call(other, "GET", way)
            assert hers not in answer.text
            assert "priv.alice" not in answer.text
            assert not any(key in answer.text for key in keys if answer.status_code == 200)
    for reader in (api.caller("dave"), api.caller("frank")):
        assert {one["id"] for one in listed(reader, path)} >= set(keys)
        assert call(reader, "GET", f"{path}/{keys[0]}").json()["id"] == keys[0]


def test_nobody_ends_withdraws_or_decides_for_another(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice, "Approved")
    for other in (api.corp_caller("bob"), api.corp_caller("mallory"), api.caller("dave")):
        cancelled = call(other, "POST", f"{REQUESTS}/{made['id']}/cancel")
        decided = call(
            other,
            "PATCH",
            f"{DIRECTORY}/roleAssignmentApprovals/{made['id']}/steps/{made['id']}",
            json={"reviewResult": "Approve"},
        )
        assert {cancelled.status_code, decided.status_code} <= {403, 404}
    assert listed(alice, REQUESTS)[0]["status"] == "PendingApproval"


def test_who_somebody_is_is_told_to_them_and_to_readers(api: ApiWorld, alice: Caller) -> None:
    hers = me(alice)
    dave = api.caller("dave")
    for name in (hers, "alice@corp.bastide.test", "ALICE@corp.bastide.test", "priv.alice@priv.bastide.test"):
        assert call(alice, "GET", f"users/{name}").json()["id"] == hers
        assert call(dave, "GET", f"users/{name}").json()["id"] == hers
        assert error(call(api.corp_caller("bob"), "GET", f"users/{name}"))[:2] == (
            404,
            "ResourceNotFound",
        )
        assert listed(api.corp_caller("bob"), f"users?$filter=userPrincipalName eq '{name}'") == []
    assert error(call(dave, "GET", "users"))[0] == 400
    assert error(call(dave, "GET", "me"))[0] == 404


def test_a_ticket_for_nobody_is_asked_for(api: ApiWorld) -> None:
    answer = call(api.anonymous(), "GET", f"{DIRECTORY}/roleDefinitions")
    assert answer.headers["www-authenticate"] == "Negotiate"
    assert error(answer)[:2] == (401, "InvalidAuthenticationToken")


def test_others_are_not_even_looked_for_in_the_directory(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long an answer takes tells nothing about a name either."""
    bob, asked = api.corp_caller("bob"), []
    directory = api.services.forests[Forest.CORP]
    real = directory.find_person

    def find_person(name: str) -> Person:
        asked.append(name)
        return real(name)

    monkeypatch.setattr(directory, "find_person", find_person)
    for name in ("alice@corp.bastide.test", "nobody@corp.bastide.test"):
        assert error(call(bob, "GET", f"users/{name}"))[0] == 404
    own = api.services.accounts.user(api.dave, "priv.bob").corp.sid
    assert "alice@corp.bastide.test" not in asked
    assert own in asked
