"""Calls to /v1.0 as clients of Graph make them, and what they read of the answers."""

from typing import Any

import httpx

from tests.support.api import ApiWorld, Caller, values

HERE = "/v1.0"
DIRECTORY = "roleManagement/directory"
GROUP = "identityGovernance/privilegedAccess/group"

#: Part of the table in test_api_access.py: written down a second time on purpose.
RIGHTS = {
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/filterByCurrentUser/{on}": "approve",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}/stages": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}/stages/{stage}": "use",
    "PATCH /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}/stages/{stage}": "approve",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}/steps": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}/steps/{stage}": "use",
    "PATCH /v1.0/identityGovernance/privilegedAccess/group/assignmentApprovals/{key}/steps/{stage}": "approve",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleInstances": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleInstances/filterByCurrentUser/{on}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleInstances/{key}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleRequests": "use",
    "POST /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleRequests": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleRequests/filterByCurrentUser/{on}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleRequests/{key}": "use",
    "POST /v1.0/identityGovernance/privilegedAccess/group/assignmentScheduleRequests/{key}/cancel": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentSchedules": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentSchedules/filterByCurrentUser/{on}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/assignmentSchedules/{key}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleInstances": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleInstances/filterByCurrentUser/{on}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleInstances/{key}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleRequests": "use",
    "POST /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleRequests": "administer",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleRequests/filterByCurrentUser/{on}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilityScheduleRequests/{key}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilitySchedules": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilitySchedules/filterByCurrentUser/{on}": "use",
    "GET /v1.0/identityGovernance/privilegedAccess/group/eligibilitySchedules/{key}": "use",
    "GET /v1.0/me": "use",
    "GET /v1.0/policies/roleManagementPolicies": "administer or audit",
    "GET /v1.0/policies/roleManagementPolicies/{key}": "administer or audit",
    "GET /v1.0/policies/roleManagementPolicies/{key}/rules": "administer or audit",
    "GET /v1.0/policies/roleManagementPolicies/{key}/rules/{name}": "administer or audit",
    "PATCH /v1.0/policies/roleManagementPolicies/{key}/rules/{name}": "administer",
    "GET /v1.0/policies/roleManagementPolicyAssignments": "administer or audit",
    "GET /v1.0/roleManagement/directory/roleAssignmentApprovals/filterByCurrentUser/{on}": "approve",
    "GET /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}/stages": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}/stages/{stage}": "use",
    "PATCH /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}/stages/{stage}": "approve",
    "GET /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}/steps": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}/steps/{stage}": "use",
    "PATCH /v1.0/roleManagement/directory/roleAssignmentApprovals/{key}/steps/{stage}": "approve",
    "GET /v1.0/roleManagement/directory/roleAssignmentScheduleInstances": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentScheduleInstances/filterByCurrentUser/{on}": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentScheduleInstances/{key}": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentScheduleRequests": "use",
    "POST /v1.0/roleManagement/directory/roleAssignmentScheduleRequests": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentScheduleRequests/filterByCurrentUser/{on}": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentScheduleRequests/{key}": "use",
    "POST /v1.0/roleManagement/directory/roleAssignmentScheduleRequests/{key}/cancel": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentSchedules": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentSchedules/filterByCurrentUser/{on}": "use",
    "GET /v1.0/roleManagement/directory/roleAssignmentSchedules/{key}": "use",
    "GET /v1.0/roleManagement/directory/roleDefinitions": "use",
    "GET /v1.0/roleManagement/directory/roleDefinitions/{key}": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilityScheduleInstances": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilityScheduleInstances/filterByCurrentUser/{on}": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilityScheduleInstances/{key}": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilityScheduleRequests": "use",
    "POST /v1.0/roleManagement/directory/roleEligibilityScheduleRequests": "administer",
    "GET /v1.0/roleManagement/directory/roleEligibilityScheduleRequests/filterByCurrentUser/{on}": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilityScheduleRequests/{key}": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilitySchedules": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilitySchedules/filterByCurrentUser/{on}": "use",
    "GET /v1.0/roleManagement/directory/roleEligibilitySchedules/{key}": "use",
    "GET /v1.0/users": "use",
    "GET /v1.0/users/{key}": "use",
}


def call(caller: Caller, method: str, path: str, **options: Any) -> httpx.Response:
    return caller.send(method, f"{HERE}/{path}", **options)


def listed(caller: Caller, path: str) -> list[dict[str, Any]]:
    return values(call(caller, "GET", path))


def me(caller: Caller) -> str:
    return str(call(caller, "GET", "me").json()["id"])


def role_id(caller: Caller, name: str = "File administrators") -> str:
    found = listed(caller, f"{DIRECTORY}/roleDefinitions?$filter=displayName eq '{name}'")
    return str(found[0]["id"])


def body(
    api: ApiWorld, caller: Caller, name: str = "File administrators", duration: str = "PT1H", **more: Any
) -> dict[str, Any]:
    """As the second script of document 5 sends it."""
    return {
        "action": "selfActivate",
        "principalId": me(caller),
        "roleDefinitionId": role_id(caller, name),
        "directoryScopeId": "/",
        "justification": "patch the server",
        "scheduleInfo": {
            "startDateTime": api.clock.now().isoformat(),
            "expiration": {"type": "afterDuration", "duration": duration},
        },
        **more,
    }


def activate(api: ApiWorld, caller: Caller, name: str = "File administrators", **more: Any) -> dict[str, Any]:
    asked = body(api, caller, name, **more)
    answer = call(caller, "POST", f"{DIRECTORY}/roleAssignmentScheduleRequests", code=True, json=asked)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def submit(caller: Caller, *, code: bool = True, **asked: Any) -> httpx.Response:
    return call(caller, "POST", f"{DIRECTORY}/roleAssignmentScheduleRequests", code=code, json=asked)


def error(answer: httpx.Response) -> tuple[int, str, str]:
    said = answer.json()["error"]
    assert said["innerError"].keys() == {"date", "request-id", "client-request-id"}
    return answer.status_code, said["code"], said["message"]
