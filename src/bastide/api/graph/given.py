"""What a client says when it asks: the body of a schedule request, of a decision, of a rule.

(1) Annotations (`@odata.type`) are left out; any other name that a caller may not say is refused: status, creator, approver (CVE-2025-1969).
(2) Actions and types are taken in whatever case, durations also as the Python SDK writes them.
(3) An end that Bastide would not keep is refused, not dropped.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from bastide.api.graph.errors import BAD, SCHEDULE, GraphRefused, rule_failed
from bastide.api.graph.values import duration, moment
from bastide.domain.errors import InvalidInput
from bastide.http.bodies import decode
from bastide.http.problems import Malformed

T = TypeVar("T")
ACTIONS = (
    "adminAssign", "adminUpdate", "adminRemove", "selfActivate", "selfDeactivate", "adminExtend", "adminRenew",
    "selfExtend", "selfRenew",
)  # fmt: skip
_SCOPE = "/"


class Expiration(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    type: str | None = None
    end_date_time: str | None = None
    duration: str | None = None


class Schedule(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    start_date_time: str | None = None
    recurrence: None = None
    expiration: Expiration | None = None


class Ticket(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    ticket_number: str | None = None
    ticket_system: str | None = None


class ScheduleRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Of a directory role, or of a group."""

    action: str | None = None
    principal_id: str | None = None
    role_definition_id: str | None = None
    directory_scope_id: str | None = None
    app_scope_id: None = None
    group_id: str | None = None
    access_id: str | None = None
    justification: str | None = None
    schedule_info: Schedule | None = None
    ticket_info: Ticket | None = None
    is_validation_only: bool | None = None
    target_schedule_id: str | None = None
    custom_data: None = None


class Decided(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A stage of an approval."""

    review_result: str | None = None
    justification: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """`end` and `span` are as said: at most one of them is there. `target`: role or group."""

    action: str
    principal: str
    target: str
    justification: str
    ticket: str
    start: datetime | None
    end: datetime | None
    span: timedelta | None
    endless: bool
    validation_only: bool
    schedule: str
    #: Of the call (http/door.key_of).
    key: str = ""

    @property
    def by_administrator(self) -> bool:
        return self.action.startswith("admin")

    def ttl(self, now: datetime) -> timedelta | None:
        """How long the access is to last; None: as the role has it. Raises GraphRefused."""
        if self.endless:
            raise rule_failed("ExpirationRule", "every activation ends", "say afterDuration or afterDateTime")
        return self.span if self.end is None else self.end - (self.start or now)


def read(body: bytes, wanted: type[T]) -> T:
    """A body without its annotations: (1). Raises Malformed, InvalidInput."""
    said = decode(body or b"null", dict[str, Any])
    try:
        return decode(msgspec.json.encode(bare(said)), wanted)  # type: ignore[no-any-return]
    except RecursionError:
        raise Malformed("the body is nested too deep") from None


def asked(body: bytes, *, of_group: bool) -> Asked:
    """(1) to (3). Raises Malformed, InvalidInput, GraphRefused."""
    said = read(body, ScheduleRequest)
    schedule = said.schedule_info or Schedule()
    expiration = schedule.expiration or Expiration()
    end, span, endless = _end(expiration)
    return Asked(
        action=_one_of("action", said.action, ACTIONS),
        principal=_needed("principalId", said.principal_id),
        target=_group(said) if of_group else _role(said),
        justification=said.justification or "",
        ticket=(said.ticket_info.ticket_number if said.ticket_info else None) or "",
        start=moment("startDateTime", schedule.start_date_time) if schedule.start_date_time else None,
        end=end,
        span=span,
        endless=endless,
        validation_only=bool(said.is_validation_only),
        schedule=said.target_schedule_id or "",
    )


def decision(body: bytes) -> tuple[bool, str]:
    """Whether it is approved, and why. Raises Malformed, InvalidInput."""
    said = read(body, Decided)
    result = _one_of("reviewResult", said.review_result, ("Approve", "Deny"))
    return result == "Approve", said.justification or ""


def bare(value: Any) -> Any:
    """A value without its annotations."""
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items() if "@odata." not in name}
    return [bare(item) for item in value] if isinstance(value, list) else value


def _one_of(field: str, text: str | None, known: tuple[str, ...]) -> str:
    found = {one.lower(): one for one in known}.get((text or "").lower())
    if found is None:
        raise InvalidInput(field, "is not known here", remedy=f"there are {', '.join(known)}")
    return found


def _needed(field: str, text: str | None) -> str:
    if not text:
        raise InvalidInput(field, "is missing")
    return text.lower()


def _role(said: ScheduleRequest) -> str:
    if said.group_id is not None or said.access_id is not None:
        raise InvalidInput("groupId", "is not part of a request for a role")
    if said.directory_scope_id not in {_SCOPE, None}:
        raise GraphRefused(BAD, "directoryScopeId: there is one scope only", remedy="write /")
    return _needed("roleDefinitionId", said.role_definition_id)


def _group(said: ScheduleRequest) -> str:
    if said.role_definition_id is not None or said.directory_scope_id is not None:
        raise InvalidInput("roleDefinitionId", "is not part of a request for a group")
    if (said.access_id or "").lower() != "member":
        raise GraphRefused(BAD, "accessId: a PAM group has members and no owners", remedy="write member")
    return _needed("groupId", said.group_id)


def _end(said: Expiration) -> tuple[datetime | None, timedelta | None, bool]:
    """(3)."""
    known = ("notSpecified", "noExpiration", "afterDateTime", "afterDuration")
    implied = "afterDuration" if said.duration else "afterDateTime" if said.end_date_time else "notSpecified"
    kind = _one_of("expiration", said.type or implied, known)
    if kind == "afterDuration" and said.duration:
        return None, duration("duration", said.duration), False
    if kind == "afterDateTime" and said.end_date_time:
        return moment("endDateTime", said.end_date_time), None, False
    if kind.startswith("after") or said.duration or said.end_date_time:
        raise GraphRefused(SCHEDULE, f"expiration: {kind} does not go with what is said beside it")
    return None, None, kind == "noExpiration"
