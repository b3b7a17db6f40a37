"""Which call it is, for those that have an effect of their own each time they arrive: asking, voting, extending. All others are safe to repeat: the second one finds
the state that it wants, and is refused.
"""

from dataclasses import replace
from datetime import timedelta

from bastide.domain.approvals import person_of
from bastide.domain.errors import NotFound
from bastide.domain.once import Once, is_done, once
from bastide.domain.people import Actor, PamUser
from bastide.domain.policy import Draft
from bastide.domain.requests import Decision, Request
from bastide.services.ports import UnitOfWork


def asked_once(user: PamUser, role_name: str, draft: Draft) -> Once | None:
    """For a role. Raises InvalidInput, as all of these."""
    said = (role_name, draft.ttl, draft.start_at, draft.justification, draft.ticket)
    return once(user.id, "ask", draft.key, *said)


def extended_once(request: Request, key: str, by: timedelta) -> Once | None:
    """Of one's own request."""
    return once(request.user, f"extend {request.id}", key, by)


def voted_once(
    actor: Actor,
    user: PamUser | None,
    request: Request,
    key: str,
    decision: Decision,
    reason: str,
    stage: str,
) -> Once | None:
    """On a request."""
    return once(person_of(actor, user), f"vote {request.id}", key, decision.value, reason, stage)


def made_before(uow: UnitOfWork, wanted: Once | None) -> Request | None:
    """The request that the call made when it arrived first. Raises Conflict."""
    if wanted is None:
        return None
    try:
        request = uow.requests.get(wanted.request_id)
    except NotFound:
        return None
    return request if is_done(request.once, wanted) else None


def marked(request: Request, done: Once | None) -> Request:
    """With the effect of that call."""
    return request if done is None else replace(request, once=(*request.once, done))
