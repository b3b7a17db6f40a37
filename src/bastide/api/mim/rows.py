"""From the domain's objects to the rows of this dialect, with typed values: so they are filtered, and then written.

No time is ever null: clients call `.trim()` on it. A state that MIM does not have is the nearest that it has.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from bastide.api.mim.odata import Filter, Row, Value
from bastide.domain.requests import Request, State
from bastide.domain.roles import Role
from bastide.http.fields import stamp
from bastide.services.offers import RoleOffer

#: As requests carry it that were made through this API.
METHOD = "PAM Web API"
_NEVER = datetime.min.replace(tzinfo=UTC)
_STATES = {State.CANCELLED: "Closed", State.FAILED: "Closed"}
#: Properties that are an object with one member.
_WRAPPED = {"FIMRequestID", "RequestorID", "ApprovalObjectID"}

ROLE: Mapping[str, type] = {
    "RoleId": UUID, "DisplayName": str, "Description": str, "TTL": str, "AvailableFrom": datetime,
    "AvailableTo": datetime, "MFAEnabled": bool, "ApprovalEnabled": bool, "AvailabilityWindowEnabled": bool,
}  # fmt: skip
REQUEST: Mapping[str, type] = {
    "RequestId": UUID, "CreatorID": UUID, "Justification": str, "CreationTime": datetime, "CreationMethod": str,
    "ExpirationTime": datetime, "RoleId": UUID, "RequestedTTL": str, "RequestedTime": datetime, "RequestStatus": str,
}  # fmt: skip
APPROVAL: Mapping[str, type] = {
    "RoleName": str, "Requestor": str, "Justification": str, "RequestedTTL": str, "RequestedTime": datetime,
    "CreationTime": datetime, "FIMRequestID": UUID, "RequestorID": UUID, "ApprovalObjectID": UUID,
}  # fmt: skip


def role(offer: RoleOffer) -> Row:
    """A role that the caller is a candidate of."""
    one: Role = offer.role
    window = one.window
    return {
        "RoleId": UUID(one.id),
        "DisplayName": one.name,
        "Description": one.description or None,
        "TTL": _seconds(one.ttl.maximum.total_seconds()),
        "AvailableFrom": _time_of_day(window.opens if window else time.min),
        "AvailableTo": _time_of_day(window.closes if window else time.min),
        "MFAEnabled": one.mfa,
        "ApprovalEnabled": bool(one.stages),
        "AvailabilityWindowEnabled": window is not None,
    }


def request(one: Request) -> Row:
    """A request of the caller's own."""
    return {
        "RequestId": UUID(one.id),
        "CreatorID": UUID(one.user),
        "Justification": one.justification or None,
        "CreationTime": one.created_at,
        "CreationMethod": one.method,
        "ExpirationTime": one.closed_at or one.ends_at or _NEVER if one.active_from else _NEVER,
        "RoleId": UUID(one.role),
        "RequestedTTL": _seconds(one.ttl.total_seconds()),
        "RequestedTime": one.start_at or one.created_at,
        "RequestStatus": _STATES.get(one.state, one.state.value),
    }


def approval(one: Request) -> Row:
    """A request that waits for the caller's decision."""
    return {
        "RoleName": one.role_name,
        "Requestor": one.user_name,
        "Justification": one.justification or None,
        "RequestedTTL": _seconds(one.ttl.total_seconds()),
        "RequestedTime": one.start_at or one.created_at,
        "CreationTime": one.created_at,
        "FIMRequestID": UUID(one.id),
        "RequestorID": UUID(one.user),
        "ApprovalObjectID": UUID(one.id),
    }


def chosen(rows: Iterable[Row], wanted: Filter) -> list[dict[str, Any]]:
    """Those that the filter takes, as JSON has them."""
    return [written(row) for row in rows if wanted.takes(row)]


def written(row: Row) -> dict[str, Any]:
    """One row as JSON has it."""
    return {
        name: {"Value": _json(value)} if name in _WRAPPED else _json(value) for name, value in row.items()
    }


def _json(value: Value) -> Any:
    if isinstance(value, datetime):
        return _stamp(value)
    return str(value) if isinstance(value, UUID) else value


def _stamp(at: datetime) -> str:
    """A time of day, and never, have no zone."""
    return at.replace(tzinfo=None).isoformat() if at.year == 1 else stamp(at)


def _time_of_day(at: time) -> datetime:
    return datetime.combine(date.min, at, UTC)


def _seconds(seconds: float) -> str:
    return str(int(seconds))
