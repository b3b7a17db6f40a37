"""What waits for the person's decision. Opening a page decides nothing: only a form with a fresh second factor does."""

from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.errors import InvalidInput, Refused
from bastide.domain.people import Right
from bastide.domain.requests import Decision
from bastide.http.door import needs
from bastide.http.handed import UseCases
from bastide.portal.addresses import APPROVALS
from bastide.portal.visits import Visit, Visited, see

_DONE = {
    "approve": "You approved the request.",
    "reject": "You rejected the request.",
}


@get("/approvals", opt=needs(Right.APPROVE, cookie=True, code_in_form=True), sync_to_thread=True)
def queue(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The queue, oldest first."""
    if Right.APPROVE not in visit.actor.rights:
        return visit.page("code.html", onward=APPROVALS)
    return _page(visit, done=_DONE.get(request.query_params.get("said", ""), ""))


@post(
    "/approvals/{request_id:str}",
    opt=needs(Right.APPROVE, forms=True, cookie=True, code_in_form=True),
    sync_to_thread=True,
)
def decide(request_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Approve or reject, with the code that came in the form or one shown just before."""
    fields = visit.opened(body)
    try:
        decision = _decision(fields.get("decision", ""))
        visit = visit.proved(fields, Right.APPROVE)
        services.requests.show(
            visit.actor, request_id
        )  # what is none of the caller's business does not exist
        services.requests.decide(visit.actor, request_id, decision, fields.get("reason", ""))
    except Refused as error:
        if Right.APPROVE not in visit.actor.rights:
            return visit.page("code.html", error, onward=APPROVALS)
        return _page(visit, error, {**fields, "request": request_id})
    return see(f"{APPROVALS}?said={decision.value}")


def _decision(said: str) -> Decision:
    try:
        return Decision(said)
    except ValueError:
        raise InvalidInput("decision", "is neither approve nor reject") from None


def _page(
    visit: Visit, error: Refused | None = None, fields: dict[str, str] | None = None, done: str = ""
) -> Response[bytes]:
    use = visit.services.requests
    waiting = use.to_approve(visit.actor)
    return visit.page(
        "approvals.html",
        error,
        fields=fields or {},
        done=done,
        waiting=waiting,
        gives=use.gives(waiting),
        missing=use.missing(waiting),
        limits={"reason": REASON_LIMIT},
    )


HANDLERS = [queue, decide]
