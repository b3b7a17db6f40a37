"""What waits for the person's decision. Opening a page decides nothing: only a form with a fresh second factor does."""

from collections.abc import Mapping
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
from bastide.portal import forms, live
from bastide.portal.addresses import APPROVALS
from bastide.portal.visits import Visit, Visited, see
from bastide.services.security_keys import Ballot

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
        ballot = _ballot(request_id, fields)
        signs = "challenge" in fields
        visit = visit.proved({} if signs else fields, Right.APPROVE)
        services.requests.show(
            visit.actor, request_id
        )  # what is none of the caller's business does not exist
        actor, signature = visit.actor, None
        if signs:
            answer = forms.key_answer(fields)
            proof, signature = services.security_keys.sign(actor, visit.token, ballot, answer)
            actor = actor.proved(proof)
        services.requests.decide(
            actor, request_id, ballot.decision, ballot.reason, stage=ballot.stage, signature=signature
        )
    except Refused as error:
        if Right.APPROVE not in visit.actor.rights:
            return visit.page("code.html", error, onward=APPROVALS)
        return _page(visit, error, {**fields, "request": request_id})
    return see(f"{APPROVALS}?said={ballot.decision.value}")


@post(
    "/approvals/{request_id:str}/sign",
    opt=needs(Right.APPROVE, forms=True, cookie=True, code_in_form=True),
    sync_to_thread=True,
)
def sign(request_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """The page on which a security key signs an approval: what it shows is what is signed. Nothing is decided yet."""
    fields = visit.opened(body)
    try:
        visit = visit.proved({}, Right.APPROVE)
        shown = services.requests.show(visit.actor, request_id)
        ballot = Ballot(request_id, Decision.APPROVE, fields.get("reason", ""))
        asked = services.security_keys.ask_to_sign(visit.actor, visit.token, ballot)
    except Refused as error:
        if Right.APPROVE not in visit.actor.rights:
            return visit.page("code.html", error, onward=APPROVALS)
        return _page(visit, error, {**fields, "request": request_id})
    found = tuple(services.reach.of(services.requests.gives([shown])[shown.id]).values())
    return visit.page("sign.html", request=shown, asked=asked, fields=fields, found=found)


def _ballot(request_id: str, fields: Mapping[str, str]) -> Ballot:
    try:
        decision = Decision(fields.get("decision", ""))
    except ValueError:
        raise InvalidInput("decision", "is neither approve nor reject") from None
    return Ballot(request_id, decision, fields.get("reason", ""), fields.get("stage", ""))


def _page(
    visit: Visit, error: Refused | None = None, fields: dict[str, str] | None = None, done: str = ""
) -> Response[bytes]:
    use, reach = visit.services.requests, visit.services.reach
    waiting = use.to_approve(visit.actor)
    return visit.page(
        "approvals.html",
        error,
        fields=fields or {},
        done=done,
        waiting=waiting,
        seen=live.stamp(live.APPROVALS, waiting),
        gives={key: tuple(reach.of(groups).values()) for key, groups in use.gives(waiting).items()},
        missing=use.missing(waiting),
        to_sign=visit.services.security_keys.must_sign(waiting),
        has_key=bool(visit.services.security_keys.mine(visit.actor)),
        limits={"reason": REASON_LIMIT},
    )


HANDLERS = [queue, decide, sign]
