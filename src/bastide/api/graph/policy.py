"""A role's rules as Graph's seventeen: read, and changed where a rule says something that a role has.

`settings` reads them out of a role; `changed` writes one back. What a role has no place for is there with the value that is true of Bastide, and
is refused when somebody wants another.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from bastide.api.graph import approvers
from bastide.api.graph.approvers import Book, Named
from bastide.api.graph.errors import BAD, GraphRefused
from bastide.api.graph.given import bare
from bastide.api.graph.shape import Row, Shape
from bastide.api.graph.values import duration, written
from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.roles import Role, Ttl

_TYPE = "#microsoft.graph.unifiedRoleManagementPolicy"
_OF_ROLE, _OF_GROUP = "DirectoryRole_", "Group_"
APPROVAL = "Approval_EndUser_Assignment"
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
    read: Callable[[Role, Book], dict[str, Any]]
    write: Mapping[str, Callable[[Role, Any, Book], Role]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a role's rules are found: as those of the directory role, or of the members of the one PAM group that it gives."""

    policy: str
    scope: str
    kind: str
    definition: str


def places(role: Role) -> tuple[Place, ...]:
    """A role that gives several groups has no rules of one of them: activated for one, it would give more."""
    own = Place(f"{_OF_ROLE}{role.id}", "/", "DirectoryRole", role.id)
    if len(role.privileges) != 1:
        return (own,)
    group = role.privileges[0]
    return own, Place(f"{_OF_GROUP}{group}_{role.id}", group, "Group", "member")


def policies(role: Role, book: Book) -> Iterator[Row]:
    """The policies of a role."""
    rules = [rule(role, name, book) for name in RULES]
    for place in places(role):
        yield {
            "id": place.policy,
            "displayName": role.name,
            "description": role.description or None,
            "isOrganizationDefault": False,
            "scopeId": place.scope,
            "scopeType": place.kind,
            "lastModifiedDateTime": None,
            "roleDefinitionId": place.definition,
            "rules": rules,
            "effectiveRules": rules,
        }


def assignments(role: Role, book: Book) -> Iterator[Row]:
    """That these policies are the role's."""
    for one in policies(role, book):
        yield {
            "id": f"{one['id']}_{one['roleDefinitionId']}",
            "policyId": one["id"],
            "scopeId": one["scopeId"],
            "scopeType": one["scopeType"],
            "roleDefinitionId": one["roleDefinitionId"],
            "policy": one,
        }


def policy(role: Role, key: str, book: Book) -> Row:
    """One of them. Raises NotFound."""
    found = next((one for one in policies(role, book) if one["id"] == key), None)
    if found is None:
        raise _absent()
    return found


def role_of(key: str) -> str:
    """The id of the role that a policy would be of. Raises NotFound."""
    if not key.startswith((_OF_ROLE, _OF_GROUP)):
        raise _absent()
    return key.rpartition("_")[2]


def of_key(role: Role, key: str) -> Role:
    """The role, if the policy is its own. Raises NotFound."""
    if all(place.policy != key for place in places(role)):
        raise _absent()
    return role


def _absent() -> NotFound:
    return NotFound("no such policy")


def rule(role: Role, name: str, book: Book) -> dict[str, Any]:
    """One rule. Raises NotFound."""
    if name not in RULES:
        raise NotFound(f"no rule {name[:80]!r}")
    return {
        "@odata.type": f"{_TYPE}{RULES[name].kind}",
        "id": name,
        "target": _target(name),
        **RULES[name].read(role, book),
    }


def changed(role: Role, name: str, body: Mapping[str, Any], book: Book) -> Role:
    """The role with what a client wants of a rule. Raises NotFound, InvalidInput, GraphRefused."""
    now = bare(written(rule(role, name, book)))
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
        role = write(role, value, book)
    return role


def named(role: Role, name: str, body: Mapping[str, Any], book: Book) -> tuple[Named, ...]:
    """The approvers in a client's rule that are to be looked up. Raises InvalidInput."""
    if name != APPROVAL or "setting" not in body:
        return ()
    return tuple(approvers.named(role, body["setting"], book))


def _target(name: str) -> dict[str, Any]:
    caller, level = name.split("_")[-2:]
    return {
        "@odata.type": "#microsoft.graph.unifiedRoleManagementPolicyRuleTarget",
        "caller": caller, "operations": ["all"], "level": level, "inheritableSettings": [], "enforcedSettings": [],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------ rules


def _enabled(role: Role, _: Book) -> dict[str, Any]:
    said = [(MFA, role.mfa), (JUSTIFICATION, role.justification), (TICKETING, bool(role.ticket_pattern))]
    return {"enabledRules": [name for name, on in said if on]}


def _set_enabled(role: Role, value: Any, _: Book) -> Role:
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


def _set_longest(role: Role, value: Any, _: Book) -> Role:
    if not isinstance(value, str):
        raise InvalidInput("maximumDuration", "is not a duration")
    longest = duration("maximumDuration", value)
    return replace(role, ttl=Ttl(min(role.ttl.default, longest), min(role.ttl.minimum, longest), longest))


def _always(**fields: Any) -> Callable[[Role, Book], dict[str, Any]]:
    return lambda _role, _book: dict(fields)


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
        lambda role, _: {"isExpirationRequired": True, "maximumDuration": role.ttl.maximum},
        {"maximumDuration": _set_longest},
    ),
    "Enablement_Admin_Eligibility": Rule("EnablementRule", _always(enabledRules=[]), {}),
    #: All that an administrator does about somebody's access is to end it, and that needs a reason.
    "Enablement_Admin_Assignment": Rule("EnablementRule", _always(enabledRules=[JUSTIFICATION]), {}),
    "Enablement_EndUser_Assignment": Rule("EnablementRule", _enabled, {"enabledRules": _set_enabled}),
    APPROVAL: Rule("ApprovalRule", approvers.read, {"setting": approvers.written}),
    "AuthenticationContext_EndUser_Assignment": Rule(
        "AuthenticationContextRule", _always(isEnabled=False, claimValue=""), {}
    ),
    **_notifications(),
}
