"""What follows from what was seen, in the commit that keeps it: the database follows the directory, and access of who left ends."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from bastide.domain import requests
from bastide.domain.ids import ObjectRef
from bastide.domain.monitored import Back, Left, Lost, Moved, Noted, Rescoped, Step
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import OPEN, State
from bastide.services.closing import move
from bastide.services.events import by_worker
from bastide.services.ports import UnitOfWork

_log = logging.getLogger(__name__)


def apply(uow: UnitOfWork, steps: Iterable[Step], now: datetime) -> None:
    """All of them, each with its record. What is so already is left alone."""
    for step in steps:
        match step:
            case Moved():
                _moved(uow, step, now)
            case Left():
                _left(uow, step, now)
            case Lost():
                _lost(uow, step, now)
            case Back():
                group = uow.groups.save(replace(uow.groups.get(step.group), enabled=True))
                _followed(uow, group.corp, "group-on", now, group=group.name)
            case Rescoped():
                group = uow.groups.save(replace(uow.groups.get(step.group), scope=step.scope))
                _followed(uow, group.corp, "scope", now, scope=step.scope.value)
            case Noted():
                _followed(uow, uow.users.get(step.user).corp, "person", now, changed=list(step.attributes))


def _moved(uow: UnitOfWork, step: Moved, now: datetime) -> None:
    before: ObjectRef
    if step.user is not None:
        user = uow.users.get(step.user)
        before = user.priv if step.side is Forest.PRIV and user.priv.guid == step.ref.guid else user.corp
        uow.users.save(_with(user, before, step.ref))
    elif step.group is not None:
        group = uow.groups.get(step.group)
        before = group.priv if group.priv.guid == step.ref.guid else group.corp
        changed = replace(group, priv=step.ref) if before == group.priv else replace(group, corp=step.ref)
        uow.groups.save(changed)
    else:
        raise ValueError("a move of nothing")
    _followed(uow, step.ref, "moved", now, before=before.dn, after=step.ref.dn, was=before.name)


def _with(user: PamUser, before: ObjectRef, after: ObjectRef) -> PamUser:
    return replace(user, priv=after) if before == user.priv else replace(user, corp=after)


def _left(uow: UnitOfWork, step: Left, now: datetime) -> None:
    """What is open ends; who is gone is switched off, until an administrator says otherwise."""
    user = uow.users.get(step.user)
    for before in uow.requests.of_users([user.id], OPEN):
        if before.state is not State.CLOSING:
            _log.warning("request %s of %s ends: %s", before.id, user.name, step.why)
            move(uow, before, requests.close(before, step.why, now), now)
    if step.gone and user.enabled:
        uow.users.save(replace(user, enabled=False))
        data: dict[str, object] = {"reason": step.why}
        uow.audit.append(
            by_worker("pam-user.disabled", now, subject=user.priv.sid, subject_name=user.name, data=data)
        )


def _lost(uow: UnitOfWork, step: Lost, now: datetime) -> None:
    group = uow.groups.get(step.group)
    if group.enabled:
        uow.groups.save(replace(group, enabled=False))
        _followed(uow, group.corp, "group-off", now, group=group.name, reason=step.why)


def _followed(uow: UnitOfWork, ref: ObjectRef, what: str, now: datetime, **data: object) -> None:
    uow.audit.append(
        by_worker(
            "monitor.followed", now, subject=ref.sid, subject_name=ref.name, data={"what": what, **data}
        )
    )
