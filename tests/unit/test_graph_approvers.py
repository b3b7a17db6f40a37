"""Approvers by way of the approval rule: users and groups by their ids, read and written back, and refused where they do not fit."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from bastide.domain.roles import Role
from bastide.services.roles import StageDraft
from tests.support.api import APPROVAL, NOBODYS, ApiWorld, Caller, golden
from tests.support.graph import activate, call, error, me, role_id

pytest_plugins = ["tests.support.api"]
RULE = "Approval_EndUser_Assignment"
USER, GROUP = "#microsoft.graph.singleUser", "#microsoft.graph.groupMembers"
Setting = dict[str, Any]


def address(caller: Caller, role: str) -> str:
    return f"policies/roleManagementPolicies/DirectoryRole_{role_id(caller, role)}/rules/{RULE}"


def setting(caller: Caller, role: str = "Approved") -> Setting:
    answer = call(caller, "GET", address(caller, role))
    assert answer.status_code == 200, answer.text
    found: Setting = answer.json()["setting"]
    return found


def change(caller: Caller, said: Any, role: str = "Approved") -> httpx.Response:
    return call(caller, "PATCH", address(caller, role), json={"id": RULE, "setting": said})


def stages(*approvers: list[dict[str, Any]], **more: Any) -> Setting:
    """As Graph's own examples have it."""
    stage = {
        "approvalStageTimeOutInDays": 1,
        "isApproverJustificationRequired": False,
        "escalationTimeInMinutes": 0,
        "isEscalationEnabled": False,
        "escalationApprovers": [],
    }
    return {
        "isApprovalRequired": True,
        "isApprovalRequiredForExtension": False,
        "isRequestorJustificationRequired": True,
        "approvalMode": "SingleStage" if len(approvers) == 1 else "Parallel",
        "approvalStages": [{**stage, "primaryApprovers": list(found)} for found in approvers],
        **more,
    }


def user(key: str) -> dict[str, str]:
    return {"@odata.type": USER, "userId": key}


def group(key: str) -> dict[str, str]:
    return {"@odata.type": GROUP, "groupId": key, "description": "a team"}


def sid_of(api: ApiWorld, name: str) -> str:
    return str(api.sign_in(name).sid)


def stored(api: ApiWorld, role: str = "Approved") -> Role:
    return api.services.roles.show(api.dave, role)


def names(api: ApiWorld, role: str = "Approved") -> list[list[str]]:
    return [[subject.name for subject in stage.approvers] for stage in stored(api, role).stages]


def test_approvers_are_changed_by_their_ids_and_read_back(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    team, bob = str(api.teams["Team Network"].ref.sid), me(api.corp_caller("bob"))
    answer = change(dave, stages([user(sid_of(api, "heidi")), user(bob), group(team)]))
    assert (answer.status_code, answer.content) == (204, b"")
    assert names(api) == [["PRIV\\heidi", "CORP\\bob", "PRIV\\Team Network"]]
    assert [one.is_group for one in stored(api).stages[0].approvers] == [False, False, True]
    assert stored(api).stages[0].name == "owners", "its name stays"
    golden("graph/approvalRule", call(dave, "GET", address(dave, "Approved")))
    read = setting(dave)["approvalStages"][0]["primaryApprovers"]
    assert [one.get("userId") or one["groupId"] for one in read] == [sid_of(api, "heidi"), bob, team]
    request = api.services.requests.show(api.dave, activate(api, alice, "Approved")["id"])
    assert api.approve(request, "ivan").state.value == "Processing", "a member of the team approves"


def test_what_was_read_is_written_back_without_a_change(api: ApiWorld, dave: Caller) -> None:
    two = (StageDraft("owners", ("PRIV\\grace",)), StageDraft("security", ("PRIV\\heidi", "PRIV\\ivan"), 2))
    api.add_role("Two", candidates=("CORP\\alice",), stages=two)
    before = stored(api, "Two")
    assert setting(dave, "Two")["approvalMode"] == "Parallel"
    assert change(dave, setting(dave, "Two"), "Two").status_code == 204
    assert stored(api, "Two") == before
    turned = setting(dave, "Two")
    turned["approvalStages"][1]["primaryApprovers"].reverse()
    assert change(dave, turned, "Two").status_code == 204
    after = stored(api, "Two").stages
    assert (after[0], after[1].needed, after[1].approvers) == (
        before.stages[0],
        2,
        before.stages[1].approvers[::-1],
    ), "how many must agree stays"


def test_a_role_gets_its_first_stage_and_loses_it(api: ApiWorld, alice: Caller, dave: Caller) -> None:
    usual = "File administrators"
    assert setting(dave, usual)["approvalMode"] == "NoApproval"
    assert change(dave, stages([user(sid_of(api, "grace"))]), usual).status_code == 204
    assert [(one.name, one.needed) for one in stored(api, usual).stages] == [("stage 1", 1)]
    assert activate(api, alice)["status"] == "PendingApproval"
    default = stages([], isApprovalRequired=False)
    assert change(dave, default, usual).status_code == 204, "Graph's default names a stage without approvers"
    assert stored(api, usual).stages == ()


def test_the_days_and_the_justification_are_written(api: ApiWorld, dave: Caller) -> None:
    said = setting(dave)
    said["approvalStages"][0]["approvalStageTimeOutInDays"] = 3
    assert change(dave, {**said, "isRequestorJustificationRequired": False}).status_code == 204
    assert (stored(api).pending_life, stored(api).justification) == (timedelta(days=3), False)
    assert setting(dave)["approvalStages"][0]["approvalStageTimeOutInDays"] == 3


def test_less_than_a_day_stays_when_the_day_is_sent_back(api: ApiWorld, dave: Caller) -> None:
    api.add_role("Soon", stages=APPROVAL, pending_life=timedelta(hours=2))
    said = setting(dave, "Soon")
    said["approvalStages"][0]["primaryApprovers"].reverse()
    assert change(dave, said, "Soon").status_code == 204
    assert stored(api, "Soon").pending_life == timedelta(hours=2)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (stages([]), "approves nothing"),
        (stages([user("S-1-5-21-1-2-3-4")]), "there is no user"),
        (stages([user(NOBODYS)]), "there is no user"),
        (stages([group("S-1-5-21-1-2-3-4")]), "there is no group"),
        (stages([group(NOBODYS)]), "there is no group"),
        (stages([user("S-1-nothing")]), "not a security identifier"),
        (stages([user("grace")]), "there is no user"),
        (stages([{"@odata.type": "#microsoft.graph.requestorManager", "managerLevel": 1}]), "managerLevel"),
        (stages([{"description": "nobody"}]), "a userId or a groupId"),
        (stages([{"userId": "HEIDI", "groupId": "HEIDI"}]), "a userId or a groupId"),
        (stages([user("HEIDI")], approvalMode="Serial"), "beside each other"),
        (stages([user("HEIDI")], approvalMode="Parallel"), "does not go with 1 stages"),
        (stages([user("HEIDI")], [user("GRACE")], approvalMode="SingleStage"), "does not go with 2 stages"),
        (stages([user("HEIDI")], approvalMode="Anything"), "is not known here"),
        (stages([user("HEIDI")], approvalMode="NoApproval"), "contradicts"),
        (stages([user("HEIDI")], isApprovalRequiredForExtension=True), "asked for again"),
        (stages([user("HEIDI")], state="Approved"), "unknown field"),
        (stages(), "nobody is named"),
        ("SingleStage", "is an object"),
        (None, "is an object"),
        (stages([user(7)]), "userId"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(
    api: ApiWorld, dave: Caller, said: Any, words: str
) -> None:
    filled = _filled(said, {"HEIDI": sid_of(api, "heidi"), "GRACE": sid_of(api, "grace")})
    before = stored(api)
    status, code, message = error(change(dave, filled))
    assert (status, code) == (400, "BadRequest")
    assert words in message
    assert stored(api) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"isEscalationEnabled": True, "escalationTimeInMinutes": 60}, "nobody is asked in the place"),
        ({"escalationApprovers": [user("HEIDI")]}, "nobody is asked in the place"),
        ({"isApproverJustificationRequired": True}, "a rejection needs a reason"),
        ({"approvalStageTimeOutInDays": 0}, "is a number of days"),
        ({"approvalStageTimeOutInDays": 10**12}, "is a number of days"),
        ({"approvalStageTimeOutInDays": 31}, "pending_life"),
    ],
)
def test_what_a_stage_has_no_place_for_is_refused(
    api: ApiWorld, dave: Caller, more: dict[str, Any], words: str
) -> None:
    said, before = setting(dave), stored(api)
    said["approvalStages"][0] |= _filled(more, {"HEIDI": sid_of(api, "heidi")})
    status, code, message = error(change(dave, said))
    assert (status, code, words in message) == (400, "BadRequest", True), message
    assert stored(api) == before


def test_days_that_differ_between_stages_are_refused(api: ApiWorld, dave: Caller) -> None:
    said = stages([user(sid_of(api, "heidi"))], [user(sid_of(api, "grace"))])
    for index, one in enumerate(said["approvalStages"]):
        one["approvalStageTimeOutInDays"] = 2 + index
    assert "the same for all stages" in error(change(dave, said))[2]


def test_a_stage_that_nobody_can_pass_is_refused(api: ApiWorld, dave: Caller) -> None:
    """As everywhere: a role that cannot be used is not saved."""
    empty = api.priv.add_group("Empty")
    assert "only 0 enabled people" in error(change(dave, stages([group(empty.ref.sid)])))[2]
    two = (StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi"), 2),)
    api.add_role("Two of two", stages=two)
    said = stages([user(sid_of(api, "grace"))])
    assert "only 1 approvers" in error(change(dave, said, "Two of two"))[2]


def test_an_auditor_reads_the_approvers_and_changes_none(api: ApiWorld, frank: Caller) -> None:
    assert setting(frank)["approvalMode"] == "SingleStage"
    answer = change(frank, stages([user(NOBODYS)]))
    assert error(answer)[:2] == (403, "Authorization_RequestDenied")


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, known) for one in value]
    return known.get(value, value) if isinstance(value, str) else value
