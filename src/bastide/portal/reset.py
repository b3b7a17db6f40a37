"""Reset a password without being signed in. Works without JavaScript, but for the step of a security key. In order, for every call:

(1) What a browser may do depends on the reset that its cookie names, never on the address that it asks for (services/reset/journey.py).
(2) The form carries the token of that reset's cookie.
(3) The answer is the same page, of the same length and status, whoever was named; and it takes the same time, or a multiple of it.
(4) No token and no code is in an address: codes are typed, and redirects are relative, so that no header of a call decides where they lead.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import Cookie
from litestar.params import RawBody

from bastide.domain.errors import (
    BastideError,
    Conflict,
    DirectoryError,
    InvalidInput,
    NotConfigured,
    Refused,
)
from bastide.domain.ids import NAME_LIMIT
from bastide.domain.reset.flow import PICK_UP, Choice
from bastide.domain.reset.gates import Gate
from bastide.http.callers import origin
from bastide.http.door import open_to_all
from bastide.http.fields import read_once
from bastide.http.handed import UseCases
from bastide.http.parts import shown
from bastide.http.problems import describe
from bastide.http.throttle import subscriber
from bastide.portal import forms, pages
from bastide.portal.addresses import RESET
from bastide.portal.visits import see
from bastide.services.reset.journey import View
from bastide.services.security_keys import Asked
from bastide.wiring import Services
from bastide.wiring.reset import ResetServices

COOKIE = "__Host-bastide-reset"
_OPEN, _DO = open_to_all(), open_to_all(forms=True)
_PASSWORD_LIMIT = 1024
#: What these pages say in themselves.
SAID = (Refused, DirectoryError, NotConfigured)
_STOPPED = "The reset is stopped, and nothing was changed. Tell your help desk about it."
#: A page of its own for each gate would be an address for each gate.
_FIELDS = frozenset({"code", *(f"answer{number}" for number in range(1, 13))})


@get(RESET, opt=_OPEN, sync_to_thread=True)
def show_reset(request: Call[Any, Any, Any], services: UseCases) -> Response[bytes]:
    """Where the reset of this browser is; without one, the form that begins one."""
    token = request.cookies.get(COOKIE, "")
    return _page(token, reset_of(services).journey.view(token))


@post(f"{RESET}/start", opt=_DO)
async def start(request: Call[Any, Any, Any], body: RawBody, services: UseCases) -> Response[bytes]:
    """A new reset, for whomever: (3)."""

    def act() -> Response[bytes]:
        use, account = reset_of(services), read_once(body).get("account", "").strip()
        try:
            if not account or len(account) > NAME_LIMIT:
                raise InvalidInput("account", "is the name that you sign in with")
            token = use.journey.begin(account, _address(request))
        except SAID as error:
            return _page("", None, error)
        return see(RESET, _cookie(token, use))

    return await _paced(services, act)


@post(f"{RESET}/send", opt=_DO)
async def send(request: Call[Any, Any, Any], body: RawBody, services: UseCases) -> Response[bytes]:
    """A new code for the gate that is open."""
    return await _step(
        request,
        body,
        services,
        lambda token, _: reset_of(services).journey.send_again(token, _address(request)),
    )


@post(f"{RESET}/gate", opt=_DO)
async def gate(request: Call[Any, Any, Any], body: RawBody, services: UseCases) -> Response[bytes]:
    """What the gate that is open asks for."""

    def act(token: str, fields: Mapping[str, str]) -> None:
        which = _gate(fields)
        said: dict[str, Any] = {name: fields[name][:_PASSWORD_LIMIT] for name in _FIELDS & fields.keys()}
        if which is Gate.KEY:
            said = {"credential": forms.key_answer(fields).credential}
        reset_of(services).journey.answer(token, which, said, _address(request))

    return await _step(request, body, services, act)


@post(f"{RESET}/choose", opt=_DO)
async def choose(request: Call[Any, Any, Any], body: RawBody, services: UseCases) -> Response[bytes]:
    """Unlock and keep the password, or set a new one."""

    def act(token: str, fields: Mapping[str, str]) -> None:
        password = fields.get("password", "")
        choice = Choice.UNLOCK if fields.get("choice") == Choice.UNLOCK.value else Choice.SET
        if choice is Choice.SET and password != fields.get("again", ""):
            raise InvalidInput("password", "is not the same both times", remedy="type it twice")
        if len(password) > _PASSWORD_LIMIT:
            raise InvalidInput("password", "is too long")
        reset_of(services).journey.choose(token, choice, password, _address(request))

    return await _step(request, body, services, act)


@post(f"{RESET}/leave", opt=_DO, sync_to_thread=True)
def leave(request: Call[Any, Any, Any], body: RawBody) -> Response[bytes]:
    """The browser forgets its reset, which is over after its time."""
    forms.check(read_once(body), request.cookies.get(COOKIE, ""))
    return see(RESET, _cookie("", None))


@get(f"{RESET}/stop", opt=_OPEN, sync_to_thread=True)
def show_stop(services: UseCases) -> Response[bytes]:
    """Where the code of a message is typed that says "this wasn't me"."""
    reset_of(services)
    return _render("reset_stop.html", None, done="")


@post(f"{RESET}/stop", opt=_DO)
async def stop(request: Call[Any, Any, Any], body: RawBody, services: UseCases) -> Response[bytes]:
    """End a reset that is somebody else's."""

    def act() -> Response[bytes]:
        code = read_once(body).get("code", "")[: forms.CODE_LIMIT]
        try:
            reset_of(services).journey.stop(code, _address(request))
        except SAID as error:
            return _render("reset_stop.html", error, done="")
        return _render("reset_stop.html", None, done=_STOPPED)

    return await _paced(services, act)


def reset_of(services: Services) -> ResetServices:
    """Raises NotFound where nobody can reset a password."""
    return shown(services.reset, "reset", remedy="ask your help desk")


async def _step(
    request: Call[Any, Any, Any],
    body: bytes,
    services: Services,
    act: Callable[[str, Mapping[str, str]], object],
) -> Response[bytes]:
    """(1), (2), (3)."""

    def done() -> Response[bytes]:
        token, use = request.cookies.get(COOKIE, ""), reset_of(services)
        fields = read_once(body)
        forms.check(fields, token)
        try:
            act(token, fields)
        except SAID as error:
            return _page(token, use.journey.view(token), error)
        return see(RESET)

    return await _paced(services, done)


async def _paced(services: Services, act: Callable[[], Response[bytes]]) -> Response[bytes]:
    """(3) No thread waits meanwhile."""
    pace = reset_of(services).settings.pace.total_seconds()
    began = services.clock.monotonic()
    try:
        return await sync_to_thread(act)
    finally:
        if pace:
            await asyncio.sleep(pace - (services.clock.monotonic() - began) % pace)


def _gate(fields: Mapping[str, str]) -> Gate:
    try:
        return Gate(fields.get("gate", ""))
    except ValueError:
        raise Conflict(
            "that is not the next step of this reset", remedy="go on from the page that is open"
        ) from None


def _address(request: Call[Any, Any, Any]) -> str:
    return subscriber(origin(request).address)


def _cookie(token: str, use: ResetServices | None) -> Cookie:
    """As that of a session (visits.py). It lives as long as the longest time to cool off, whoever it is for."""
    cooling = (
        max((rule.cooling for rule in use.settings.rules), default=timedelta(0)) if use else timedelta(0)
    )
    life = int((cooling + PICK_UP).total_seconds()) if token else 0
    return Cookie(
        key=COOKIE, value=token, path="/", secure=True, httponly=True, samesite="strict", max_age=life
    )


def _page(token: str, view: View | None, error: BastideError | None = None) -> Response[bytes]:
    return _render("reset.html", error, view=view, asked=Asked("", "" if view is None else view.asked), stage="" if view is None else view.reset.stage.value, gate="" if view is None else view.reset.gate, form_token=forms.csrf_token(token) if token else "")  # fmt: skip


def _render(template: str, error: BastideError | None, **values: Any) -> Response[bytes]:
    problem, headers = describe(error) if error is not None else (None, {})
    content = pages.render(template, {**pages.NOBODY, "error": problem, **values})
    status = 200 if problem is None else problem.status
    return Response(content, status_code=status, media_type=pages.HTML, headers=dict(headers))


HANDLERS = [show_reset, start, send, gate, choose, leave, show_stop, stop]
