"""A role's rules as Graph's seventeen: read, changed where they map, refused where they do not."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from bastide.domain.roles import Role
from tests.support.api import ApiWorld, Caller, golden
from tests.support.graph import DIRECTORY, call, error, listed, role_id

pytest_plugins = ["tests.support.api"]
POLICIES = "policies/roleManagementPolicies"


def change(caller: Caller, rule: str, role: str = "Approved", **fields: Any) -> httpx.Response:
    key = role_id(caller, role)
    return call(caller, "PATCH", f"{POLICIES}/DirectoryRole_{key}/rules/{rule}", json=fields)


def stored(api: ApiWorld, role: str = "Approved") -> Role:
    return api.services.roles.show(api.dave, role)


def test_policies_as_the_golden_files_have_them(api: ApiWorld, dave: Caller) -> None:
    key = role_id(dave, "Approved")
    wanted = f"scopeId eq '/' and scopeType eq 'DirectoryRole' and roleDefinitionId eq '{key}'"
    path = f"policies/roleManagementPolicyAssignments?$filter={wanted}&$expand=policy($expand=rules)"
    golden("graph/roleManagementPolicyAssignments", call(dave, "GET", path))
    rule = "Expiration_EndUser_Assignment"
    golden("graph/rule", call(dave, "GET", f"{POLICIES}/DirectoryRole_{key}/rules/{rule}"))


def test_seventeen_rules_in_every_way_to_them(api: ApiWorld) -> None:
    frank = api.caller("frank")
    policy = f"DirectoryRole_{role_id(frank, 'Approved')}"
    rules = listed(frank, f"{POLICIES}/{policy}/rules")
    assert len({one["id"] for one in rules}) == 17
    expanded = call(frank, "GET", f"{POLICIES}/{policy}?$expand=rules,effectiveRules").json()
    assert expanded["rules"] == expanded["effectiveRules"] == rules
    assert "rules" not in call(frank, "GET", f"{POLICIES}/{policy}").json()
    assert len(listed(frank, f"{POLICIES}?$filter=scopeType eq 'DirectoryRole'")) == 2


@pytest.mark.parametrize(
    ("rule", "fields", "expected"),
    [
        ("Expiration_EndUser_Assignment", {"maximumDuration": "PT4H", "isExpirationRequired": True}, {"ttl.maximum": timedelta(hours=4)}),
        ("Expiration_EndUser_Assignment", {"maximumDuration": "0:30:00"}, {"ttl.maximum": timedelta(minutes=30), "ttl.default": timedelta(minutes=30)}),
        ("Enablement_EndUser_Assignment", {"enabledRules": []}, {"mfa": False, "justification": False, "ticket_pattern": ""}),
        ("Enablement_EndUser_Assignment", {"enabledRules": ["Ticketing", "MultiFactorAuthentication"]}, {"mfa": True, "justification": False, "ticket_pattern": ".+"}),
        ("Approval_EndUser_Assignment", {"setting": {"isApprovalRequired": False}}, {"stages": ()}),
    ],
)  # fmt: skip
def test_a_rule_that_maps_is_changed(
    api: ApiWorld, dave: Caller, rule: str, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    more: dict[str, Any] = {"@odata.type": "#microsoft.graph.x", "id": rule, "target": {"caller": "EndUser"}}
    answer = change(dave, rule, **more, **fields)
    assert (answer.status_code, answer.content) == (204, b"")
    for path, value in expected.items():
        found: Any = stored(api)
        for part in path.split("."):
            found = getattr(found, part)
        assert found == value
    assert api.events("role.changed") == ["role.changed"]
    assert change(dave, rule, **more, **fields).status_code == 204, "what is so already is no error"
    assert api.events("role.changed") == ["role.changed"]


def test_a_pattern_of_tickets_stays_when_ticketing_is_said_again(api: ApiWorld, dave: Caller) -> None:
    api.add_role("Ticketed", ticket_pattern="CHG[0-9]{7}")
    change(dave, "Enablement_EndUser_Assignment", "Ticketed", enabledRules=["Ticketing"])
    assert stored(api, "Ticketed").ticket_pattern == "CHG[0-9]{7}"
    assert not stored(api, "Ticketed").mfa


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("Expiration_EndUser_Assignment", {"isExpirationRequired": False}),
        ("Expiration_EndUser_Assignment", {"maximumDuration": "for ever"}),
        ("Expiration_EndUser_Assignment", {"maximumDuration": 5}),
        ("Expiration_EndUser_Assignment", {"maximumDuration": "P365D"}),
        ("Expiration_EndUser_Assignment", {"maximumDuration": "PT4H", "nothing": 1}),
        ("Expiration_EndUser_Assignment", {"maximumDuration": "PT4H", "id": "Expiration_Admin_Assignment"}),
        ("Expiration_Admin_Eligibility", {"isExpirationRequired": True, "maximumDuration": "P365D"}),
        ("Expiration_Admin_Assignment", {"maximumDuration": "P180D"}),
        ("Enablement_EndUser_Assignment", {"enabledRules": ["Nothing"]}),
        ("Enablement_EndUser_Assignment", {"enabledRules": [7]}),
        ("Enablement_EndUser_Assignment", {"enabledRules": "Ticketing"}),
        ("Enablement_Admin_Assignment", {"enabledRules": []}),
        ("Approval_EndUser_Assignment", {"setting": {"isApprovalRequired": True, "approvalStages": []}}),
        ("Approval_EndUser_Assignment", {"setting": None}),
        ("AuthenticationContext_EndUser_Assignment", {"isEnabled": True, "claimValue": "c1"}),
        ("Notification_Admin_Admin_Eligibility", {"notificationRecipients": ["a@b.example"]}),
    ],
)
def test_a_rule_that_does_not_map_is_refused_and_nothing_is_changed(
    api: ApiWorld, dave: Caller, rule: str, fields: dict[str, Any]
) -> None:
    before = stored(api)
    assert error(change(dave, rule, **fields))[:2] == (400, "BadRequest")
    assert stored(api) == before


def test_all_rules_sent_back_as_they_were_read_change_nothing(api: ApiWorld, dave: Caller) -> None:
    before = stored(api)
    key = role_id(dave, "Approved")
    for rule in listed(dave, f"{POLICIES}/DirectoryRole_{key}/rules"):
        assert change(dave, rule["id"], **rule).status_code == 204
    assert stored(api) == before


def test_who_may_read_and_who_may_change(api: ApiWorld) -> None:
    key = role_id(api.caller("dave"), "Approved")
    path = f"{POLICIES}/DirectoryRole_{key}"
    for caller in (api.corp_caller("alice"), api.caller("grace")):
        for way in (POLICIES, path, f"{path}/rules", f"{path}/rules/Expiration_EndUser_Assignment"):
            assert error(call(caller, "GET", way))[:2] == (403, "Authorization_RequestDenied")
    for caller in (api.corp_caller("alice"), api.caller("grace"), api.caller("frank")):
        answer = call(
            caller, "PATCH", f"{path}/rules/Enablement_EndUser_Assignment", json={"enabledRules": []}
        )
        assert error(answer)[:2] == (403, "Authorization_RequestDenied")
    assert stored(api).mfa


@pytest.mark.parametrize(
    "path",
    [
        "DirectoryRole_nothing",
        "DirectoryRole_Approved",
        "Group_x_member",
        "Group_x_KEY",
        "Group_KEY",
        "DirectoryRole_KEY/rules/Nothing",
        "Group_x_KEY/rules/Enablement_EndUser_Assignment",
        "KEY",
    ],
)
def test_a_policy_that_is_not_there(api: ApiWorld, dave: Caller, path: str) -> None:
    found = path.replace("KEY", role_id(dave, "Approved"))
    assert error(call(dave, "GET", f"{POLICIES}/{found}"))[:2] == (404, "ResourceNotFound")


def test_definitions_show_the_same_roles(api: ApiWorld, dave: Caller) -> None:
    policies = listed(dave, f"{POLICIES}?$filter=scopeType eq 'DirectoryRole'")
    definitions = listed(dave, f"{DIRECTORY}/roleDefinitions")
    assert [one["roleDefinitionId"] for one in policies] == [one["id"] for one in definitions]


def test_a_group_has_the_rules_of_the_role_that_gives_it_alone(api: ApiWorld, dave: Caller) -> None:
    """As scripts for PIM for Groups look for them."""
    api.services.roles.remove(api.dave, "Approved")
    api.prepare_group("DbAdmins")
    api.add_role("Two groups", privileges=("PAM-FileAdmins", "PAM-DbAdmins"))
    group = next(one.id for one in api.services.accounts.groups(api.dave) if one.name == "PAM-FileAdmins")
    wanted = f"scopeId eq '{group}' and scopeType eq 'Group' and roleDefinitionId eq 'member'"
    path = f"policies/roleManagementPolicyAssignments?$filter={wanted}&$expand=policy($expand=rules)"
    (found,) = listed(dave, path)
    assert found["policy"]["displayName"] == "File administrators"
    assert len(found["policy"]["rules"]) == 17
    rule = f"{POLICIES}/{found['policyId']}/rules/Expiration_EndUser_Assignment"
    assert call(dave, "PATCH", rule, json={"maximumDuration": "PT2H"}).status_code == 204
    assert stored(api, "File administrators").ttl.maximum == timedelta(hours=2)
    assert call(dave, "GET", rule).json()["maximumDuration"] == "PT2H"
    scopes = [one["scopeType"] for one in listed(dave, POLICIES)]
    assert sorted(scopes) == ["DirectoryRole", "DirectoryRole", "Group"]
