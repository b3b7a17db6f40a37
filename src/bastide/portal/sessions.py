"""One's own open sessions: see them, end them."""

from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import Refused
from bastide.domain.people import KERBEROS, OIDC, PASSWORD, TOKEN, Right
from bastide.http.door import needs
from bastide.http.handed import UseCases
from bastide.portal.addresses import SESSIONS
from bastide.portal.visits import Visit, Visited, see

_SEE = needs(Right.USE, cookie=True)
_DO = needs(Right.USE, forms=True, cookie=True)
#: By `via` of a session (authn.py).
_WAYS = {
    KERBEROS: "with a Kerberos ticket",
    PASSWORD: "with a password",
    OIDC: "with a token of your issuer",
    TOKEN: "a token for a program, made with a ticket",
}
_DONE = {
    "ended": "The session is over.",
    "others": "All your other sessions are over.",
}


@get(SESSIONS, opt=_SEE, sync_to_thread=True)
def show_sessions(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """Of the account that is signed in."""
    return _page(visit, done=_DONE.get(request.query_params.get("said", ""), ""))


@post(f"{SESSIONS}/others/end", opt=_DO, sync_to_thread=True)
def end_others(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """All but this one."""
    visit.opened(body)
    try:
        services.sessions.end_others(visit.actor, visit.token)
    except Refused as error:
        return _page(visit, error)
    return see(f"{SESSIONS}?said=others")


@post(f"{SESSIONS}/{{name:str}}/end", opt=_DO, sync_to_thread=True)
def end_session(name: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """One of them. To end the own one is to sign out, which has a form on every page."""
    visit.opened(body)
    try:
        services.sessions.end(visit.actor, name)
    except Refused as error:
        return _page(visit, error)
    return see(f"{SESSIONS}?said=ended")


def _page(visit: Visit, error: Refused | None = None, done: str = "") -> Response[bytes]:
    found = visit.services.sessions.mine(visit.actor, visit.token)
    return visit.page("sessions.html", error, done=done, found=found, ways=_WAYS)


HANDLERS = [show_sessions, end_others, end_session]
