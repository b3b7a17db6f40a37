"""Who is calling: sessions, oneself, second factors."""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from bastide.api.native import inputs, render, views
from bastide.domain.errors import Conflict
from bastide.domain.people import Actor, Right
from bastide.http.callers import origin
from bastide.http.door import code_of, needs, open_to_all, session_of
from bastide.http.handed import Caller, SignInThrottle, UseCases
from bastide.wiring import Services

TAGS = ["people"]


@post(
    "/sessions",
    opt=open_to_all(),
    sync_to_thread=True,
    tags=["sessions"],
    security=[{}],
    summary="Sign in with a password",
)
def open_session(
    request: Request[Any, Any, Any],
    data: JSONBody[inputs.SignIn],
    services: UseCases,
    throttle: SignInThrottle,
) -> Response[views.NewSession]:
    """Opens a session. Its token is in the answer, this once. With a code (in the body, or in the header Bastide-Code) the session holds a
    second factor for five minutes.
    """
    whence = origin(request)
    with throttle.attempt(data.account, whence.address):
        actor = services.authn.password(data.account, data.password)
        actor = _with_code(services, actor, data.code or code_of(request))
        token = services.authn.open_session(actor, address=whence.address, agent=whence.agent)
    answer = views.NewSession(token=token, actor=_me(services, actor))
    return Response(answer, status_code=201, headers={"Location": "/api/v1/sessions/current"})


def _with_code(services: Services, actor: Actor, code: str) -> Actor:
    if not code:
        return actor
    return actor.proved(services.factors.prove(actor, code))


@delete(
    "/sessions/current",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=204,
    tags=["sessions"],
    summary="Sign out",
)
def close_session(request: Request[Any, Any, Any], services: UseCases) -> None:
    """Ends the session whose token is sent."""
    token = session_of(request)
    if not token:
        raise Conflict("this call has no session", remedy="send the session's token")
    services.authn.end_session(token)


@get("/whoami", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Who the server takes you for")
def whoami(actor: Caller, services: UseCases) -> views.Me:
    """The caller's account, rights, second factor and PAM user."""
    return _me(services, actor)


def _me(services: Services, actor: Actor) -> views.Me:
    with services.store.read() as uow:
        return render.me(actor, uow.users.by_sid(actor.sid))


@get("/me/factors", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Your second factors")
def list_factors(actor: Caller, services: UseCases) -> views.Factors:
    """What is registered, whether it is confirmed or locked, and how many recovery codes are left."""
    codes = [render.factor(one) for one in services.factors.status(actor)]
    keys = [render.security_key(one) for one in services.security_keys.mine(actor)]
    return views.Factors(items=codes + keys)


@post("/me/factors", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Set up an authenticator")
def enrol_factor(
    actor: Caller,
    services: UseCases,
    data: JSONBody[inputs.Enrol] = inputs.Enrol(),  # noqa: B008  # frozen
) -> views.Enrolled:
    """Registers a TOTP factor; it counts once it is confirmed. Secret and recovery codes are in the answer, this once. A sign-in with a
    CORP account needs an invitation.
    """
    made = services.factors.enrol(actor, data.invitation)
    return views.Enrolled(factor=made.factor, uri=made.uri, recovery_codes=list(made.recovery_codes))


@post(
    "/me/factors/confirm",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Confirm an authenticator",
)
def confirm_factor(data: JSONBody[inputs.Confirm], actor: Caller, services: UseCases) -> views.MfaView:
    """Show the first code of a new authenticator."""
    return render.proof(services.factors.confirm(actor, data.code))


@post(
    "/factors/invitations",
    opt=needs(Right.ADMINISTER),
    sync_to_thread=True,
    tags=TAGS,
    summary="Invite to set up an authenticator",
)
def invite(data: JSONBody[inputs.Invite], actor: Caller, services: UseCases) -> views.Invitation:
    """A one-time code, good for 24 hours, with which a person may register a second factor from a CORP sign-in."""
    return views.Invitation(account=data.account, code=services.factors.invite(actor, data.account))


@delete(
    "/factors/{account:str}",
    opt=needs(Right.ADMINISTER),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Take somebody's second factors away",
)
def reset_factors(account: FromPath[str], actor: Caller, services: UseCases) -> views.FactorsReset:
    """For a lost phone: the person needs an invitation afterwards."""
    return views.FactorsReset(account=account, removed=services.factors.reset(actor, account))


HANDLERS = [
    open_session, close_session, whoami, list_factors, enrol_factor, confirm_factor, invite, reset_factors,
]  # fmt: skip
