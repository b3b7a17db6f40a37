"""Self-service reset, for administrators and auditors: who is registered, who waits, and how a person is unlocked."""

from collections.abc import Callable
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import RawBody

from bastide.domain.people import Actor, Right
from bastide.portal import admin
from bastide.portal.admin import DO, READ, RESETS, SAID
from bastide.portal.reset import reset_of
from bastide.portal.visits import Visit, Visited, see
from bastide.services.reset.administer import Administration

_DONE = {
    "unlocked": "Unlocked: nothing is counted against the person any more.",
    "removed": "The registration is removed, and resets under way are over.",
}


@get(RESETS, opt=READ, sync_to_thread=True)
def show_resets(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """Rules, who waits, who is registered."""
    done = _DONE.get(request.query_params.get("said", ""), "")
    return admin.lacking(request, visit) or _page(visit, done=done)


@post(f"{RESETS}/unlock", opt=DO, sync_to_thread=True)
def unlock(visit: Visited, body: RawBody) -> Response[bytes]:
    """Forget a person's wrong answers."""
    return _taken_away(visit, body, Administration.unlock, "unlocked")


@post(f"{RESETS}/remove", opt=DO, sync_to_thread=True)
def remove(visit: Visited, body: RawBody) -> Response[bytes]:
    """Take a person's registration away."""
    return _taken_away(visit, body, Administration.unregister, "removed")


def _taken_away(
    visit: Visit, body: bytes, take: Callable[[Administration, Actor, str], str], said: str
) -> Response[bytes]:
    """From the person that the form names, by who has the right then."""
    fields = visit.opened(body)
    try:
        visit = visit.proved(fields, Right.ADMINISTER)
        take(reset_of(visit.services).administration, visit.actor, fields.get("account", ""))
    except SAID as error:
        return _page(visit, error)
    return see(f"{RESETS}?said={said}")


def _page(visit: Visit, error: Any = None, done: str = "") -> Response[bytes]:
    use = reset_of(visit.services).administration
    return admin.page(visit, "resets.html", RESETS, error, done=done, state=use.state(visit.actor), people=use.registrations(visit.actor))  # fmt: skip


HANDLERS = [show_resets, unlock, remove]
