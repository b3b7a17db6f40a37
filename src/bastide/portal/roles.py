"""Roles: look, make, change, remove. Each change is shown before it is saved, and saved only over the version that was shown."""

from collections.abc import Mapping
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import BastideError
from bastide.domain.people import Demand, Right
from bastide.domain.roles import DESCRIPTION_LIMIT, PATTERN_LIMIT, Enforcer, Role
from bastide.http.handed import UseCases
from bastide.portal import admin, role_forms, role_words
from bastide.portal.admin import DO, PROPOSALS, READ, ROLES, SAID, SEE
from bastide.portal.visits import Visit, Visited, see
from bastide.services.roles import RoleChange

#: Of a form that is no rule of a role.
_NO_RULE = frozenset({"form_token", "step"})
_DONE = {"added": "The role is there.", "changed": "The role is changed.", "removed": "The role is removed."}


@get(ROLES, opt=READ, sync_to_thread=True)
def show_roles(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """All roles."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    names = _names(visit)
    return admin.page(
        visit,
        "roles.html",
        ROLES,
        done=_said(request),
        roles=[(role, dict(role_words.facts(role, names))) for role in services.roles.all(visit.actor)],
    )


@get(f"{ROLES}/new", opt=SEE, sync_to_thread=True)
def show_new(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The form of a role that is not there yet."""
    return admin.lacking(request, visit, Right.ADMINISTER) or _form(visit, None, role_forms.NEW)


@post(f"{ROLES}/new", opt=DO, sync_to_thread=True)
def make(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Look at what was typed, or save what was looked at."""
    fields = visit.opened(body, most=role_forms.FIELD_LIMIT)
    if fields.get("step") in {"more", "back"}:
        return _form(visit, None, fields, more=fields["step"] == "more")
    try:
        draft = role_forms.draft_of(fields, services.clock.now())
        saves = fields.get("step") == "save"
        change = services.roles.add(visit.actor, draft, dry_run=not saves)
    except SAID as error:
        return _form(visit, None, fields, error)
    return _saved(change, "added") if saves else _preview(visit, change, fields)


@get(f"{ROLES}/{{role_id:str}}", opt=READ, sync_to_thread=True)
def show_role(
    request: Call[Any, Any, Any], role_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """One role with all its rules."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    role = services.roles.show(visit.actor, role_id)
    waiting = [one for one in services.roles.proposals(visit.actor) if one.role == role.id]
    facts = role_words.facts(role, _names(visit))
    return admin.page(visit, "role.html", ROLES, done=_said(request), role=role, facts=facts, waiting=waiting)


@get(f"{ROLES}/{{role_id:str}}/edit", opt=SEE, sync_to_thread=True)
def show_edit(
    request: Call[Any, Any, Any], role_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """The form of a role as it is."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    role = services.roles.show(visit.actor, role_id)
    return _form(visit, role, role_forms.fields_of(role, _names(visit)))


@post(f"{ROLES}/{{role_id:str}}/edit", opt=DO, sync_to_thread=True)
def edit(role_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Look at what would change, or save what was looked at. `rebase`: look at it beside the role as somebody else left it."""
    fields = visit.opened(body, most=role_forms.FIELD_LIMIT)
    role = services.roles.show(visit.actor, role_id)
    if fields.get("step") in {"more", "back"}:
        return _form(visit, role, fields, more=fields["step"] == "more")
    if fields.get("step") == "rebase":
        fields["version"] = str(role.version)
    try:
        draft = role_forms.draft_of(fields, services.clock.now())
        saves = fields.get("step") == "save"
        change = services.roles.edit(visit.actor, role.id, draft, dry_run=not saves)
    except SAID as error:
        return _form(visit, role, fields, error)
    return _saved(change, "changed") if saves else _preview(visit, change, fields)


@get(f"{ROLES}/{{role_id:str}}/remove", opt=SEE, sync_to_thread=True)
def show_remove(
    request: Call[Any, Any, Any], role_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """What would go, or why it cannot."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    role = services.roles.show(visit.actor, role_id)
    try:
        services.roles.remove(visit.actor, role.id, dry_run=True)
    except SAID as error:
        return _remove(visit, role, error, possible=False)
    return _remove(visit, role)


@post(f"{ROLES}/{{role_id:str}}/remove", opt=DO, sync_to_thread=True)
def remove(role_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """With the role's name typed."""
    fields = visit.opened(body)
    role = services.roles.show(visit.actor, role_id)
    try:
        admin.confirmed(fields, role.name)
        change = services.roles.remove(visit.actor, role.id)
    except SAID as error:
        return _remove(visit, role, error)
    if change.proposal is not None:
        return see(f"{PROPOSALS}/{change.proposal.id}?said=proposed")
    return see(f"{ROLES}?said=removed")


def _names(visit: Visit) -> role_words.Names:
    return {group.id: group.name for group in visit.services.accounts.groups(visit.actor)}


def _said(request: Call[Any, Any, Any]) -> str:
    return _DONE.get(request.query_params.get("said", ""), "")


def _saved(change: RoleChange, said: str) -> Response[bytes]:
    if change.proposal is not None:
        return see(f"{PROPOSALS}/{change.proposal.id}?said=proposed")
    return see(f"{ROLES}/{change.role.id}?said={said}")


def _form(
    visit: Visit,
    role: Role | None,
    fields: Mapping[str, str],
    error: BastideError | None = None,
    *,
    more: bool = False,
) -> Response[bytes]:
    """With the names that may be typed, as far as they are known here: groups are chosen among those that are prepared."""
    groups = visit.services.accounts.groups(visit.actor)
    users = visit.services.accounts.users(visit.actor)
    return admin.page(
        visit,
        "role_form.html",
        ROLES,
        error,
        fields=fields,
        role=role,
        moved=role is not None and fields.get("version") != str(role.version),
        stages=min(role_forms.stages_in(fields) + more, role_forms.STAGE_LIMIT),
        stage_limit=role_forms.STAGE_LIMIT,
        groups=[group.name for group in groups],
        people=len(users),
        days=role_forms.DAYS,
        floors=tuple(Enforcer),
        demands=tuple(Demand),
        limits={"description": DESCRIPTION_LIMIT, "pattern": PATTERN_LIMIT},
    )


def _preview(visit: Visit, change: RoleChange, fields: Mapping[str, str]) -> Response[bytes]:
    changed = role_words.compared(change.before, change.after, _names(visit))
    kept = {name: value for name, value in fields.items() if name not in _NO_RULE}
    return admin.page(
        visit,
        "role_diff.html",
        ROLES,
        role=change.before,
        name=change.role.name,
        changed=changed,
        kept=kept,
        four_eyes=visit.services.roles.four_eyes,
    )


def _remove(
    visit: Visit, role: Role, error: BastideError | None = None, *, possible: bool = True
) -> Response[bytes]:
    return admin.page(
        visit,
        "role_remove.html",
        ROLES,
        error,
        role=role,
        possible=possible,
        facts=role_words.facts(role, _names(visit)),
        four_eyes=visit.services.roles.four_eyes,
    )


HANDLERS = [show_roles, show_new, make, show_role, show_edit, edit, show_remove, remove]
