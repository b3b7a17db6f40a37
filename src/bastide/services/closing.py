"""The end of a request: asked for by its owner, an administrator, or with the PAM user that is switched off; or by a worker that saw a reason."""

from datetime import datetime

from bastide.domain import requests
from bastide.domain.people import Actor
from bastide.domain.requests import Request, State
from bastide.services.events import announce, on_request
from bastide.services.pace import ACCOUNT, LINK
from bastide.services.ports import UnitOfWork


def move(uow: UnitOfWork, before: Request, after: Request, now: datetime) -> None:
    """What a worker decided about a request by itself, in this commit, with its record; the workers do the rest."""
    saved = uow.requests.save(after)
    uow.audit.append(*announce(before, saved, now))
    uow.work.poke(ACCOUNT, saved.user, now)
    if saved.state is State.CLOSING:
        groups = uow.groups.many(saved.privileges)
        uow.work.poke_many(LINK, {group.id: now for group in groups if group.needs_link})


def close_request(uow: UnitOfWork, before: Request, reason: str, now: datetime, actor: Actor) -> Request:
    """In this commit, with its record; the workers do the rest. Raises Conflict if it is over."""
    after = uow.requests.save(requests.close(before, reason, now))
    kind = "request.cancelled" if after.state is State.CANCELLED else "request.closing"
    uow.audit.append(on_request(kind, now, actor, after, reason=reason))
    uow.work.poke(ACCOUNT, after.user, now)
    if after.state is State.CLOSING:
        uow.work.poke_many(
            LINK, {group.id: now for group in uow.groups.many(after.privileges) if group.needs_link}
        )
    return after
