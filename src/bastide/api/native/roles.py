"""Roles: what they give, to whom, who agrees, and the rules of activation. Approvers and owners cannot change them (F2)."""

from collections.abc import Mapping

from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from bastide.api.native import inputs, render, views
from bastide.api.native.given import DryRun
from bastide.domain.people import Actor, Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.services.roles import RoleChange, change_record
from bastide.wiring import Services

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
    view = _view(actor, services, made, dry_run=dry_run)
    if dry_run or made.proposal is not None:
        return _answer(view)
    return Response(view, status_code=201, headers={"Location": f"/api/v1/roles/{made.role.id}"})


@put("/roles/{name:str}", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Change a role")
def edit_role(
    name: FromPath[str],
    data: JSONBody[inputs.RoleIn],
    actor: Caller,
    services: UseCases,
    dry_run: DryRun = False,
) -> Response[views.RoleView]:
    """Replaces all rules; what is left out gets its default. The answer says what changed. Requests made before keep what was approved."""
    change = services.roles.edit(actor, name, data.draft(services.clock.now()), dry_run=dry_run)
    changes = change_record(change.before, change.after)
    return _answer(_view(actor, services, change, dry_run=dry_run, changes=changes))


@delete(
    "/roles/{name:str}", opt=_CHANGE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Remove a role"
)
def remove_role(
    name: FromPath[str], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> Response[views.RoleView]:
    """Refused while a request for it is open."""
    gone = services.roles.remove(actor, name, dry_run=dry_run)
    return _answer(_view(actor, services, gone, dry_run=dry_run))


@get(
    "/role-proposals",
    opt=_READ,
    sync_to_thread=True,
    tags=TAGS,
    summary="Changes that wait for a second administrator",
)
def list_proposals(actor: Caller, services: UseCases) -> views.Proposals:
    """Oldest first. None, unless `policy.four_eyes` is on, or was."""
    groups = services.accounts.groups(actor)
    return views.Proposals(items=[render.proposal(one, groups) for one in services.roles.proposals(actor)])


@get(
    "/role-proposals/{proposal_id:str}", opt=_READ, sync_to_thread=True, tags=TAGS, summary="One such change"
)
def show_proposal(proposal_id: FromPath[str], actor: Caller, services: UseCases) -> views.ProposalView:
    """What would change, and who proposed it."""
    return render.proposal(services.roles.proposal(actor, proposal_id), services.accounts.groups(actor))


@post(
    "/role-proposals/{proposal_id:str}/approval",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Approve a change of a role",
)
def approve_proposal(
    proposal_id: FromPath[str], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> views.RoleView:
    """Does it. Refused to who proposed it, and when the role was changed since."""
    done = services.roles.approve(actor, proposal_id, dry_run=dry_run)
    return _view(actor, services, done, dry_run=dry_run, changes=change_record(done.before, done.after))


@post(
    "/role-proposals/{proposal_id:str}/rejection",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Reject a change of a role",
)
def reject_proposal(
    proposal_id: FromPath[str],
    actor: Caller,
    services: UseCases,
    data: JSONBody[inputs.Close] = inputs.Close(),  # noqa: B008  # frozen
) -> views.ProposalView:
    """The role stays as it is. One's own proposal is taken back so."""
    rejected = services.roles.reject(actor, proposal_id, data.reason)
    return render.proposal(rejected, services.accounts.groups(actor))


def _view(
    actor: Actor,
    services: Services,
    change: RoleChange,
    *,
    dry_run: bool,
    changes: Mapping[str, object] | None = None,
) -> views.RoleView:
    groups = services.accounts.groups(actor)
    return render.role(change.role, groups, dry_run=dry_run, changes=changes, proposal=change.proposal)


def _answer(view: views.RoleView) -> Response[views.RoleView]:
    """202 for what waits for a second administrator: nothing was changed by then."""
    return Response(view, status_code=200 if view.proposal is UNSET else 202)


HANDLERS = [
    list_roles, show_role, add_role, edit_role, remove_role,
    list_proposals, show_proposal, approve_proposal, reject_proposal,
]  # fmt: skip
