"""Addresses as OData 4 writes them, `roleDefinitions('...')` and `filterByCurrentUser(on='principal')`, and as our routes are written. Pure."""

import re

PREFIX = "/v1.0"
DIRECTORY = "/roleManagement/directory"
GROUP = "/identityGovernance/privilegedAccess/group"
#: Approval of directory roles is in the beta of Graph only, so scripts ask there.
_VERSIONS = re.compile(r"/(v1\.0|beta)(?=/|$)", re.ASCII | re.IGNORECASE)
_CURRENT = re.compile(r"filterbycurrentuser\(on='?(?P<on>[a-z]{1,20})'?\)", re.ASCII | re.IGNORECASE)
_KEY = re.compile(r"(?P<name>[a-z]{1,60})\('(?P<key>[^'/]{1,200})'\)", re.ASCII | re.IGNORECASE)
_NAMES = {
    name.lower(): name
    for name in (
        "roleManagement", "directory", "roleDefinitions", "roleEligibilityScheduleRequests",
        "roleAssignmentScheduleRequests", "roleEligibilitySchedules", "roleEligibilityScheduleInstances",
        "roleAssignmentSchedules", "roleAssignmentScheduleInstances", "roleAssignmentApprovals", "steps", "stages",
        "cancel", "identityGovernance", "privilegedAccess", "group", "eligibilityScheduleRequests",
        "assignmentScheduleRequests", "eligibilitySchedules", "eligibilityScheduleInstances", "assignmentSchedules",
        "assignmentScheduleInstances", "assignmentApprovals", "policies", "roleManagementPolicies",
        "roleManagementPolicyAssignments", "rules", "users", "me",
    )
}  # fmt: skip


def is_ours(path: str) -> bool:
    """Whether an address belongs to this API."""
    return _VERSIONS.match(path) is not None


def plain(path: str) -> str:
    """The address of the route. Graph does not tell capitals from small letters in its own names; ids keep theirs."""
    rest = _VERSIONS.sub("", path, count=1)
    return PREFIX + "".join(f"/{_segment(part)}" for part in rest.split("/") if part)


def spoken(path: str) -> str:
    """A route's address as clients of Graph write it."""
    return re.sub(r"/filterByCurrentUser/([A-Za-z]+)$", r"/filterByCurrentUser(on='\1')", path)


def _segment(part: str) -> str:
    if current := _CURRENT.fullmatch(part):
        return f"filterByCurrentUser/{current['on'].lower()}"
    if keyed := _KEY.fullmatch(part):
        return f"{_NAMES.get(keyed['name'].lower(), keyed['name'])}/{keyed['key']}"
    return _NAMES.get(part.lower(), part)
