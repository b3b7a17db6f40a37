"""Prepare people and groups."""

from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from bastide.api.native import inputs, render, views
from bastide.api.native.given import DryRun
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases

_USERS, _GROUPS = ["PAM users"], ["PAM groups"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_CHANGE = needs(Right.ADMINISTER)
Delete = Annotated[bool, QueryParameter(description="Delete the PRIV object too, if Bastide made it.")]


@get("/pam-users", opt=_READ, sync_to_thread=True, tags=_USERS, summary="All PAM users")
def list_users(actor: Caller, services: UseCases) -> views.PamUsers:
    """The PRIV accounts of people."""
    return views.PamUsers(items=[render.pam_user(one) for one in services.accounts.users(actor)])


@get("/pam-users/{name:str}", opt=_READ, sync_to_thread=True, tags=_USERS, summary="One PAM user")
def show_user(name: FromPath[str], actor: Caller, services: UseCases) -> views.PamUserView:
    """By name or id."""
    return render.pam_user(services.accounts.user(actor, name))


@post("/pam-users", opt=_CHANGE, sync_to_thread=True, tags=_USERS, summary="Prepare a person")
def add_user(
    data: JSONBody[inputs.NewPamUser], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> Response[views.PamUserView]:
    """A dormant PRIV account with short tickets, tied to the CORP account; or an existing one, adopted."""
    made = services.accounts.add_user(
        actor,
        data.corp,
        priv_name=data.priv_name,
        adopt=data.adopt,
        kept_alive=data.kept_alive,
        dry_run=dry_run,
    )
    if dry_run:
        return Response(render.pam_user(made, dry_run=True), status_code=200)
    location = {"Location": f"/api/v1/pam-users/{made.id}"}
    return Response(render.pam_user(made), status_code=201, headers=location)


@delete(
    "/pam-users/{name:str}",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=_USERS,
    summary="Forget a PAM user",
)
def remove_user(
    name: FromPath[str],
    actor: Caller,
    services: UseCases,
    delete: Delete = False,  # the query says so
    dry_run: DryRun = False,
) -> views.PamUserView:
    """Refused while a role names the person or a request is open."""
    gone = services.accounts.remove_user(actor, name, delete=delete, dry_run=dry_run)
    return render.pam_user(gone, dry_run=dry_run)


@post(
    "/pam-users/{name:str}/password",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=204,
    tags=_USERS,
    summary="Set the PRIV password",
)
def set_password(
    name: FromPath[str], data: JSONBody[inputs.NewPassword], actor: Caller, services: UseCases
) -> None:
    """Enrolment and rescue. The password is not kept."""
    services.accounts.set_password(actor, name, data.password)


@put(
    "/pam-users/{name:str}/enabled",
    opt=_CHANGE,
    sync_to_thread=True,
    tags=_USERS,
    summary="Switch a PAM user off or on",
)
def switch_user(
    name: FromPath[str], data: JSONBody[inputs.Switch], actor: Caller, services: UseCases
) -> views.Switched:
    """Off: all access ends, what was asked for is cancelled, and nothing can be asked for."""
    done = services.switches.turn(actor, name, data.reason, on=data.enabled)
    return views.Switched(user=render.pam_user(done.user), ended=[one.id for one in done.ended])


@get("/pam-groups", opt=_READ, sync_to_thread=True, tags=_GROUPS, summary="All PAM groups")
def list_groups(actor: Caller, services: UseCases) -> views.PamGroups:
    """The PRIV groups that carry the rights of CORP groups."""
    return views.PamGroups(items=[render.pam_group(one) for one in services.accounts.groups(actor)])


@get("/pam-groups/{name:str}", opt=_READ, sync_to_thread=True, tags=_GROUPS, summary="One PAM group")
def show_group(name: FromPath[str], actor: Caller, services: UseCases) -> views.PamGroupView:
    """By name or id."""
    return render.pam_group(services.accounts.group(actor, name))


@post("/pam-groups", opt=_CHANGE, sync_to_thread=True, tags=_GROUPS, summary="Prepare a group")
def add_group(
    data: JSONBody[inputs.NewPamGroup], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> Response[views.PamGroupView]:
    """Checks that the carrier can carry this CORP group, and says what to use instead where it cannot. Warns of members that a group of
    the one forest has already.
    """
    made = services.accounts.add_group(
        actor, data.corp, data.carrier, priv_name=data.priv_name, adopt=data.adopt, dry_run=dry_run
    )
    findings = services.accounts.standing(actor, made)
    if dry_run:
        return Response(render.pam_group(made, dry_run=True, findings=findings), status_code=200)
    location = {"Location": f"/api/v1/pam-groups/{made.id}"}
    return Response(render.pam_group(made, findings=findings), status_code=201, headers=location)


@delete(
    "/pam-groups/{name:str}",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=_GROUPS,
    summary="Forget a PAM group",
)
def remove_group(
    name: FromPath[str],
    actor: Caller,
    services: UseCases,
    delete: Delete = False,
    dry_run: DryRun = False,
) -> views.PamGroupView:
    """Refused while a role gives it or an open request uses it."""
    gone = services.accounts.remove_group(actor, name, delete=delete, dry_run=dry_run)
    return render.pam_group(gone, dry_run=dry_run)


HANDLERS = [
    list_users, show_user, add_user, remove_user, set_password, switch_user, list_groups, show_group, add_group, remove_group,
]  # fmt: skip
