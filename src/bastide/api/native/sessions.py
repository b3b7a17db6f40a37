"""One's own open sessions, and tokens for programs. Signing in with a password and signing out: people.py."""

from datetime import timedelta
from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from bastide.api.native import inputs, render, views
from bastide.domain.people import Right
from bastide.http.callers import origin
from bastide.http.door import needs, session_of
from bastide.http.handed import Caller, UseCases

TAGS = ["sessions"]


@get("/sessions", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Your open sessions")
def list_sessions(request: Request[Any, Any, Any], actor: Caller, services: UseCases) -> views.OpenSessions:
    """Of the account that calls, newest first: since when, from where, and by what it was opened. No token and no hash is in it."""
    found = services.sessions.mine(actor, session_of(request))
    return views.OpenSessions(items=[render.open_session(one) for one in found])


@delete(
    "/sessions/{name:str}",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=204,
    tags=TAGS,
    summary="End one of your sessions",
)
def end_session(name: FromPath[str], actor: Caller, services: UseCases) -> None:
    """`name`: the `id` in the list."""
    services.sessions.end(actor, name)


@delete(
    "/sessions",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="End your other sessions",
)
def end_other_sessions(
    request: Request[Any, Any, Any], actor: Caller, services: UseCases
) -> views.SessionsEnded:
    """All but the one that this call came in; with a ticket, all."""
    return views.SessionsEnded(ended=services.sessions.end_others(actor, session_of(request)))


@post("/tokens", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="A token for a program")
def open_token(
    request: Request[Any, Any, Any],
    actor: Caller,
    services: UseCases,
    data: JSONBody[inputs.NewToken] = inputs.NewToken(),  # noqa: B008  # frozen
) -> Response[views.NewToken]:
    """For the Kerberos ticket of the call: a bearer token for up to an hour, with the rights that are named and no other. It is in the
    answer, this once; it is listed and ended with the sessions.
    """
    whence, life = origin(request), timedelta(minutes=data.minutes)
    token = services.authn.open_token(
        actor, life=life, rights=data.rights, address=whence.address, agent=whence.agent
    )
    made = views.NewToken(token=token, rights=sorted(data.rights), expires_at=services.clock.now() + life)
    return Response(made, status_code=201, headers={"Location": "/api/v1/sessions/current"})


HANDLERS = [list_sessions, end_session, end_other_sessions, open_token]
