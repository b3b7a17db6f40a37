"""What became of a delivery, as an audit record and as a numbered event."""

from datetime import datetime

from bastide.domain.audit import Event
from bastide.domain.management_agents import ManagementAgent
from bastide.domain.passwords import Code, Delivery, Proof, State
from bastide.services.events import by_worker
from bastide.services.passwords.ports import EventLog

_NUMBERS = {
    Code.SUCCESS: 6902,
    Code.OUT_OF_DATE: 6919,
    Code.NOT_ENABLED: 6921,
    Code.NOT_CONFIGURED: 6922,
    Code.OBJECT_MISSING: 6923,
    Code.POLICY: 6927,
    Code.SET_UNSUPPORTED: 6928,
}
_FAILED = 6901
_LIMIT = 6908


def record(delivery: Delivery, agent: ManagementAgent | None, at: datetime) -> Event:
    """Of a delivery that is over."""
    data: dict[str, object] = {
        "delivery": delivery.id,
        "object": delivery.object,
        "agent": agent.name if agent else "",
        "attempts": delivery.attempts,
    }
    if delivery.state is State.DELIVERED:
        if delivery.proof is not Proof.NOT_ASKED:
            data["proof"] = delivery.proof.value
        kind = "password.shadowed" if delivery.shadow else "password.delivered"
    else:
        data |= {"code": delivery.code.value if delivery.code else "", "detail": delivery.detail}
        kind = "password.failed"
    return by_worker(kind, at, subject_name=delivery.dn, request=delivery.reference, data=data)


def overwritten(delivery: Delivery, agent: ManagementAgent | None, *, again: bool, at: datetime) -> Event:
    """Of a password that was written although a newer one may have been set. `again`: the newer one is set once more."""
    data: dict[str, object] = {
        "delivery": delivery.id,
        "object": delivery.object,
        "agent": agent.name if agent else "",
        "again": again,
    }
    return by_worker(
        "password.overwritten", at, subject_name=delivery.dn, request=delivery.reference, data=data
    )


def announce_overwritten(
    events: EventLog, delivery: Delivery, agent: ManagementAgent | None, *, again: bool
) -> None:
    """The event of it, after its commit."""
    remedy = "the newer one is set again" if again else "the newer one is gone: change the password once more"
    detail = f"a worker that had stalled wrote an older password; {remedy}"
    events.write(_FAILED, **_fields(delivery, agent), Result="overwritten", Detail=detail)


def announce(events: EventLog, delivery: Delivery, agent: ManagementAgent | None) -> None:
    """The events of a delivery, after its commit. A failure that ends it by the number of tries has two: 6901 and 6908."""
    code = delivery.code
    if code is None or (code is Code.SUCCESS and delivery.shadow):
        return
    fields = _fields(delivery, agent)
    if code is Code.POLICY:
        fields["Target Object GUID"] = delivery.object
    if code is Code.SET_UNSUPPORTED:
        fields |= {"Count": delivery.attempts, "User": delivery.dn}
    number = _NUMBERS.get(code, _FAILED)
    if number == _FAILED:
        fields |= {"Result": code.value, "Detail": delivery.detail}
    events.write(number, **fields)
    if delivery.retry_limit_reached:
        events.write(_LIMIT, **fields)


def _fields(delivery: Delivery, agent: ManagementAgent | None) -> dict[str, object]:
    return {
        "Tracking ID": delivery.id,
        "Reference ID": delivery.reference,
        "Target management agent name": agent.name if agent else "",
        "Target DN": delivery.dn,
        "Target ID": delivery.object,
        "RetryCount": max(delivery.attempts - 1, 0),
    }
