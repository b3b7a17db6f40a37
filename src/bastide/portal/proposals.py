"""Changes of roles that wait for a second administrator."""

from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import BastideError, InvalidInput, NotFound
from bastide.domain.proposals import REASON_LIMIT, Action, Proposal
from bastide.http.handed import UseCases
from bastide.portal import admin, role_words
from bastide.portal.admin import DO, PROPOSALS, READ, ROLES, SAID
from bastide.portal.visits import Visit, Visited, see

_DONE = {
    "proposed": "Nothing is changed yet: the change waits for another administrator.",
    "approved": "You approved the change, and it is done.",
    "rejected": "The change is rejected. The role stays as it is.",
}


@get(PROPOSALS, opt=READ, sync_to_thread=True)
def show_proposals(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """What waits, oldest first."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    said = _DONE.get(request.query_params.get("said", ""), "")
    return admin.page(
        visit, "proposals.html", PROPOSALS, done=said, proposals=services.roles.proposals(visit.actor)
    )


@get(f"{PROPOSALS}/{{proposal_id:str}}", opt=READ, sync_to_thread=True)
def show_proposal(
    request: Call[Any, Any, Any], proposal_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """One of them, with what would change, and whether the caller may approve it."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    said = _DONE.get(request.query_params.get("said", ""), "")
    return _page(visit, services.roles.proposal(visit.actor, proposal_id), done=said)


@post(f"{PROPOSALS}/{{proposal_id:str}}", opt=DO, sync_to_thread=True)
def decide(proposal_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Approve it, reject it, or take back one's own."""
    fields = visit.opened(body)
    proposal = services.roles.proposal(visit.actor, proposal_id)
    decision = fields.get("decision", "")
    try:
        if decision == "approve":
            services.roles.approve(visit.actor, proposal.id)
        elif decision == "reject":
            services.roles.reject(visit.actor, proposal.id, fields.get("reason", ""))
            return see(f"{PROPOSALS}?said=rejected")
        else:
            raise InvalidInput("decision", "is neither approve nor reject")
    except NotFound:
        raise
    except SAID as error:
        return _page(visit, proposal, error)
    gone = proposal.action is Action.REMOVE
    return see(f"{ROLES}?said=removed" if gone else f"{PROPOSALS}?said=approved")


def _page(
    visit: Visit, proposal: Proposal, error: BastideError | None = None, done: str = ""
) -> Response[bytes]:
    names = {group.id: group.name for group in visit.services.accounts.groups(visit.actor)}
    return admin.page(
        visit,
        "proposal.html",
        PROPOSALS,
        error,
        done=done,
        proposal=proposal,
        changed=role_words.compared(proposal.before, proposal.after, names),
        why_not=_why_not(visit, proposal),
        mine=proposal.by == visit.actor.sid,
        limits={"reason": REASON_LIMIT},
    )


def _why_not(visit: Visit, proposal: Proposal) -> str:
    """Why the caller cannot approve it; empty: it can be done."""
    try:
        visit.services.roles.approve(visit.actor, proposal.id, dry_run=True)
    except SAID as error:
        return error.message
    return ""


HANDLERS = [show_proposals, show_proposal, decide]
