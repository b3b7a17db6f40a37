"""Graph's PIM through the whole application: what its clients send, what they read, and what they stumble over.

The answers are in tests/data/graph/, one file each; ids and times in them are those of the seeded world.
"""

from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.roles import Ttl
from tests.support.api import NOBODYS, ApiWorld, Caller, golden, holds_access
from tests.support.graph import DIRECTORY, GROUP, activate, body, call, error, listed, submit

pytest_plugins = ["tests.support.api"]
REQUESTS = f"{DIRECTORY}/roleAssignmentScheduleRequests"
ELIGIBLE = f"{DIRECTORY}/roleEligibilityScheduleRequests"
MINE = "filterByCurrentUser(on='principal')"


# ----------------------------------------------------------------------------------------------------------------- golden


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("roleDefinitions", f"{DIRECTORY}/roleDefinitions"),
        ("roleEligibilitySchedules", f"{DIRECTORY}/roleEligibilitySchedules/{MINE}?$expand=principal,roleDefinition"),
        ("roleEligibilityScheduleInstances", f"{DIRECTORY}/roleEligibilityScheduleInstances"),
        ("roleEligibilityScheduleRequests", f"{DIRECTORY}/roleEligibilityScheduleRequests"),
        ("groupEligibilitySchedules", f"{GROUP}/eligibilitySchedules/{MINE}"),
        ("groupEligibilityScheduleInstances", f"{GROUP}/eligibilityScheduleInstances"),
        ("me", "me"),
    ],
)  # fmt: skip
def test_what_a_candidate_reads_as_the_golden_files_have_it(
    api: ApiWorld, alice: Caller, name: str, path: str
) -> None:
    golden(f"graph/{name}", call(alice, "GET", path))


def test_an_activation_as_the_golden_files_have_it(api: ApiWorld, alice: Caller) -> None:
    asked = body(api, alice, ticketInfo={"ticketNumber": "CHG0012345", "ticketSystem": "x"})
    golden("graph/created", submit(alice, **asked))
    api.work()
    for resource in ("ScheduleRequests", "Schedules", "ScheduleInstances"):
        path = f"{DIRECTORY}/roleAssignment{resource}/{MINE}?$expand=roleDefinition,principal"
        golden(f"graph/roleAssignment{resource}", call(alice, "GET", path))
        golden(f"graph/groupAssignment{resource}", call(alice, "GET", f"{GROUP}/assignment{resource}"))


def test_an_error_as_graph_has_it(api: ApiWorld, alice: Caller) -> None:
    headers = {"client-request-id": "00000000-0000-0000-0000-000000000001"}
    asked = body(api, alice, duration="P2D")
    answer = call(alice, "POST", REQUESTS, code=True, json=asked, headers=headers)
    said = answer.json()["error"]
    assert answer.headers["request-id"] == said["innerError"].pop("request-id")
    message = said.pop("message")
    assert message.startswith('The following policy rules failed: ["ExpirationRule"]: ttl: ')
    assert said == {
        "code": "RoleAssignmentRequestPolicyValidationFailed",
        "innerError": {"date": "2026-11-20T09:00:30", "client-request-id": headers["client-request-id"]},
    }
    assert (answer.status_code, answer.json().keys()) == (400, {"error"})


# --------------------------------------------------------------------------------------------------------------- journeys


def test_from_asking_to_giving_back(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice)
    assert made["status"] == "PendingProvisioning", "nothing was read back yet"
    api.work()
    assert call(alice, "GET", f"{REQUESTS}/{made['id']}").json()["status"] == "Provisioned"
    assert holds_access(api)
    back = submit(alice, **{**body(api, alice), "action": "selfDeactivate", "scheduleInfo": None})
    assert (back.status_code, back.json()["status"], back.json()["action"]) == (
        201,
        "Revoked",
        "selfDeactivate",
    )
    api.work()
    assert not holds_access(api)
    again = submit(alice, **{**body(api, alice), "action": "selfDeactivate"})
    assert error(again)[:2] == (400, "RoleAssignmentDoesNotExist")


def test_one_of_two_activations_is_given_back(api: ApiWorld, alice: Caller) -> None:
    first, second = activate(api, alice), activate(api, alice)
    api.work()
    asked = {**body(api, alice), "action": "SelfDeactivate", "targetScheduleId": first["targetScheduleId"]}
    assert submit(alice, **asked).status_code == 201
    api.work()
    left = listed(alice, f"{DIRECTORY}/roleAssignmentSchedules?$filter=status eq 'Provisioned'")
    assert [one["id"] for one in left] == [second["id"]]
    assert holds_access(api)


def test_an_extension_by_a_span_and_until_a_time(api: ApiWorld, alice: Caller) -> None:
    activate(api, alice)
    api.work()
    asked: dict[str, Any] = {**body(api, alice), "action": "selfExtend"}
    asked["scheduleInfo"] = {"expiration": {"type": "afterDuration", "duration": "1:00:00"}}
    assert submit(alice, **{**asked, "isValidationOnly": True}).status_code == 201
    api.work()
    path = f"{DIRECTORY}/roleAssignmentScheduleInstances?$select=endDateTime"
    assert listed(alice, path)[0]["endDateTime"] == "2026-11-20T10:00:30Z"
    assert submit(alice, **asked).status_code == 201
    api.work()
    assert listed(alice, path)[0]["endDateTime"] == "2026-11-20T11:00:30Z"
    until = {"type": "afterDateTime", "endDateTime": "2026-11-20T12:30:00Z"}
    asked["scheduleInfo"] = {"expiration": until}
    assert submit(alice, **asked).status_code == 201
    api.work()
    assert listed(alice, path)[0]["endDateTime"] == "2026-11-20T12:30:00Z"
    asked["scheduleInfo"] = {"expiration": {"type": "afterDateTime", "endDateTime": "2026-11-20T09:30:00Z"}}
    assert error(submit(alice, **asked))[1] == "InvalidRoleAssignmentRequestSchedule"


def test_a_later_start_is_granted_and_can_be_cancelled_once(api: ApiWorld, alice: Caller) -> None:
    later = {"startDateTime": "2026-11-20T12:00:00Z", "expiration": {"endDateTime": "2026-11-20T14:00:00Z"}}
    made = activate(api, alice, scheduleInfo=later)
    assert (made["status"], made["scheduleInfo"]["startDateTime"]) == ("Granted", "2026-11-20T12:00:00Z")
    assert made["scheduleInfo"]["expiration"]["duration"] == "PT2H"
    assert call(alice, "POST", f"{REQUESTS}/{made['id']}/cancel").status_code == 204
    assert call(alice, "GET", f"{REQUESTS}/{made['id']}").json()["status"] == "Canceled"
    assert error(call(alice, "POST", f"{REQUESTS}/{made['id']}/cancel"))[:2] == (400, "BadRequest")


def test_what_has_begun_is_not_cancelled(api: ApiWorld, alice: Caller) -> None:
    made = activate(api, alice)
    api.work()
    answer = call(alice, "POST", f"{REQUESTS}/{made['id']}/cancel")
    assert (error(answer)[0], "selfDeactivate" in error(answer)[2]) == (400, True)
    assert holds_access(api)


# ------------------------------------------------------------------------------------------------------------- the rules


def test_trying_evaluates_the_rules_and_changes_nothing(api: ApiWorld, alice: Caller) -> None:
    before = api.events()
    tried = submit(alice, **body(api, alice), isValidationOnly=True)
    assert (tried.status_code, tried.json()["isValidationOnly"]) == (201, True)
    changed = [one for one in api.events() if one != "mfa.proved"]
    assert (changed, listed(alice, REQUESTS)) == (before, [])
    refused = submit(alice, **{**body(api, alice), "justification": ""}, isValidationOnly=True)
    assert '["JustificationRule"]' in error(refused)[2]
    activate(api, alice)
    api.work()
    back = {**body(api, alice), "action": "selfDeactivate", "isValidationOnly": True}
    for more in ({}, {"targetScheduleId": listed(alice, REQUESTS)[0]["id"]}):
        assert submit(alice, **{**back, **more}).status_code == 201
    api.work()
    assert holds_access(api)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"justification": None}, "JustificationRule"),
        ({"justification": "x" * 500}, "JustificationRule"),
        ({"scheduleInfo": {"expiration": {"type": "AfterDuration", "duration": "PT1S"}}}, "ExpirationRule"),
        ({"scheduleInfo": {"expiration": {"type": "NoExpiration"}}}, "ExpirationRule"),
        ({"scheduleInfo": {"expiration": {"type": "afterDateTime", "endDateTime": "2026-11-20T08:00:00Z"}}}, "ExpirationRule"),
        ({"roleDefinitionId": NOBODYS}, "EligibilityRule"),
    ],
)  # fmt: skip
def test_a_rule_that_fails_is_named(api: ApiWorld, alice: Caller, more: dict[str, Any], rule: str) -> None:
    status, code, message = error(submit(alice, **{**body(api, alice), **more}))
    assert (status, code) == (400, "RoleAssignmentRequestPolicyValidationFailed")
    assert message.startswith(f'The following policy rules failed: ["{rule}"]')
    assert listed(alice, REQUESTS) == []


def test_without_a_second_factor_the_mfa_rule_fails_and_nothing_waits(api: ApiWorld, alice: Caller) -> None:
    answer = submit(alice, code=False, **body(api, alice))
    assert 'The following policy rules failed: ["MfaRule"]' in error(answer)[2]
    assert listed(alice, REQUESTS) == []


def test_a_ticket_of_another_form_fails_its_rule(api: ApiWorld, alice: Caller) -> None:
    api.add_role("Ticketed", candidates=("CORP\\alice",), ticket_pattern="CHG[0-9]{7}")
    assert '["TicketingRule"]' in error(submit(alice, **body(api, alice, "Ticketed")))[2]
    made = activate(api, alice, "Ticketed", ticketInfo={"ticketNumber": "CHG0012345"})
    assert made["ticketInfo"]["ticketNumber"] == "CHG0012345"


def test_a_second_request_while_one_waits_says_so(api: ApiWorld, alice: Caller) -> None:
    activate(api, alice, "Approved")
    answer = submit(alice, **body(api, alice, "Approved"))
    assert error(answer)[:2] == (400, "PendingRoleAssignmentRequest")


def test_a_start_in_the_past_is_refused(api: ApiWorld, alice: Caller) -> None:
    past = {"startDateTime": "2026-11-19T09:00:00Z", "expiration": {"duration": "PT1H"}}
    answer = submit(alice, **{**body(api, alice), "scheduleInfo": past})
    assert error(answer)[:2] == (400, "InvalidRoleAssignmentRequestSchedule")


@pytest.mark.parametrize("duration", ["5:30:00", "PT5H30M", "pt330m"])
def test_durations_of_the_python_sdk_come_back_in_iso_8601(
    api: ApiWorld, alice: Caller, duration: str
) -> None:
    made = activate(api, alice, duration=duration)
    assert made["scheduleInfo"]["expiration"]["duration"] == "PT5H30M"


def test_a_day_and_two_hours_as_the_python_sdk_writes_it(api: ApiWorld, alice: Caller) -> None:
    api.add_role("Long", candidates=("CORP\\alice",), ttl=_long())
    made = activate(api, alice, "Long", duration="1 day, 2:00:00")
    assert made["scheduleInfo"]["expiration"]["duration"] == "P1DT2H"


def _long() -> Ttl:
    return Ttl(timedelta(hours=1), timedelta(hours=1), timedelta(days=2))


# ------------------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{DIRECTORY}/roleDefinitions?$orderby=id", 400, "BadRequest"),
        ("GET", f"{DIRECTORY}/roleDefinitions?$filter=nothing eq 'x'", 400, "BadRequest"),
        ("GET", f"{DIRECTORY}/roleDefinitions/{NOBODYS}", 404, "ResourceNotFound"),
        (
            "GET",
            f"{DIRECTORY}/roleEligibilitySchedules/filterByCurrentUser(on='approver')",
            400,
            "BadRequest",
        ),
        ("GET", f"{REQUESTS}/filterByCurrentUser(on='nobody')", 400, "BadRequest"),
        ("GET", "nothing", 404, "ResourceNotFound"),
        ("DELETE", f"{DIRECTORY}/roleDefinitions", 405, "MethodNotAllowed"),
        ("POST", REQUESTS, 400, "BadRequest"),
        ("GET", "policies/roleManagementPolicies", 403, "Authorization_RequestDenied"),
    ],
)
def test_a_refusal_has_its_code(
    api: ApiWorld, alice: Caller, method: str, path: str, status: int, code: str
) -> None:
    assert error(call(alice, method, path))[:2] == (status, code)


def test_pages_follow_each_other(api: ApiWorld, alice: Caller) -> None:
    for _ in range(3):
        activate(api, alice)
    seen, path = [], f"{REQUESTS}/{MINE}?$top=2&$filter=status ne 'Failed'"
    while path:
        answer = call(alice, "GET", path).json()
        seen += [one["id"] for one in answer["value"]]
        path = answer.get("@odata.nextLink", "").partition("/v1.0/")[2]
    assert len(set(seen)) == len(seen) == 3


def test_a_defect_says_nothing_but_its_incident(
    api: ApiWorld, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(api.services.requests, "offers", broken)
    answer = call(alice, "GET", f"{DIRECTORY}/roleDefinitions", headers={"client-request-id": "<b>"})
    assert error(answer)[:2] == (500, "InternalServerError")
    assert "canary" not in answer.text
    inner = answer.json()["error"]["innerError"]
    assert inner["client-request-id"] == inner["request-id"] in answer.json()["error"]["message"]


def test_a_schedule_that_names_nothing_gives_nothing_back(api: ApiWorld, alice: Caller) -> None:
    activate(api, alice)
    api.work()
    for schedule in ("_", "member_", "x"):
        back = {**body(api, alice), "action": "selfDeactivate", "targetScheduleId": schedule}
        assert error(submit(alice, **back))[:2] == (400, "RoleAssignmentDoesNotExist")
    assert holds_access(api)
