"""Self-service reset, for administrators and auditors. People themselves use the portal."""

from datetime import datetime

from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from bastide.api.native.given import Text
from bastide.api.native.inputs import Body
from bastide.api.native.views import View
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed
from bastide.services.reset.administer import Administration
from bastide.wiring import Services

TAGS = ["resets"]
_READ = needs(Right.AUDIT, also=Right.ADMINISTER)
_CHANGE = needs(Right.ADMINISTER)


class RuleView(View, frozen=True, kw_only=True):
    """No group: everybody."""

    groups: list[str]
    gates: list[str]
    cooling_seconds: int


class LockView(View, frozen=True, kw_only=True):
    """`everywhere`: at all addresses that somebody registered from, or at all others. No `until`: until an administrator unlocks it."""

    name: str
    everywhere: bool
    until: datetime | None
    locks: int


class ResetState(View, frozen=True, kw_only=True):
    """`breached_files`, `breached_oldest`: the list of lost passwords; none: it is not set up."""

    rules: list[RuleView]
    registered: int
    locked: list[LockView]
    breached_files: int | None
    breached_oldest: datetime | None


class RegistrationView(View, frozen=True, kw_only=True):
    """No view holds a destination."""

    name: str
    person: str
    registered_at: datetime
    gates: list[str]


class RegistrationList(View, frozen=True, kw_only=True):
    items: list[RegistrationView]


class ResetPolicy(View, frozen=True, kw_only=True):
    """`excluded`: why the person never resets a password here. `password`: the rules in words."""

    name: str
    excluded: str
    gates: list[str]
    registered: list[str]
    password: list[str]


class Unlocking(Body, frozen=True, kw_only=True):
    account: str


class Named(View, frozen=True, kw_only=True):
    """Whom it was done for."""

    name: str


@get("/resets", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Self-service reset")
def resets(actor: Caller, services: UseCases) -> ResetState:
    """Rules, who waits, and the list of lost passwords."""
    state = _use(services).state(actor)
    corpus = state.corpus
    return ResetState(
        rules=[
            RuleView(groups=list(groups), gates=[gate.value for gate in gates], cooling_seconds=int(cooling))
            for groups, gates, cooling in state.rules
        ],
        registered=state.registered,
        locked=[
            LockView(name=one.name, everywhere=one.everywhere, until=one.until, locks=one.locks)
            for one in state.locked
        ],
        breached_files=None if corpus is None else corpus.files,
        breached_oldest=None if corpus is None else corpus.oldest,
    )


@get("/resets/policy", opt=_READ, sync_to_thread=True, tags=TAGS, summary="What a person goes through")
def policy(actor: Caller, services: UseCases, account: Text = "") -> ResetPolicy:
    """Gates, and the rules of a new password."""
    found = _use(services).rules(actor, account)
    return ResetPolicy(
        name=found.name,
        excluded=found.excluded,
        gates=[gate.value for gate in found.gates],
        registered=[gate.value for gate in found.registered],
        password=list(found.password),
    )


@post(
    "/resets/unlock", opt=_CHANGE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Unlock a person"
)
def unlock(actor: Caller, services: UseCases, data: JSONBody[Unlocking]) -> Named:
    """Forget what is counted against a person."""
    return Named(name=_use(services).unlock(actor, data.account))


@get("/reset-registrations", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Who is registered")
def registrations(actor: Caller, services: UseCases) -> RegistrationList:
    """And what each can show."""
    found = _use(services).registrations(actor)
    return RegistrationList(
        items=[
            RegistrationView(
                name=one.name,
                person=one.person,
                registered_at=one.registered_at,
                gates=[gate.value for gate in one.gates],
            )
            for one in found
        ]
    )


@delete(
    "/reset-registrations/{name:str}",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Remove a registration",
)
def unregister(actor: Caller, services: UseCases, name: FromPath[str]) -> Named:
    """With the resets of the person that are under way."""
    return Named(name=_use(services).unregister(actor, name))


def _use(services: Services) -> Administration:
    return needed(services.reset, "reset").administration


HANDLERS = [resets, policy, unlock, registrations, unregister]
