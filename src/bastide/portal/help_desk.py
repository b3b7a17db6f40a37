"""The help desk: search, person, verify, set, change, unlock, result. A search goes in a form: what people type by mistake is in no address.

A password that is typed is never shown again; one that was made is on the page that answers the form, and on no other.
"""

from collections.abc import Mapping
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import (
    BastideError,
    DirectoryError,
    InvalidInput,
    Refused,
    TargetUnavailable,
)
from bastide.domain.help_desk import Differs, Method
from bastide.domain.ids import parse_id
from bastide.domain.management_agents import CsId, MvId
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import UseCases
from bastide.http.parts import needed
from bastide.portal import admin, live
from bastide.portal.addresses import DESK
from bastide.portal.visits import Visit, Visited, see
from bastide.services.help_desk.desk import REASON_LIMIT, HelpDesk, SetOrder
from bastide.services.passwords.person import Ordered
from bastide.wiring import Services

_LOOK = needs(Right.BROWSE, cookie=True, code_in_form=True)
_SEARCH = needs(Right.BROWSE, forms=True, cookie=True, code_in_form=True)
_WRITE = needs(Right.SET, forms=True, cookie=True, code_in_form=True)
_ONE = f"{DESK}/people/{{person:str}}"
_SAID = (Refused, DirectoryError, TargetUnavailable)
#: Fields of a form: one for each account, and a few.
_FIELDS = 150
_ACCOUNT = "account-"
_DONE = {
    "begun": "Ask the caller for the code, and type it below.",
    f"begun-{Differs.REGISTERED.value}": (
        "Ask the caller for the code, and type it below. It went to what the person registered; the directory has another address now. Somebody may have changed it: ask who calls."
    ),
    f"begun-{Differs.BEFORE.value}": (
        "Ask the caller for the code, and type it below. The directory has another address now than the one that the last code went to. Somebody may have changed it: ask who calls."
    ),
    "verified": "The caller is verified. The verification is good for one set.",
}


def _desk(services: Services) -> HelpDesk:
    return needed(services.help_desk, "help_desk")


@get(DESK, opt=_LOOK, sync_to_thread=True)
def show_search(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """The form."""
    if (asked := admin.lacking(request, visit, Right.BROWSE)) is not None:
        return asked
    _desk(services)
    return visit.page("desk.html", found=None, text="")


@post(DESK, opt=_SEARCH, sync_to_thread=True, status_code=200)
def search(
    request: Call[Any, Any, Any], visit: Visited, services: UseCases, body: RawBody
) -> Response[bytes]:
    """Who fits."""
    fields = visit.opened(body)
    if (asked := admin.lacking(request, visit, Right.BROWSE)) is not None:
        return asked
    text = fields.get("text", "")
    try:
        found = _desk(services).find(visit.actor, text)
    except Refused as error:
        return visit.page("desk.html", error, found=None, text=text)
    return visit.page("desk.html", found=found, text=text)


@get(_ONE, opt=_LOOK, sync_to_thread=True)
def show_person(
    request: Call[Any, Any, Any], person: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """The accounts, and what can be done."""
    if (asked := admin.lacking(request, visit, Right.BROWSE)) is not None:
        return asked
    query = request.query_params
    return _person(
        visit,
        services,
        person,
        done=_DONE.get(query.get("said", ""), ""),
        begun=query.get("begun", ""),
        verified=query.get("verified", ""),
    )


@post(f"{_ONE}/verify", opt=_WRITE, sync_to_thread=True)
def begin(person: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Ask for a code."""
    fields = visit.opened(body)
    try:
        visit = visit.proved(fields, Right.SET)
        made = _desk(services).verify.begin(visit.actor, MvId(parse_id("person", person)), _method(fields))
    except _SAID as error:
        return _person(visit, services, person, error)
    said = "begun" if made.differs is None else f"begun-{made.differs.value}"
    return see(f"{DESK}/people/{person}?said={said}&begun={made.id}")


@post(f"{_ONE}/prove", opt=_WRITE, sync_to_thread=True)
def prove(person: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """What the caller read out."""
    fields = visit.opened(body)
    begun = fields.get("verification", "")
    try:
        visit = visit.proved(fields, Right.SET)
        made = _desk(services).verify.prove(visit.actor, begun, fields.get("said", ""))
    except _SAID as error:
        return _person(visit, services, person, error, begun=begun)
    return see(f"{DESK}/people/{person}?said=verified&verified={made.id}")


@post(f"{_ONE}/set", opt=_WRITE, sync_to_thread=True)
def set_password(person: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Set what was typed, or what is made."""
    fields = visit.opened(body, _FIELDS)
    verified = fields.get("verification", "")
    try:
        visit = visit.proved(fields, Right.SET)
        order = SetOrder(
            accounts=_accounts(fields),
            password=_typed(fields),
            must_change=fields.get("must_change", "") == "yes",
            unlock=fields.get("unlock", "") == "yes",
            verification=verified,
            reason=fields.get("reason", ""),
        )
        given = _desk(services).set(visit.actor, person, order)
    except _SAID as error:
        return _person(visit, services, person, error, verified=verified)
    if given.password:
        return _operation(visit, _desk(services).operation(visit.actor, given.operation), given.password)
    return see(f"{DESK}/operations/{given.operation}")


@post(f"{_ONE}/change", opt=_WRITE, sync_to_thread=True)
def change(person: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """With the old password, which the person types here."""
    fields = visit.opened(body, _FIELDS)
    try:
        visit = visit.proved(fields, Right.SET)
        done = _desk(services).change(
            visit.actor,
            person,
            _accounts(fields),
            fields.get("old", ""),
            _same(fields),
            reason=fields.get("reason", ""),
        )
    except _SAID as error:
        return _person(visit, services, person, error)
    return see(f"{DESK}/operations/{done.id}")


@post(f"{_ONE}/unlock", opt=_WRITE, sync_to_thread=True)
def unlock(person: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """And leave the password alone."""
    fields = visit.opened(body, _FIELDS)
    try:
        visit = visit.proved(fields, Right.SET)
        answers = _desk(services).unlock(
            visit.actor, person, _accounts(fields), reason=fields.get("reason", "")
        )
    except _SAID as error:
        return _person(visit, services, person, error)
    return _person(visit, services, person, answers=answers)


@get(f"{DESK}/operations/{{operation:str}}", opt=_LOOK, sync_to_thread=True)
def show_operation(
    request: Call[Any, Any, Any], operation: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """What became of a set or a change, by account."""
    if (asked := admin.lacking(request, visit, Right.BROWSE)) is not None:
        return asked
    return _operation(visit, _desk(services).operation(visit.actor, operation))


def _person(
    visit: Visit, services: Services, person: str, error: BastideError | None = None, **values: Any
) -> Response[bytes]:
    """What fails to be read again stays the error that it was."""
    desk = _desk(services)
    shared = {"answers": (), "begun": "", "verified": "", "may_set": Right.SET in visit.actor.rights}
    try:
        shown = desk.show(visit.actor, person)
        history = desk.history(visit.actor, person, limit=10)
    except _SAID:
        if error is None:
            raise
        return visit.page("desk.html", error, found=None, text="")
    sets = Right.SET in visit.actor.rights | visit.actor.withheld
    return visit.page(
        "desk_person.html",
        error,
        **{**shared, **values},
        shown=shown,
        history=history,
        sets=sets,
        limits={"reason": REASON_LIMIT},
    )


def _operation(visit: Visit, found: Ordered, password: str = "") -> Response[bytes]:
    return visit.page(
        "desk_operation.html", operation=found, password=password, seen=live.stamp_of_order(found)
    )


def _method(fields: Mapping[str, str]) -> Method:
    try:
        return Method(fields.get("method", ""))
    except ValueError:
        raise InvalidInput("method", "is neither totp nor sent") from None


def _accounts(fields: Mapping[str, str]) -> tuple[CsId, ...]:
    return tuple(CsId(name.removeprefix(_ACCOUNT)) for name in fields if name.startswith(_ACCOUNT))


def _typed(fields: Mapping[str, str]) -> str:
    """Empty: one is to be made. Raises InvalidInput."""
    if fields.get("how", "") == "made":
        return ""
    return _same(fields)


def _same(fields: Mapping[str, str]) -> str:
    new = fields.get("new", "")
    if not new:
        raise InvalidInput("password", "must not be empty")
    if new != fields.get("again", ""):
        raise InvalidInput("password", "differs from what was typed the second time")
    return new


HANDLERS = [show_search, search, show_person, begin, prove, set_password, change, unlock, show_operation]
