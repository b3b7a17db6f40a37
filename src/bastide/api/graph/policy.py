"""A role's rules as Graph's seventeen: read, and changed where a rule says something that a role has.

`settings` reads them out of a role; `changed` writes one back. What a role has no place for is there with the value that is true of Bastide, and
is refused when somebody wants another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from bastide.api.graph.errors import BAD, GraphRefused
from bastide.api.graph.given import bare
from bastide.api.graph.query import Row, Shape
from bastide.api.graph.values import duration, written
from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.ids import Sid
from bastide.domain.roles import Role, Stage, Subject, Ttl

_TYPE = "#microsoft.graph.unifiedRoleManagementPolicy"
_PREFIX = "DirectoryRole_"
MFA, JUSTIFICATION, TICKETING = "MultiFactorAuthentication", "Justification", "Ticketing"
#: A ticket of any form.
_ANY_TICKET = ".+"

#: Of all kinds together. What is of type list is no single value, and so is not compared.
RULE = Shape(
    {
        "id": str, "@odata.type": str, "isExpirationRequired": bool, "maximumDuration": list, "enabledRules": list,
        "isEnabled": bool, "claimValue": str, "notificationType": str, "recipientType": str, "notificationLevel": str,
        "isDefaultRecipientsEnabled": bool, "notificationRecipients": list,
    },
    {
        "target": Shape({"caller": str, "level": str}),
        "setting": Shape({"isApprovalRequired": bool, "approvalMode": str}),
    },
)  # fmt: skip
POLICY = Shape(
    {
        "id": str, "displayName": str, "description": str, "isOrganizationDefault": bool, "scopeId": str,
        "scopeType": str, "lastModifiedDateTime": str, "roleDefinitionId": str,
    },
    {},
    {"rules": RULE, "effectiveRules": RULE},
)  # fmt: skip
ASSIGNMENT = Shape(
    {"id": str, "policyId": str, "scopeId": str, "scopeType": str, "roleDefinitionId": str},
    {},
    {"policy": POLICY},
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One of the seventeen: its kind, and how its fields are read and written. A field without a way to write it cannot be changed."""

    kind: str
    read: Callable[[Role], dict[str, Any]]
    write: Mapping[str, Callable[[Role, Any], Role]]


def policy(role: Role) -> Row:
    """The policy of a role."""
    rules = [rule(role, name) for name in RULES]
    return {
        "id": f"{_PREFIX}{role.id}",
        "displayName": role.name,
        "description": role.description or None,
        "isOrganizationDefault": False,
        "scopeId": "/",
        "scopeType": "DirectoryRole",
        "lastModifiedDateTime": None,
        "roleDefinitionId": role.id,
        "rules": rules,
        "effectiveRules": rules,
    }


def assignment(role: Role) -> Row:
    """That the policy is the role's."""
    return {
        "id": f"{_PREFIX}{role.id}_{role.id}",
        "policyId": f"{_PREFIX}{role.id}",
        "scopeId": "/",
        "scopeType": "DirectoryRole",
        "roleDefinitionId": role.id,
        "policy": policy(role),
    }


def role_of(policy_id: str) -> str:
    """The id of the role that a policy is of. Raises NotFound."""
    if not policy_id.startswith(_PREFIX):
        raise NotFound("no such policy")
    return policy_id.removeprefix(_PREFIX)


def rule(role: Role, name: str) -> dict[str, Any]:
    """One rule. Raises NotFound."""
    if name not in RULES:
        raise NotFound(f"no rule {name[:80]!r}")
    return {
        "@odata.type": f"{_TYPE}{RULES[name].kind}",
        "id": name,
        "target": _target(name),
        **RULES[name].read(role),
    }


def changed(role: Role, name: str, body: Mapping[str, Any]) -> Role:
    """The role with what a client wants of a rule. Raises NotFound, InvalidInput, GraphRefused."""
    now = bare(written(rule(role, name)))
    for field, value in body.items():
        if field == "target" or (field in now and now[field] == value):
            continue
        write = RULES[name].write.get(field)
        if write is None:
            raise GraphRefused(
                BAD,
                f"{name}: {field[:80]} cannot be set to that in Bastide",
                remedy="docs/reference/graph-pim.md says what maps; `bastide role edit` changes the rest",
            )
        role = write(role, value)
    return role


def _target(name: str) -> dict[str, Any]:
    caller, level = name.split("_")[-2:]
    return {
        "@odata.type": "#microsoft.graph.unifiedRoleManagementPolicyRuleTarget",
        "caller": caller, "operations": ["all"], "level": level, "inheritableSettings": [], "enforcedSettings": [],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------ rules


def _enabled(role: Role) -> dict[str, Any]:
    said = [(MFA, role.mfa), (JUSTIFICATION, role.justification), (TICKETING, bool(role.ticket_pattern))]
    return {"enabledRules": [name for name, on in said if on]}


def _set_enabled(role: Role, value: Any) -> Role:
    """Ticketing asks for any ticket, unless the role has a pattern already."""
    known = (MFA, JUSTIFICATION, TICKETING)
    if not isinstance(value, list) or any(one not in known for one in value):
        raise InvalidInput(
            "enabledRules", "is not known here", remedy=f"there are {', '.join(sorted(known))}"
        )
    pattern = role.ticket_pattern or _ANY_TICKET
    return replace(
        role,
        mfa=MFA in value,
        justification=JUSTIFICATION in value,
        ticket_pattern=pattern if TICKETING in value else "",
    )


def _set_longest(role: Role, value: Any) -> Role:
    if not isinstance(value, str):
        raise InvalidInput("maximumDuration", "is not a duration")
    longest = duration("maximumDuration", value)
    return replace(role, ttl=Ttl(min(role.ttl.default, longest), min(role.ttl.minimum, longest), longest))


def _approval(role: Role) -> dict[str, Any]:
    mode = "NoApproval" if not role.stages else "SingleStage" if len(role.stages) == 1 else "Serial"
    return {
        "setting": {
            "isApprovalRequired": bool(role.stages),
            "isApprovalRequiredForExtension": False,
            "isRequestorJustificationRequired": role.justification,
            "approvalMode": mode,
            "approvalStages": [_stage(stage, role.pending_life) for stage in role.stages],
        }
    }


def _stage(stage: Stage, life: timedelta) -> dict[str, Any]:
    return {
        "approvalStageTimeOutInDays": max(1, life.days),
        "isApproverJustificationRequired": False,
        "escalationTimeInMinutes": 0,
        "isEscalationEnabled": False,
        "primaryApprovers": [_approver(subject) for subject in stage.approvers],
        "escalationApprovers": [],
    }


def _approver(subject: Subject) -> dict[str, Any]:
    if subject.is_group:
        return {
            "@odata.type": "#microsoft.graph.groupMembers",
            "groupId": Sid(subject.sid),
            "description": subject.name,
        }
    return {
        "@odata.type": "#microsoft.graph.singleUser",
        "userId": Sid(subject.sid),
        "description": subject.name,
    }


def _set_approval(role: Role, value: Any) -> Role:
    """Approval is switched off here; who approves is a matter of names, and of how many are needed, which Graph has no place for."""
    if isinstance(value, dict) and value.get("isApprovalRequired") is False:
        return replace(role, stages=())
    raise GraphRefused(
        BAD, "setting: stages and approvers are not changed by way of Graph; isApprovalRequired false takes them away",
        remedy="`bastide role edit --stage` sets them",
    )  # fmt: skip


def _always(**fields: Any) -> Callable[[Role], dict[str, Any]]:
    return lambda _: dict(fields)


def _notifications() -> dict[str, Rule]:
    """Bastide sends none yet."""
    return {
        f"Notification_{who}_{when}": Rule(
            "NotificationRule",
            _always(
                notificationType="Email", recipientType=who, notificationLevel="All",
                isDefaultRecipientsEnabled=False, notificationRecipients=[],
            ),
            {},
        )
        for when in ("Admin_Eligibility", "Admin_Assignment", "EndUser_Assignment")
        for who in ("Admin", "Requestor", "Approver")
    }  # fmt: skip


RULES: Mapping[str, Rule] = {
    #: A candidate stays one until somebody takes it away.
    "Expiration_Admin_Eligibility": Rule(
        "ExpirationRule", _always(isExpirationRequired=False, maximumDuration=None), {}
    ),
    #: Nobody is given access that they did not ask for.
    "Expiration_Admin_Assignment": Rule(
        "ExpirationRule", _always(isExpirationRequired=True, maximumDuration=timedelta(0)), {}
    ),
    "Expiration_EndUser_Assignment": Rule(
        "ExpirationRule",
        lambda role: {"isExpirationRequired": True, "maximumDuration": role.ttl.maximum},
        {"maximumDuration": _set_longest},
    ),
    "Enablement_Admin_Eligibility": Rule("EnablementRule", _always(enabledRules=[]), {}),
    "Enablement_Admin_Assignment": Rule("EnablementRule", _always(enabledRules=[]), {}),
    "Enablement_EndUser_Assignment": Rule("EnablementRule", _enabled, {"enabledRules": _set_enabled}),
    "Approval_EndUser_Assignment": Rule("ApprovalRule", _approval, {"setting": _set_approval}),
    "AuthenticationContext_EndUser_Assignment": Rule(
        "AuthenticationContextRule", _always(isEnabled=False, claimValue=""), {}
    ),
    **_notifications(),
}
