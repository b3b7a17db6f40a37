"""The help desk: what MIIS_CSObject was for programs (docs/reference/help-desk.md compares)."""

from typing import Annotated

from litestar import Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from bastide.api.native import help_desk_views as views
from bastide.api.native.given import Text
from bastide.domain.ids import parse_id
from bastide.domain.management_agents import CsId, MvId
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed
from bastide.services.help_desk.desk import HISTORY_LIMIT, SEARCH_LIMIT, HelpDesk
from bastide.wiring import Services

TAGS = ["help desk"]
_LOOK = needs(Right.BROWSE)
_WRITE = needs(Right.SET)
_PEOPLE = "/help-desk/people"
_ONE = f"{_PEOPLE}/{{person:str}}"
Some = Annotated[int, QueryParameter(ge=1, le=SEARCH_LIMIT)]
Last = Annotated[int, QueryParameter(ge=1, le=HISTORY_LIMIT)]


def desk_of(services: Services) -> HelpDesk:
    """Raises Conflict."""
    return needed(services.help_desk, "help_desk")


@get(_PEOPLE, opt=_LOOK, sync_to_thread=True, tags=TAGS, summary="Find a person")
def find(actor: Caller, services: UseCases, text: Text, limit: Some = SEARCH_LIMIT) -> views.Found:
    """By a part of a name, an account or another value, at least two characters."""
    return views.Found(items=[views.known(one) for one in desk_of(services).find(actor, text, limit=limit)])


@get(_ONE, opt=_LOOK, sync_to_thread=True, tags=TAGS, summary="A person's accounts")
def show(person: FromPath[str], actor: Caller, services: UseCases) -> views.ShownView:
    """What each is joined by, and how its system shows it now."""
    return views.shown(desk_of(services).show(actor, person))


@get(f"{_ONE}/history", opt=_LOOK, sync_to_thread=True, tags=TAGS, summary="A person's password history")
def history(
    person: FromPath[str], actor: Caller, services: UseCases, limit: Last = HISTORY_LIMIT
) -> views.History:
    """What was set and changed here, newest first, with what became of it."""
    found = desk_of(services).history(actor, person, limit=limit)
    return views.History(items=[views.operation(one) for one in found])


@post(f"{_ONE}/verifications", opt=_WRITE, sync_to_thread=True, tags=TAGS, summary="Verify a caller")
def verify(
    person: FromPath[str], data: JSONBody[views.VerificationIn], actor: Caller, services: UseCases
) -> Response[views.VerificationView]:
    """Begin. With `sent`, a code goes to what the person registered, else to the address in the directory; with `totp`, the caller has an authenticator."""
    made = desk_of(services).verify.begin(actor, MvId(parse_id("person", person)), data.method)
    return Response(views.verification(made), status_code=201)


@post(
    "/help-desk/verifications/{verification:str}",
    opt=_WRITE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="What the caller read out",
)
def prove(
    verification: FromPath[str], data: JSONBody[views.ProofIn], actor: Caller, services: UseCases
) -> views.VerificationView:
    """The code. It is good once, for this person and this operator."""
    return views.verification(desk_of(services).verify.prove(actor, verification, data.code))


@post(f"{_ONE}/passwords", opt=_WRITE, sync_to_thread=True, status_code=202, tags=TAGS, summary="Set")
def set_password(
    person: FromPath[str], data: JSONBody[views.SetIn], actor: Caller, services: UseCases
) -> views.GivenView:
    """SetPassword, for several accounts at once. It is on its way when this answers; the operation says what becomes of it."""
    return views.given(desk_of(services).set(actor, person, data.order()))


@post(f"{_ONE}/changes", opt=_WRITE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Change")
def change_password(
    person: FromPath[str], data: JSONBody[views.ChangeIn], actor: Caller, services: UseCases
) -> views.OperationView:
    """ChangePassword: with the old one. Answers when every system has."""
    accounts = tuple(map(CsId, data.accounts))
    return views.operation(
        desk_of(services).change(actor, person, accounts, data.old, data.new, reason=data.reason)
    )


@post(f"{_ONE}/unlocks", opt=_WRITE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Unlock")
def unlock(
    person: FromPath[str], data: JSONBody[views.UnlockIn], actor: Caller, services: UseCases
) -> views.Answers:
    """And leave the password alone. Answers when every system has."""
    accounts = tuple(map(CsId, data.accounts))
    answers = desk_of(services).unlock(actor, person, accounts, reason=data.reason)
    return views.Answers(items=[views.answer(one) for one in answers])


@get(
    "/help-desk/operations/{operation:str}",
    opt=_LOOK,
    sync_to_thread=True,
    tags=TAGS,
    summary="What became of it",
)
def operation(operation: FromPath[str], actor: Caller, services: UseCases) -> views.OperationView:
    """Of a set or a change, by account."""
    return views.operation(desk_of(services).operation(actor, operation))


HANDLERS = [find, show, history, verify, prove, set_password, change_password, unlock, operation]
