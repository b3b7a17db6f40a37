"""Access reviews, for administrators and auditors: all that there are, one with its lines, its signed result; planning one, ending it, cancelling it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import AuditBroken, BastideError, InvalidInput
from bastide.domain.people import Actor, Right
from bastide.domain.reviews import Line, Outcome, Review, State, Verdict, tally
from bastide.http.handed import UseCases
from bastide.portal import admin, campaign_forms
from bastide.portal.admin import CAMPAIGNS, DO, READ, SAID, SEE
from bastide.portal.visits import Visit, Visited, see

#: Reviews on a page, and lines.
MOST, MOST_LINES = 100, 200
_STANDING = frozenset({State.PLANNED, State.OPEN, State.CLOSING})
#: Which lines are shown, by the word in the address.
_SHOWN: Mapping[str, tuple[str, Callable[[Line], bool]]] = {
    "": ("All", lambda _: True),
    "undecided": ("Nobody decided yet", lambda line: line.decision is None),
    Verdict.KEEP.value: ("Keep was said", lambda line: _said(line) is Verdict.KEEP),
    Verdict.REMOVE.value: ("Remove was said", lambda line: _said(line) is Verdict.REMOVE),
    Outcome.BY_HAND.value: ("Left to do by hand", lambda line: line.outcome is Outcome.BY_HAND),
}
_DONE = {
    "planned": "Planned: it begins by itself at its time, and its reviewers are told then.",
    "ended": "Ended: no decision counts any more. What was decided is being done; look again to see what became of it.",
    "cancelled": "Cancelled: it does not begin, and comes back no more.",
}


@get(CAMPAIGNS, opt=READ, sync_to_thread=True)
def show_campaigns(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """The latest first."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    found = services.oversight.reviews.counted(visit.actor, MOST)
    return admin.page(
        visit,
        "campaigns.html",
        CAMPAIGNS,
        standing=[one for one in found if one[0].state in _STANDING],
        over=[one for one in found if one[0].state not in _STANDING],
        total=len(found),
        most=MOST,
        roles=_roles(visit),
    )


@get(f"{CAMPAIGNS}/new", opt=SEE, sync_to_thread=True)
def show_new_campaign(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The form of a review that is not there yet."""
    return admin.lacking(request, visit, Right.ADMINISTER) or _form(visit, campaign_forms.NEW)


@post(f"{CAMPAIGNS}/new", opt=DO, sync_to_thread=True)
def plan_campaign(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """It begins, reminds and ends by itself."""
    fields = visit.opened(body)
    try:
        made = services.oversight.reviews.create(visit.actor, campaign_forms.draft_of(fields))
    except SAID as error:
        return _form(visit, fields, error)
    return see(f"{CAMPAIGNS}/{made.id}?said=planned")


@get(f"{CAMPAIGNS}/{{review_id:str}}", opt=READ, sync_to_thread=True)
def show_campaign(request: Call[Any, Any, Any], review_id: FromPath[str], visit: Visited) -> Response[bytes]:
    """One with its lines."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    query = request.query_params
    return _page(visit, review_id, show=query.get("show", ""), done=_DONE.get(query.get("said", ""), ""))


@post(f"{CAMPAIGNS}/{{review_id:str}}/end", opt=DO, sync_to_thread=True)
def end_campaign(
    review_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody
) -> Response[bytes]:
    """With the review's name typed. What was decided is done next."""
    return _over(visit, review_id, body, services.oversight.reviews.close, "ended")


@post(f"{CAMPAIGNS}/{{review_id:str}}/cancel", opt=DO, sync_to_thread=True)
def cancel_campaign(
    review_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody
) -> Response[bytes]:
    """With the review's name typed. One that did not begin."""
    return _over(visit, review_id, body, services.oversight.reviews.cancel, "cancelled")


@get(f"{CAMPAIGNS}/{{review_id:str}}/result.json", opt=READ, sync_to_thread=True)
def export_result(
    request: Call[Any, Any, Any], review_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """The signed result, as `bastide review export` and the API give it. Checked just now."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    found = services.oversight.reviews.result(visit.actor, review_id)
    headers = {"Content-Disposition": f'attachment; filename="review-{found.review.id}.json"'}
    content = json.dumps(found.handed_on(), ensure_ascii=False).encode()
    return Response(content, media_type="application/json", headers=headers)


def _over(
    visit: Visit, review_id: str, body: bytes, end: Callable[[Actor, str], object], said: str
) -> Response[bytes]:
    fields = visit.opened(body)
    review, _ = visit.services.oversight.reviews.show(visit.actor, review_id)
    try:
        admin.confirmed(fields, review.name)
        end(visit.actor, review.id)
    except SAID as error:
        return _page(visit, review.id, error)
    return see(f"{CAMPAIGNS}/{review.id}?said={said}")


def _said(line: Line) -> Verdict | None:
    return line.decision.verdict if line.decision is not None else None


def _roles(visit: Visit) -> dict[str, str]:
    """Names of roles, by id."""
    return {role.id: role.name for role in visit.services.roles.all(visit.actor)}


def _form(visit: Visit, fields: Mapping[str, str], error: BastideError | None = None) -> Response[bytes]:
    return admin.page(
        visit,
        "campaign_form.html",
        CAMPAIGNS,
        error,
        fields=fields,
        roles=sorted(_roles(visit).values()),
        four_eyes=visit.services.roles.four_eyes,
    )


def _page(
    visit: Visit, review_id: str, error: BastideError | None = None, *, show: str = "", done: str = ""
) -> Response[bytes]:
    review, lines = visit.services.oversight.reviews.show(visit.actor, review_id)
    if show not in _SHOWN:
        show, error = "", error or InvalidInput("show", "is none of the choices", remedy="open the page anew")
    broken = _broken(visit, review)
    fitting = [line for line in lines if _SHOWN[show][1](line)]
    return admin.page(
        visit,
        "campaign.html",
        CAMPAIGNS,
        error or broken,
        done="" if broken else done,
        review=review,
        tally=tally((_said(line), line.outcome) for line in lines),
        lines=fitting[:MOST_LINES],
        fitting=len(fitting),
        most=MOST_LINES,
        show=show,
        shown=[(word, called) for word, (called, _) in _SHOWN.items()],
        roles=_roles(visit),
        signed=review.state is State.CLOSED and broken is None,
        why_not=_why_not(visit, review),
    )


def _broken(visit: Visit, review: Review) -> AuditBroken | None:
    """What is wrong with the signed result, if there is one."""
    if review.state is State.CLOSED:
        try:
            visit.services.oversight.reviews.result(visit.actor, review.id)
        except AuditBroken as error:
            return error
    return None


def _why_not(visit: Visit, review: Review) -> str:
    """Why the caller cannot end or cancel it; empty: nothing is known that hinders it, or there is nothing to do. A page takes no writer's place and asks no directory."""
    if Right.ADMINISTER not in visit.actor.rights or review.state not in {State.OPEN, State.PLANNED}:
        return ""
    try:
        visit.services.oversight.reviews.require_may_end(visit.actor, review.id)
    except SAID as error:
        return error.message
    return ""


HANDLERS = [
    show_campaigns,
    show_new_campaign,
    plan_campaign,
    show_campaign,
    end_campaign,
    cancel_campaign,
    export_result,
]
