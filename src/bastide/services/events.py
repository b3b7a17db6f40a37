"""Audit events in one shape. Their kinds are listed in docs/reference/events.md; a test compares."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bastide.domain.audit import Event
from bastide.domain.people import Actor
from bastide.domain.requests import Request, State

WORKER = "bastide"


def by_worker(
    kind: str,
    at: datetime,
    *,
    subject: str = "",
    subject_name: str = "",
    request: str = "",
    data: Mapping[str, object] | None = None,
) -> Event:
    """Something Bastide did by itself."""
    return Event(kind, at, WORKER, WORKER, subject, subject_name, request, data)


def by_actor(
    kind: str,
    at: datetime,
    actor: Actor,
    *,
    subject: str = "",
    subject_name: str = "",
    request: str = "",
    data: Mapping[str, object] | None = None,
) -> Event:
    """Something a person did. How they signed in is part of it."""
    return Event(
        kind, at, actor.sid, actor.name, subject, subject_name, request, {**(data or {}), "via": actor.via}
    )


def on_request(kind: str, at: datetime, actor: Actor, request: Request, **data: object) -> Event:
    """Something a person did to a request."""
    data = {"role": request.role_name, "state": request.state.value, **data}
    return by_actor(
        kind,
        at,
        actor,
        subject=request.requester,
        subject_name=request.user_name,
        request=request.id,
        data=data,
    )


def announce(
    before: Request, after: Request, now: datetime, *, unreachable: Sequence[str] = ()
) -> list[Event]:
    """Audit records of a move made by the worker."""
    if before.state is after.state and before.ends_at == after.ends_at:
        return []
    data: dict[str, object] = {"from": before.state.value, "role": after.role_name}
    if after.ends_at is not None:
        data["ends_at"] = after.ends_at.isoformat()
    if after.true_end is not None:
        data["true_end"] = after.true_end.isoformat()
    if after.state is State.ACTIVE and after.enforcer is not None:
        data["enforcer"] = after.enforcer.value
        data["directory_end"] = (
            after.directory_end.isoformat() if after.directory_end is not None else "never"
        )
    if after.reason:
        data["reason"] = after.reason
    if unreachable:
        data["unreachable"] = list(unreachable)
    moved = before.state is not after.state
    if not moved and after.state is not State.ACTIVE:
        return []
    kind = f"request.{after.state.value.lower()}" if moved else "request.extended"
    return [
        by_worker(
            kind, now, subject=after.requester, subject_name=after.user_name, request=after.id, data=data
        )
    ]
