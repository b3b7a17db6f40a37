"""Roles: what they give, to whom, who agrees, and the rules of activation. Approvers and owners cannot change them (F2)."""

from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody

from bastide.api.native import inputs, render, views
from bastide.api.native.given import DryRun
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.services.roles import differences

TAGS = ["roles"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_CHANGE = needs(Right.ADMINISTER)


@get("/roles", opt=_READ, sync_to_thread=True, tags=TAGS, summary="All roles")
def list_roles(actor: Caller, services: UseCases) -> views.Roles:
    """All roles with all their rules."""
    groups = services.accounts.groups(actor)
    return views.Roles(items=[render.role(one, groups) for one in services.roles.all(actor)])


@get("/roles/{name:str}", opt=_READ, sync_to_thread=True, tags=TAGS, summary="One role")
def show_role(name: FromPath[str], actor: Caller, services: UseCases) -> views.RoleView:
    """By name or id."""
    return render.role(services.roles.show(actor, name), services.accounts.groups(actor))


@post("/roles", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Make a role")
def add_role(
    data: JSONBody[inputs.RoleIn], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> Response[views.RoleView]:
    """Saved only if it could be used: names resolve, approvers can be reached."""
    made = services.roles.add(actor, data.draft(services.clock.now()), dry_run=dry_run)
    view = render.role(made, services.accounts.groups(actor), dry_run=dry_run)
    if dry_run:
        return Response(view, status_code=200)
    return Response(view, status_code=201, headers={"Location": f"/api/v1/roles/{made.id}"})


@put("/roles/{name:str}", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Change a role")
def edit_role(
    name: FromPath[str],
    data: JSONBody[inputs.RoleIn],
    actor: Caller,
    services: UseCases,
    dry_run: DryRun = False,
) -> views.RoleView:
    """Replaces all rules; what is left out gets its default. The answer says what changed. Requests made before keep what was approved."""
    before, after = services.roles.edit(actor, name, data.draft(services.clock.now()), dry_run=dry_run)
    groups = services.accounts.groups(actor)
    return render.role(after, groups, dry_run=dry_run, changes=differences(before, after))


@delete(
    "/roles/{name:str}", opt=_CHANGE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Remove a role"
)
def remove_role(
    name: FromPath[str], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> views.RoleView:
    """Refused while a request for it is open."""
    groups = services.accounts.groups(actor)
    return render.role(services.roles.remove(actor, name, dry_run=dry_run), groups, dry_run=dry_run)


HANDLERS = [list_roles, show_role, add_role, edit_role, remove_role]
