"""Sign in with a password, show a code, sign out. With a ticket no page is needed: http/door.py takes it on every page."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import RawBody

from bastide.domain.errors import InvalidInput, Refused
from bastide.domain.ids import NAME_LIMIT
from bastide.domain.people import Right
from bastide.http.callers import origin
from bastide.http.door import COOKIE, needs, open_to_all
from bastide.http.fields import read_once
from bastide.http.handed import SignInThrottle, UseCases
from bastide.http.problems import TooManyAttempts
from bastide.portal import forms, pages
from bastide.portal.addresses import HOME, KEY, SIGN_IN, onward
from bastide.portal.errors import respond
from bastide.portal.visits import Visited, see, session_cookie

_PASSWORD_LIMIT = 1024
_DONE = {"out": "You are signed out."}


@get("/signin", opt=open_to_all(), sync_to_thread=True)
def show_sign_in(request: Call[Any, Any, Any], services: UseCases) -> Response[bytes]:
    """The page to sign in on, without asking for a ticket first."""
    said = request.query_params.get("said", "")
    values = {
        **pages.NOBODY,
        "done": _DONE.get(said, ""),
        "onward": HOME,
        "resets": services.reset is not None,
    }
    return Response(pages.render("signin.html", values), media_type=pages.HTML)


@post("/signin", opt=open_to_all(forms=True), sync_to_thread=True)
def sign_in(
    request: Call[Any, Any, Any], body: RawBody, services: UseCases, throttle: SignInThrottle
) -> Response[bytes]:
    """A new session, whatever cookie came along; the session of that cookie ends."""
    fields = read_once(body)
    account, password = fields.get("account", "").strip(), fields.get("password", "")
    whence = origin(request)
    try:
        if not account or not password or len(account) > NAME_LIMIT or len(password) > _PASSWORD_LIMIT:
            raise InvalidInput(
                "account", "and password are both needed", remedy=r"write it as CORP\name or PRIV\name"
            )
        with throttle.attempt(account, whence.address):
            actor = services.authn.password(account, password)
            code = forms.code(fields)
            if code:
                actor = actor.proved(services.factors.prove(actor, code))
            token = services.authn.open_session(actor, address=whence.address, agent=whence.agent)
    except (Refused, TooManyAttempts) as error:
        typed = {"account": account[:NAME_LIMIT], "onward": fields.get("onward", "")}
        return respond(request, error, typed)
    old = request.cookies.get(COOKIE, "")
    if old:
        services.authn.end_session(old)
    going = onward(fields.get("onward", ""))
    if fields.get("then") == "key":
        going = f"{KEY}?{urlencode({'onward': going})}"
    return see(going, session_cookie(token))


@post("/signout", opt=needs(Right.USE, forms=True, cookie=True), sync_to_thread=True)
def sign_out(visit: Visited, body: RawBody, services: UseCases) -> Response[bytes]:
    """Ends the session. The page that follows asks for no ticket, which would sign in again at once."""
    visit.opened(body)
    services.authn.end_session(visit.token)
    return see(f"{SIGN_IN}?said=out", session_cookie(""))


@post("/code", opt=needs(Right.USE, forms=True, cookie=True), sync_to_thread=True)
def show_code(visit: Visited, body: RawBody) -> Response[bytes]:
    """A second factor for the session; then back to the page that asked for it."""
    fields = visit.opened(body)
    going = onward(fields.get("onward", ""))
    if not forms.code(fields) and "challenge" not in fields:
        raise InvalidInput("code", "must not be empty", remedy="write the six digits of your authenticator")
    visit.proved(fields, Right.USE)
    return see(going)


HANDLERS = [show_sign_in, sign_in, sign_out, show_code]
