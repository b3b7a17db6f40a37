"""Sign-in factors: what is registered, new security keys, and showing one. A key needs JavaScript in the browser; codes never do."""

from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import Refused
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import UseCases
from bastide.portal import forms
from bastide.portal.addresses import FACTORS, KEY, onward
from bastide.portal.visits import Visit, Visited, see
from bastide.services.security_keys import NAME_LIMIT

_SEE = needs(Right.USE, cookie=True)
_DO = needs(Right.USE, forms=True, cookie=True)
_DONE = {"added": "The security key is registered.", "removed": "The security key is removed."}


@get(FACTORS, opt=_SEE, sync_to_thread=True)
def factors(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """What the person can show, beside the password or the ticket."""
    return _page(visit, done=_DONE.get(request.query_params.get("said", ""), ""))


@get(f"{FACTORS}/new", opt=_SEE, sync_to_thread=True)
def show_new(visit: Visited) -> Response[bytes]:
    """The form for a new key, with what it is to be asked."""
    return _new_page(visit)


@post(FACTORS, opt=_DO, sync_to_thread=True)
def register(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """A new key, with the second factor there is or with an invitation."""
    fields = visit.opened(body)
    try:
        visit = visit.proved({"code": fields.get("code", "")}, Right.USE)
        services.security_keys.register(
            visit.actor,
            visit.token,
            fields.get("name", ""),
            forms.key_answer(fields),
            invitation=fields.get("invitation", "").strip(),
        )
    except Refused as error:
        return _new_page(visit, error, fields)
    return see(f"{FACTORS}?said=added")


@post(f"{FACTORS}/{{factor_id:str}}/remove", opt=_DO, sync_to_thread=True)
def remove(factor_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Take a key away, with the code that came in the form or a factor shown just before."""
    fields = visit.opened(body)
    try:
        visit = visit.proved(fields, Right.USE)
        services.security_keys.remove(visit.actor, factor_id)
    except Refused as error:
        return _page(visit, error)
    return see(f"{FACTORS}?said=removed")


@get(KEY, opt=_SEE, sync_to_thread=True)
def show_key(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """Where a security key is used in the place of a code; then on to the page that asked for it."""
    going = onward(request.query_params.get("onward", ""))
    try:
        asked = visit.services.security_keys.ask_to_prove(visit.actor, visit.token)
    except Refused as error:
        return visit.page("key.html", error, onward=going, asked=None)
    return visit.page("key.html", onward=going, asked=asked)


def _page(visit: Visit, error: Refused | None = None, done: str = "") -> Response[bytes]:
    use = visit.services
    return visit.page(
        "factors.html",
        error,
        done=done,
        keys=use.security_keys.mine(visit.actor),
        codes=[factor for factor in use.factors.status(visit.actor) if factor.confirmed],
    )


def _new_page(
    visit: Visit, error: Refused | None = None, fields: dict[str, str] | None = None
) -> Response[bytes]:
    """Asks anew each time: what was asked before is used up."""
    use, asked = visit.services, None
    try:
        asked = use.security_keys.ask_to_register(visit.actor, visit.token)
    except Refused as refused:
        error = error or refused
    return visit.page(
        "new_key.html",
        error,
        fields=fields or {},
        asked=asked,
        first=not use.security_keys.mine(visit.actor)
        and not any(factor.confirmed for factor in use.factors.status(visit.actor)),
        limits={"name": NAME_LIMIT},
    )


HANDLERS = [factors, show_new, register, remove, show_key]
