"""My access: the roles one may ask for, asking, and one's own requests up to their end."""

from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import InvalidInput, NotFound, Refused
from bastide.domain.people import Right
from bastide.domain.policy import JUSTIFICATION_LIMIT, TICKET_LIMIT, Draft
from bastide.domain.requests import Request, State
from bastide.http.door import needs
from bastide.http.handed import UseCases
from bastide.portal import forms, live
from bastide.portal.visits import Visit, Visited, see
from bastide.services.offers import RoleOffer
from bastide.services.requests import REASON_LIMIT
from bastide.services.security_keys import Asked

_SEE = needs(Right.USE, cookie=True)
_DO = needs(Right.USE, forms=True, cookie=True)
_RECENT = 5
_PAGE = 25
_DONE = {
    "asked": "Your request was taken.",
    "proved": "Your second factor was taken.",
    "extended": "The later end was asked for. It counts when the directory has it.",
    "ended": "The end was asked for. It is over when the page says so.",
}


@get("/", opt=_SEE, sync_to_thread=True)
def home(visit: Visited, services: UseCases) -> Response[bytes]:
    """What the person has now, and may ask for."""
    actor, closed = visit.actor, services.recovery.closed()
    if services.requests.person(actor) is None:
        seen = live.stamp(live.REQUESTS, ())
        return visit.page(
            "access.html", closed=closed, offers=None, current=(), recent=(), gives={}, seen=seen
        )
    current = services.requests.current(actor)
    over = [r for r in services.requests.mine(actor, limit=_PAGE) if r.closed_at is not None]
    return visit.page(
        "access.html",
        closed=closed,
        offers=services.requests.offers(actor),
        current=current,
        recent=over[:_RECENT],
        gives=services.requests.gives(current),
        seen=live.stamp(live.REQUESTS, current),
    )


@get("/history", opt=_SEE, sync_to_thread=True)
def history(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """All of one's own requests, newest first."""
    found: tuple[Request, ...] = ()
    before = forms.place(request.query_params.get("before", ""))
    if services.requests.person(visit.actor) is not None:
        found = services.requests.mine(visit.actor, limit=_PAGE + 1, before=before)
    shown, last = found[:_PAGE], found[_PAGE - 1] if len(found) > _PAGE else None
    onward = forms.as_place(last.created_at, last.id) if last is not None else ""
    return visit.page("history.html", shown=shown, before=onward, first=before is None)


@get("/ask/{role_id:str}", opt=_SEE, sync_to_thread=True)
def show_role(role_id: FromPath[str], visit: Visited) -> Response[bytes]:
    """The form to ask for a role."""
    return _role_page(visit, _offer(visit, role_id), None, {})


@post("/ask/{role_id:str}", opt=_DO, sync_to_thread=True)
def ask(role_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Ask for it. What was typed stays on the page if it is refused."""
    fields = visit.opened(body)
    offer = _offer(visit, role_id)
    try:
        draft = Draft(
            ttl=forms.length(fields, "duration"),
            start_at=forms.start(fields),
            justification=fields.get("justification", ""),
            ticket=fields.get("ticket", ""),
            method="portal",
        )
        visit = visit.proved(fields, Right.USE)
        made = services.requests.submit(visit.actor, offer.role.id, draft)
    except Refused as error:
        return _role_page(visit, offer, error, fields)
    return see(f"/requests/{made.id}?said=asked")


@get("/requests/{request_id:str}", opt=_SEE, sync_to_thread=True)
def show_request(request: Call[Any, Any, Any], request_id: FromPath[str], visit: Visited) -> Response[bytes]:
    """For its person, its approvers, administrators and auditors. For others it does not exist."""
    said = _DONE.get(request.query_params.get("said", ""), "")
    return _request_page(visit, request_id, done=said)


@post("/requests/{request_id:str}/mfa", opt=_DO, sync_to_thread=True)
def prove(request_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """The second factor that a request waits for."""
    fields = visit.opened(body)
    try:
        visit = visit.proved(fields, Right.USE)
        services.requests.prove(visit.actor, request_id)
    except Refused as error:
        return _request_page(visit, request_id, error, fields)
    return see(f"/requests/{request_id}?said=proved")


@post("/requests/{request_id:str}/extension", opt=_DO, sync_to_thread=True)
def extend(request_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """A later end."""
    fields = visit.opened(body)
    try:
        by = forms.length(fields, "extension")
        if by is None:
            raise InvalidInput("extension", "must not be empty", remedy="say by how much later it is to end")
        visit = visit.proved(fields, Right.USE)
        services.requests.extend(visit.actor, request_id, by)
    except Refused as error:
        return _request_page(visit, request_id, error, fields)
    return see(f"/requests/{request_id}?said=extended")


@post("/requests/{request_id:str}/close", opt=_DO, sync_to_thread=True)
def close(request_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """End it now, or withdraw what is not active yet."""
    fields = visit.opened(body)
    try:
        services.requests.close(visit.actor, request_id, fields.get("reason", ""))
    except Refused as error:
        return _request_page(visit, request_id, error, fields)
    return see(f"/requests/{request_id}?said=ended")


def _offer(visit: Visit, role_id: str) -> RoleOffer:
    for offer in visit.services.requests.offers(visit.actor):
        if offer.role.id == role_id:
            return offer
    raise NotFound("no such role among those you may ask for", remedy="choose one on the page My access")


def _role_page(
    visit: Visit, offer: RoleOffer, error: Refused | None, fields: dict[str, str]
) -> Response[bytes]:
    seconds = int(offer.role.ttl.default.total_seconds())
    unit = next(name for name, size in forms.UNITS.items() if seconds % size == 0)
    return visit.page(
        "ask.html",
        error,
        fields=fields,
        offer=offer,
        role=offer.role,
        amount=seconds // forms.UNITS[unit],
        unit=unit,
        units=tuple(forms.UNITS),
        limits={"justification": JUSTIFICATION_LIMIT, "ticket": TICKET_LIMIT},
    )


def _request_page(
    visit: Visit,
    request_id: str,
    error: Refused | None = None,
    fields: dict[str, str] | None = None,
    done: str = "",
) -> Response[bytes]:
    """Raises NotFound."""
    use = visit.services.requests
    # Before what is shown: a change in between is told twice then. Read last, it would never be told: the page is old and says that it is new.
    seen = live.stamp(live.REQUESTS, use.current(visit.actor))
    shown, person = use.show(visit.actor, request_id), use.person(visit.actor)
    mine = person is not None and shown.user == person.id
    return visit.page(
        "request.html",
        error,
        fields=fields or {},
        done=done,
        request=shown,
        mine=mine,
        asked=_key_for(visit, shown) if mine else None,
        extensible=mine and _extensible(visit, shown),
        found=tuple(visit.services.reach.of(use.gives([shown])[shown.id]).values()),
        seen=seen,
        missing=use.missing([shown])[shown.id],
        units=tuple(forms.UNITS),
        limits={"reason": REASON_LIMIT},
    )


def _key_for(visit: Visit, request: Request) -> Asked | None:
    """What to ask the person's security key, where the request waits for a second factor; None: nothing, or there is none."""
    keys = visit.services.security_keys
    if request.state is not State.PENDING_MFA or not keys.mine(visit.actor):
        return None
    try:
        return keys.ask_to_prove(visit.actor, visit.token)
    except Refused:
        return None


def _extensible(visit: Visit, request: Request) -> bool:
    """Whether the role lets its access be extended; the use case says it again."""
    if request.state is not State.ACTIVE:
        return False
    roles = [
        offer.role for offer in visit.services.requests.offers(visit.actor) if offer.role.id == request.role
    ]
    return any(role.enabled and role.extension and not role.stages for role in roles)


HANDLERS = [home, history, show_role, ask, show_request, prove, extend, close]
