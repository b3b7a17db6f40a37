"""What a signed-in person can show when the password is gone. Each form takes the password again: a session that was left open registers nothing."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import RawBody

from bastide.domain.errors import BastideError, InvalidInput, NotAuthenticated
from bastide.domain.people import Right
from bastide.domain.reset.gates import Gate
from bastide.http.callers import origin
from bastide.http.door import needs
from bastide.http.handed import SignInThrottle, UseCases
from bastide.http.problems import TooManyAttempts
from bastide.http.throttle import Throttle, subscriber
from bastide.portal import forms
from bastide.portal.addresses import REGISTRATION
from bastide.portal.reset import SAID, reset_of
from bastide.portal.visits import Visit, Visited, see
from bastide.services.reset.register_keys import NAME_LIMIT
from bastide.services.security_keys import Asked
from bastide.wiring.reset import ResetServices

_SEE = needs(Right.USE, cookie=True)
_DO = needs(Right.USE, forms=True, cookie=True)
_DONE = {
    "confirmed": "It is registered.",
    "removed": "Nothing is registered for you any more.",
    "key-removed": "The security key is removed.",
}
_FIELDS = 40


@get(REGISTRATION, opt=_SEE, sync_to_thread=True)
def show_registration(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """What a reset asks for, and what of it is registered."""
    return _page(visit, done=_DONE.get(request.query_params.get("said", ""), ""))


@post(f"{REGISTRATION}/begin", opt=_DO, sync_to_thread=True)
def begin(
    request: Call[Any, Any, Any], visit: Visited, body: RawBody, services: UseCases, throttle: SignInThrottle
) -> Response[bytes]:
    """Send a code to a destination, show the secret for an authenticator, or ask a new security key."""
    fields = visit.opened(body)
    try:
        gate, address = _gate(fields), _address(request)
        with _proving(throttle, visit, address):
            if gate is Gate.KEY:
                asked = reset_of(services).keys.ask(visit.actor, visit.token, fields.get("to", ""), fields.get("password", ""))  # fmt: skip
                return visit.page("registration_key.html", asked=Asked("", asked))
            uri = reset_of(services).registrations.begin(visit.actor, visit.token, gate, fields.get("to", "")[:320], fields.get("password", ""), address)  # fmt: skip
    except (*SAID, TooManyAttempts) as error:
        return _page(visit, _spoken(error))
    return visit.page("registration_code.html", gate=gate.value, uri=uri)


@post(f"{REGISTRATION}/confirm", opt=_DO, sync_to_thread=True)
def confirm(
    request: Call[Any, Any, Any], visit: Visited, body: RawBody, services: UseCases
) -> Response[bytes]:
    """The code that arrived, or what a new security key answered."""
    fields = visit.opened(body)
    gate = _gate(fields)
    if gate is Gate.KEY:
        return _new_key(visit, fields, _address(request))
    try:
        reset_of(services).registrations.confirm(
            visit.actor, visit.token, gate, fields.get("code", ""), _address(request)
        )
    except InvalidInput as error:
        return visit.page("registration_code.html", error, gate=gate.value, uri="")
    except SAID as error:
        return _page(visit, error)
    return see(f"{REGISTRATION}?said=confirmed")


@post(f"{REGISTRATION}/answers", opt=_DO, sync_to_thread=True)
def answers(
    request: Call[Any, Any, Any], visit: Visited, body: RawBody, throttle: SignInThrottle
) -> Response[bytes]:
    """Answers to questions, in the place of those that were there."""
    fields = visit.opened(body, _FIELDS)
    said = {
        int(name.removeprefix("answer")): value
        for name, value in fields.items()
        if name.startswith("answer") and name.removeprefix("answer").isdecimal() and value.strip()
    }
    address = _address(request)
    return _proven(
        visit, throttle, address, fields, "confirmed",
        lambda use, password: use.registrations.set_answers(visit.actor, said, password, address),
    )  # fmt: skip


@post(f"{REGISTRATION}/remove", opt=_DO, sync_to_thread=True)
def remove(
    request: Call[Any, Any, Any], visit: Visited, body: RawBody, throttle: SignInThrottle
) -> Response[bytes]:
    """Take all of it away."""
    return _proven(
        visit, throttle, _address(request), visit.opened(body), "removed",
        lambda use, password: use.registrations.remove(visit.actor, password),
    )  # fmt: skip


@post(f"{REGISTRATION}/key/remove", opt=_DO, sync_to_thread=True)
def remove_key(
    request: Call[Any, Any, Any], visit: Visited, body: RawBody, throttle: SignInThrottle
) -> Response[bytes]:
    """Take one security key away."""
    fields = visit.opened(body)
    return _proven(
        visit, throttle, _address(request), fields, "key-removed",
        lambda use, password: use.keys.remove(visit.actor, fields.get("name", ""), password),
    )  # fmt: skip


def _proven(
    visit: Visit,
    throttle: Throttle,
    address: str,
    fields: Mapping[str, str],
    said: str,
    do: Callable[[ResetServices, str], None],
) -> Response[bytes]:
    """What the password was typed again for, and that it is done; or why it is not."""
    try:
        with _proving(throttle, visit, address):
            do(reset_of(visit.services), fields.get("password", ""))
    except (*SAID, TooManyAttempts) as error:
        return _page(visit, _spoken(error))
    return see(f"{REGISTRATION}?said={said}")


def _new_key(visit: Visit, fields: Mapping[str, str], address: str) -> Response[bytes]:
    """What the key was asked is used up: after a refusal it begins anew on the page before."""
    try:
        credential = forms.key_answer(fields).credential
        reset_of(visit.services).keys.register(visit.actor, visit.token, credential, address)
    except SAID as error:
        return _page(visit, error)
    return see(f"{REGISTRATION}?said=confirmed")


def _page(visit: Visit, error: Any = None, done: str = "") -> Response[bytes]:
    use, standing = reset_of(visit.services), None
    try:
        standing = use.registrations.standing(visit.actor)
    except SAID as refused:
        error = error or refused
    return visit.page("registration.html", error, done=done, standing=standing, registered=use.registrations.holds(visit.actor), questions=use.settings.questions, wanted=use.settings.wanted, limits={"name": NAME_LIMIT})  # fmt: skip


def _spoken(error: BastideError) -> BastideError:
    """A wrong password on this page is not "nobody is signed in": that would be answered with the page to sign in on."""
    return (
        InvalidInput("password", error.message, remedy=error.remedy)
        if isinstance(error, NotAuthenticated)
        else error
    )


def _proving(throttle: Throttle, visit: Visit, address: str) -> AbstractContextManager[None]:
    return throttle.attempt(visit.actor.name, address)


def _gate(fields: Mapping[str, str]) -> Gate:
    try:
        return Gate(fields.get("gate", ""))
    except ValueError:
        raise InvalidInput("gate", "is none that can be registered") from None


def _address(request: Call[Any, Any, Any]) -> str:
    return subscriber(origin(request).address)


HANDLERS = [show_registration, begin, confirm, answers, remove, remove_key]
