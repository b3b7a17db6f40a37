"""From the domain's objects to the rows of this dialect, with typed values: so they are filtered, and then written.

A role is a directory role. A role that gives one PAM group and nothing else is eligibility for that group, too (PIM for Groups).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bastide.api.graph.shape import Row, Shape
from bastide.api.graph.values import iso
from bastide.domain.ids import GroupId, Sid
from bastide.domain.people import PamUser
from bastide.domain.requests import Request, State
from bastide.domain.roles import Role, Subject
from bastide.services.profiles import Profile

#: As requests carry it that were made through this API.
METHOD = "Graph API"
_TEXT, _TIME = str, datetime
_STATUS: Mapping[State, str] = {
    State.PENDING_MFA: "PendingScheduleCreation",
    State.PENDING_APPROVAL: "PendingApproval",
    State.SCHEDULED: "Granted",
    State.PROCESSING: "PendingProvisioning",
    State.ACTIVE: "Provisioned",
    State.CLOSING: "Revoked",
    State.CLOSED: "Revoked",
    State.EXPIRED: "Revoked",
    State.REJECTED: "Denied",
    State.CANCELLED: "Canceled",
    State.FAILED: "Failed",
}

_EXPIRATION = Shape({"type": _TEXT, "endDateTime": _TIME, "duration": _TEXT})
_SCHEDULE_INFO = Shape({"startDateTime": _TIME, "recurrence": _TEXT}, {"expiration": _EXPIRATION})
_IDENTITY = Shape({"id": _TEXT, "displayName": _TEXT})
_BY = Shape({"application": _TEXT, "device": _TEXT}, {"user": _IDENTITY})
_PRINCIPAL = Shape({"@odata.type": _TEXT, "id": _TEXT, "displayName": _TEXT})
DEFINITION = Shape(
    {
        "id": _TEXT, "displayName": _TEXT, "description": _TEXT, "isBuiltIn": bool, "isEnabled": bool,
        "resourceScopes": list, "rolePermissions": list, "templateId": _TEXT, "version": _TEXT,
    }
)  # fmt: skip
USER = Shape(
    {
        "id": _TEXT, "userPrincipalName": _TEXT, "displayName": _TEXT, "mail": _TEXT, "accountEnabled": bool,
        "onPremisesSamAccountName": _TEXT, "onPremisesSecurityIdentifier": _TEXT,
    }
)  # fmt: skip
_OWN = {"id": _TEXT, "principalId": _TEXT, "memberType": _TEXT}
_ROLE = {"roleDefinitionId": _TEXT, "directoryScopeId": _TEXT, "appScopeId": _TEXT}
_GROUP = {"groupId": _TEXT, "accessId": _TEXT}
_OF_SCHEDULE = {"status": _TEXT, "createdUsing": _TEXT, "createdDateTime": _TIME, "modifiedDateTime": _TIME}
_OF_INSTANCE = {"startDateTime": _TIME, "endDateTime": _TIME}
_OF_REQUEST = {
    "id": _TEXT, "status": _TEXT, "createdDateTime": _TIME, "completedDateTime": _TIME, "approvalId": _TEXT,
    "customData": _TEXT, "action": _TEXT, "principalId": _TEXT, "isValidationOnly": bool, "targetScheduleId": _TEXT,
    "justification": _TEXT,
}  # fmt: skip
_IN_REQUEST = {
    "createdBy": _BY,
    "scheduleInfo": _SCHEDULE_INFO,
    "ticketInfo": Shape({"ticketNumber": _TEXT, "ticketSystem": _TEXT}),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """Directory roles, or PIM for Groups: the same things by other names."""

    of_group: bool

    @property
    def aim(self) -> Mapping[str, type]:
        return _GROUP if self.of_group else _ROLE

    @property
    def expandable(self) -> dict[str, Shape]:
        group = {"principal": _PRINCIPAL, "group": _IDENTITY}
        role = {
            "principal": _PRINCIPAL, "roleDefinition": DEFINITION, "directoryScope": Shape({"id": _TEXT}),
            "appScope": Shape({"id": _TEXT}),
        }  # fmt: skip
        return group if self.of_group else role

    def request_shape(self) -> Shape:
        return Shape({**_OF_REQUEST, **self.aim}, _IN_REQUEST, self.expandable)

    def schedule_shape(self, **more: type) -> Shape:
        return Shape(
            {**_OWN, **self.aim, **_OF_SCHEDULE, **more}, {"scheduleInfo": _SCHEDULE_INFO}, self.expandable
        )

    def instance_shape(self, **more: type) -> Shape:
        return Shape({**_OWN, **self.aim, **_OF_INSTANCE, **more}, {}, self.expandable)

    def word(self, text: str) -> str:
        """Enumerations of PIM for Groups are in camel case; the same of directory roles are plain text with a capital."""
        return text[0].lower() + text[1:] if self.of_group else text

    def aims(self, target: str, one: Request) -> bool:
        """Whether a request is for that role, or for that group and nothing else."""
        return one.privileges == (target,) if self.of_group else one.role == target

    def _aim(
        self, role: str, name: str, groups: tuple[GroupId, ...], definition: Row | None = None
    ) -> dict[str, Any]:
        if self.of_group:
            return {
                "groupId": groups[0],
                "accessId": "member",
                "group": {"id": groups[0], "displayName": None},
            }
        return {
            "roleDefinitionId": role, "directoryScopeId": "/", "appScopeId": None, "directoryScope": {"id": "/"},
            "appScope": None, "roleDefinition": definition or {"id": role, "displayName": name},
        }  # fmt: skip

    # ----------------------------------------------------------------------------------------------------- assignments

    def request(self, one: Request, action: str = "selfActivate", *, validation_only: bool = False) -> Row:
        """A request, also one that only was tried."""
        completed = one.closed_at or one.active_from
        return {
            "id": one.id,
            "status": status(one),
            "createdDateTime": one.created_at,
            "completedDateTime": completed,
            "approvalId": one.id if one.needs_approval else None,
            "customData": None,
            "action": action,
            "principalId": one.user,
            "isValidationOnly": validation_only,
            "targetScheduleId": self._schedule_id(one),
            "justification": one.justification or None,
            "createdBy": {
                "application": None,
                "device": None,
                "user": {"id": one.user, "displayName": one.user_name},
            },
            "scheduleInfo": _activation(one),
            "ticketInfo": {"ticketNumber": one.ticket or None, "ticketSystem": None},
            **self._aim(one.role, one.role_name, one.privileges),
            "principal": _user(one.user, one.user_name),
        }

    def schedule(self, one: Request) -> Row:
        """Access that is to come, or there."""
        return {
            "id": self._schedule_id(one),
            "principalId": one.user,
            "memberType": self.word("Direct"),
            "assignmentType": self.word("Activated"),
            "status": status(one),
            "createdUsing": one.id,
            "createdDateTime": one.created_at,
            "modifiedDateTime": one.active_from,
            "scheduleInfo": _activation(one),
            **self._aim(one.role, one.role_name, one.privileges),
            "principal": _user(one.user, one.user_name),
        }

    def instance(self, one: Request) -> Row:
        """Access that is there, or may be."""
        return {
            "id": one.id,
            "principalId": one.user,
            "memberType": self.word("Direct"),
            "assignmentType": self.word("Activated"),
            "startDateTime": one.active_from,
            "endDateTime": one.ends_at,
            self.schedule_name: self._schedule_id(one),
            **self._aim(one.role, one.role_name, one.privileges),
            "principal": _user(one.user, one.user_name),
        }

    @property
    def schedule_name(self) -> str:
        return "assignmentScheduleId" if self.of_group else "roleAssignmentScheduleId"

    @property
    def eligibility_name(self) -> str:
        return "eligibilityScheduleId" if self.of_group else "roleEligibilityScheduleId"

    def _schedule_id(self, one: Request) -> str:
        return f"{one.privileges[0]}_member_{one.id}" if self.of_group else one.id

    # ----------------------------------------------------------------------------------------------------- eligibility

    def eligibility(self, role: Role, holder: "Holder") -> Row:
        """A candidate of a role."""
        return {
            "id": self._eligibility_id(role, holder),
            "memberType": self.word("Group" if holder.by_group else "Direct"),
            "status": "Provisioned",
            "createdUsing": self._eligibility_id(role, holder),
            "createdDateTime": role.created_at,
            "modifiedDateTime": None,
            "scheduleInfo": _endless(role.created_at),
            **self._held(role, holder),
        }

    def eligibility_instance(self, role: Role, holder: "Holder") -> Row:
        """The same, as it is now."""
        return {
            "id": self._eligibility_id(role, holder),
            "memberType": self.word("Group" if holder.by_group else "Direct"),
            "startDateTime": role.created_at,
            "endDateTime": None,
            self.eligibility_name: self._eligibility_id(role, holder),
            **self._held(role, holder),
        }

    def eligibility_request(
        self, role: Role, holder: "Holder", action: str = "adminAssign", *, validation_only: bool = False
    ) -> Row:
        """What made a candidate: Bastide keeps no record of it but the audit's, so it is told from what is there."""
        return {
            "id": self._eligibility_id(role, holder),
            "status": "Revoked" if action == "adminRemove" else "Provisioned",
            "createdDateTime": role.created_at,
            "completedDateTime": role.created_at,
            "approvalId": None,
            "customData": None,
            "action": action,
            "isValidationOnly": validation_only,
            "targetScheduleId": self._eligibility_id(role, holder),
            "justification": None,
            "createdBy": None,
            "scheduleInfo": _endless(role.created_at),
            "ticketInfo": {"ticketNumber": None, "ticketSystem": None},
            **self._held(role, holder),
        }

    def _held(self, role: Role, holder: "Holder") -> dict[str, Any]:
        return {
            "principalId": holder.id,
            "principal": {
                "@odata.type": f"#microsoft.graph.{holder.kind}",
                "id": holder.id,
                "displayName": holder.name,
            },
            **self._aim(role.id, role.name, role.privileges, definition(role)),
        }

    def _eligibility_id(self, role: Role, holder: "Holder") -> str:
        """Two roles may give the same group."""
        start = f"{role.privileges[0]}_member_" if self.of_group else ""
        return f"{start}{role.id}_{holder.id}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a candidate is: a PAM user by its id, anybody else by the SID."""

    id: str
    name: str
    kind: str = "user"
    by_group: bool = False


def holder(subject: Subject, users: Mapping[Sid, PamUser]) -> Holder:
    """A candidate as an administrator sees it. `users`: by the SIDs of both accounts."""
    if subject.is_group:
        return Holder(subject.sid, subject.name, "group")
    user = users.get(subject.sid)
    return Holder(user.id, user.name) if user is not None else Holder(subject.sid, subject.name)


def definition(role: Role) -> Row:
    """A role. What it permits is in the PAM groups; Graph's list of actions knows no such thing."""
    return {
        "id": role.id,
        "displayName": role.name,
        "description": role.description or None,
        "isBuiltIn": False,
        "isEnabled": role.enabled,
        "resourceScopes": ["/"],
        "rolePermissions": [],
        "templateId": role.id,
        "version": str(role.version),
    }


def user(profile: Profile) -> Row:
    """A PAM user, by the names of the CORP account."""
    one, person = profile.user, profile.person
    return {
        "id": one.id,
        "userPrincipalName": person.upn,
        "displayName": person.display_name or one.name,
        "mail": person.mail or None,
        "accountEnabled": one.enabled,
        "onPremisesSamAccountName": person.ref.name,
        "onPremisesSecurityIdentifier": person.ref.sid,
    }


def status(one: Request) -> str:
    """`Provisioned` is said after the access was read back, and only while it lasts."""
    given_up = one.outcome is State.FAILED
    unanswered = one.state is State.EXPIRED and one.active_from is None
    return "Failed" if given_up or unanswered else _STATUS[one.state]


def _activation(one: Request) -> dict[str, Any]:
    return {
        "startDateTime": one.active_from or one.start_at or one.created_at,
        "recurrence": None,
        "expiration": {"type": "afterDuration", "endDateTime": one.ends_at, "duration": iso(one.ttl)},
    }


def _endless(start: datetime) -> dict[str, Any]:
    none = {"type": "noExpiration", "endDateTime": None, "duration": None}
    return {"startDateTime": start, "recurrence": None, "expiration": none}


def _user(key: str, name: str) -> Row:
    return {"@odata.type": "#microsoft.graph.user", "id": key, "displayName": name}


ROLES, GROUPS = Dialect(of_group=False), Dialect(of_group=True)
