"""Ask for roles, follow requests, decide, end."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from bastide.api.native import inputs, render, views
from bastide.api.native.given import Before, Text, place
from bastide.domain.people import Right
from bastide.domain.requests import Request
from bastide.http.door import key_of, needs, session_of
from bastide.http.handed import Caller, UseCases
from bastide.services.requests import HISTORY_LIMIT
from bastide.services.security_keys import Ballot
from bastide.wiring import Services

TAGS = ["requests"]
Limit = Annotated[int, QueryParameter(ge=1, le=HISTORY_LIMIT, description="At most so many.")]
_PAGE = 100


@get("/offers", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Roles you may ask for")
def list_offers(actor: Caller, services: UseCases) -> views.Offers:
    """The roles the caller is a candidate of, their rules, and why one cannot be asked for now where that is so."""
    return views.Offers(items=[render.offer(one) for one in services.requests.offers(actor)])


@post("/requests", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Ask for a role")
def submit_request(
    request: Call[Any, Any, Any], data: JSONBody[inputs.Ask], actor: Caller, services: UseCases
) -> Response[views.RequestView]:
    """Makes a request of the caller's own; one, however often the call arrives with the same Idempotency-Key. Its state says what it waits for; access is there when
    it is Active.
    """
    made = services.requests.submit(actor, data.role, data.draft(key_of(request)))
    return Response(
        _one(services, made), status_code=201, headers={"Location": f"/api/v1/requests/{made.id}"}
    )


@get("/requests", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Your requests")
def list_requests(
    actor: Caller, services: UseCases, limit: Limit = _PAGE, before: Before = ""
) -> views.Requests:
    """The caller's own requests, newest first. `before`: `next_before` of a page, for the next one; or made before that moment."""
    return _page(services, services.requests.mine(actor, limit=limit, before=place("before", before)), limit)


@get(
    "/requests/{request_id:str}", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="One request"
)
def show_request(request_id: FromPath[str], actor: Caller, services: UseCases) -> views.RequestView:
    """For its person, its approvers, administrators and auditors. For others it does not exist."""
    return _one(services, services.requests.show(actor, request_id))


@get(
    "/requests/{request_id:str}/gives",
    opt=needs(Right.USE),
    sync_to_thread=True,
    tags=TAGS,
    summary="What a request would open",
)
def show_gives(request_id: FromPath[str], actor: Caller, services: UseCases) -> views.Gives:
    """The groups that it carries and those that come with them, nested ones too, as the directories have them now (or a minute ago). For whom
    the request is: as the request itself.
    """
    shown = services.requests.show(actor, request_id)
    groups = services.requests.gives([shown])[shown.id]
    return render.gives(services.reach.of(groups).values())


@post(
    "/requests/{request_id:str}/mfa",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Show the second factor for a request",
)
def prove_request(request_id: FromPath[str], actor: Caller, services: UseCases) -> views.RequestView:
    """Send the code in the header Bastide-Code, or use a session that has a fresh second factor."""
    return _one(services, services.requests.prove(actor, request_id))


@post(
    "/requests/{request_id:str}/extension",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="End later",
)
def extend_request(
    request: Call[Any, Any, Any],
    request_id: FromPath[str],
    data: JSONBody[inputs.Extend],
    actor: Caller,
    services: UseCases,
) -> views.RequestView:
    """Asks for a later end of active access; once for each Idempotency-Key. `ends_at` moves when the directory has it; `extend_to` says what was asked."""
    span, key = timedelta(seconds=data.seconds), key_of(request)
    return _one(services, services.requests.extend(actor, request_id, span, key=key))


@post(
    "/requests/{request_id:str}/close",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="End early",
)
def close_request(
    request_id: FromPath[str],
    actor: Caller,
    services: UseCases,
    data: JSONBody[inputs.Close] = inputs.Close(),  # noqa: B008  # frozen
) -> views.RequestView:
    """Ends active access now, or withdraws what is not active yet. It is over when the state says so: Closing is not Closed."""
    return _one(services, services.requests.close(actor, request_id, data.reason))


@get("/approvals", opt=needs(Right.APPROVE), sync_to_thread=True, tags=TAGS, summary="What waits for you")
def list_approvals(actor: Caller, services: UseCases) -> views.Requests:
    """Requests that wait for the caller's decision, oldest first."""
    found = services.requests.to_approve(actor)
    missing = services.requests.missing(found)
    return views.Requests(items=[render.request(one, missing[one.id]) for one in found])


@post(
    "/approvals/{request_id:str}",
    opt=needs(Right.APPROVE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Approve or reject",
)
def decide_request(
    request: Call[Any, Any, Any],
    request_id: FromPath[str],
    data: JSONBody[inputs.Decide],
    actor: Caller,
    services: UseCases,
) -> views.RequestView:
    """Needs a fresh second factor, or a signature by a security key, which is one. Nobody decides a request of their own, and nobody twice; a call that arrives
    again with the same Idempotency-Key is the same decision.
    """
    key, stage = key_of(request), "" if data.signature is None else data.signature.stage
    # Refuses first of all: a request that is none of the caller's business does not exist.
    done = services.requests.voted(actor, request_id, data.decision, data.reason, stage=stage, key=key)
    if done is not None:
        return _one(services, done)
    signature = None
    if data.signature is not None:
        ballot = Ballot(request_id, data.decision, data.reason, stage)
        proof, signature = services.security_keys.sign(
            actor, session_of(request), ballot, data.signature.answer()
        )
        actor = actor.proved(proof)
    done = services.requests.decide(
        actor, request_id, data.decision, data.reason, stage=stage, signature=signature, key=key
    )
    return _one(services, done)


@get(
    "/admin/requests",
    opt=needs(Right.ADMINISTER, also=Right.AUDIT),
    sync_to_thread=True,
    tags=TAGS,
    summary="Everybody's requests",
)
def list_all_requests(
    actor: Caller, services: UseCases, user: Text = "", limit: Limit = _PAGE, before: Before = ""
) -> views.Requests:
    """Newest first. `user`: of this PAM user only. `before`: `next_before` of a page, for the next one; or made before that moment."""
    found = services.requests.all(actor, user=user, limit=limit, before=place("before", before))
    return _page(services, found, limit)


@post(
    "/kill",
    opt=needs(Right.ADMINISTER),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="The kill switch",
)
def kill(data: JSONBody[inputs.Kill], actor: Caller, services: UseCases) -> views.Killed:
    """Ends all open requests that match: a request, a role, a user, a role and a user, or all."""
    ended = services.requests.kill(
        actor, data.reason, request=data.request, role=data.role, user=data.user, everything=data.all
    )
    return views.Killed(items=[render.request(one, {}) for one in ended])


def _one(services: Services, request: Request) -> views.RequestView:
    return render.request(request, services.requests.missing([request])[request.id])


def _page(services: Services, found: Sequence[Request], limit: int) -> views.Requests:
    missing = services.requests.missing(found)
    items = [render.request(one, missing[one.id]) for one in found]
    last = found[-1] if len(found) == limit else None
    return views.Requests(
        items=items, next_before=f"{last.created_at.isoformat()}/{last.id}" if last else None
    )


HANDLERS = [
    list_offers, submit_request, list_requests, show_request, show_gives, prove_request, extend_request, close_request,
    list_approvals, decide_request, list_all_requests, kill,
]  # fmt: skip
