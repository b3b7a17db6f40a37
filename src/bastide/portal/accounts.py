"""PAM users and PAM groups: look, add after a look at what would be made, remove with the name typed."""

from collections.abc import Mapping
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.errors import BastideError, InvalidInput
from bastide.domain.people import PamUser, Right
from bastide.domain.roles import Carrier, PamGroup
from bastide.http.handed import UseCases
from bastide.portal import admin
from bastide.portal.admin import DO, GROUPS, READ, SAID, SEE, USERS
from bastide.portal.visits import Visit, Visited, see

_DONE = {
    "added": "It is prepared.",
    "removed": "It is forgotten.",
    "deleted": "It is forgotten, and the object in PRIV is deleted.",
    "off": "It is switched off. What was open ends.",
    "on": "It is switched on.",
}
_NEW_USER = {"corp": "", "priv_name": "", "adopt": "no", "kept_alive": "no"}
_NEW_GROUP = {"corp": "", "priv_name": "", "adopt": "no", "carrier": Carrier.FOREIGN_PRINCIPAL.value}


# ----------------------------------------------------------------------------------------------------------------- users


@get(USERS, opt=READ, sync_to_thread=True)
def show_users(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """All PAM users."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    return admin.page(
        visit, "users.html", USERS, done=_said(request), users=services.accounts.users(visit.actor)
    )


@get(f"{USERS}/new", opt=SEE, sync_to_thread=True)
def show_new_user(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The form to prepare a person."""
    return admin.lacking(request, visit, Right.ADMINISTER) or _user_form(visit, _NEW_USER)


@post(f"{USERS}/new", opt=DO, sync_to_thread=True)
def add_user(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Look at what would be made, or make what was looked at."""
    fields = visit.opened(body)
    if fields.get("step") == "back":
        return _user_form(visit, fields)
    saves = fields.get("step") == "save"
    try:
        user = services.accounts.add_user(
            visit.actor,
            fields.get("corp", ""),
            priv_name=fields.get("priv_name", "").strip(),
            adopt=admin.yes(fields, "adopt"),
            kept_alive=admin.yes(fields, "kept_alive"),
            dry_run=not saves,
        )
    except SAID as error:
        return _user_form(visit, fields, error)
    if saves:
        return see(f"{USERS}/{user.id}?said=added")
    return admin.page(visit, "user_preview.html", USERS, user=user, kept=_kept(fields, _NEW_USER))


@get(f"{USERS}/{{user_id:str}}", opt=READ, sync_to_thread=True)
def show_user(
    request: Call[Any, Any, Any], user_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """One PAM user."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    user = services.accounts.user(visit.actor, user_id)
    return admin.page(visit, "user.html", USERS, done=_said(request), user=user)


@get(f"{USERS}/{{user_id:str}}/remove", opt=SEE, sync_to_thread=True)
def show_remove_user(
    request: Call[Any, Any, Any], user_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """What would be forgotten, or why it cannot."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    user = services.accounts.user(visit.actor, user_id)
    try:
        services.accounts.remove_user(visit.actor, user.id, dry_run=True)
    except SAID as error:
        return _remove_user(visit, user, error, possible=False)
    return _remove_user(visit, user)


@post(f"{USERS}/{{user_id:str}}/remove", opt=DO, sync_to_thread=True)
def remove_user(user_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """With the name typed."""
    fields = visit.opened(body)
    user = services.accounts.user(visit.actor, user_id)
    try:
        admin.confirmed(fields, user.name)
        delete = admin.yes(fields, "delete")
        services.accounts.remove_user(visit.actor, user.id, delete=delete)
    except SAID as error:
        return _remove_user(visit, user, error)
    return see(f"{USERS}?said={'deleted' if delete else 'removed'}")


@get(f"{USERS}/{{user_id:str}}/switch", opt=SEE, sync_to_thread=True)
def show_switch_user(
    request: Call[Any, Any, Any], user_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """What switching off, or on again, means."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    return _switch_user(visit, services.accounts.user(visit.actor, user_id), {})


@post(f"{USERS}/{{user_id:str}}/switch", opt=DO, sync_to_thread=True)
def switch_user(user_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """To what the page said, whatever it is by now."""
    fields = visit.opened(body)
    on = fields.get("to", "") == "on"
    try:
        services.switches.turn(visit.actor, user_id, fields.get("reason", ""), on=on)
    except SAID as error:
        return _switch_user(visit, services.accounts.user(visit.actor, user_id), fields, error)
    return see(f"{USERS}/{user_id}?said={'on' if on else 'off'}")


# ---------------------------------------------------------------------------------------------------------------- groups


@get(GROUPS, opt=READ, sync_to_thread=True)
def show_groups(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """All PAM groups, and the roles that give them."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    groups = services.accounts.groups(visit.actor)
    return admin.page(
        visit, "groups.html", GROUPS, done=_said(request), groups=groups, given=_given(visit, groups)
    )


@get(f"{GROUPS}/new", opt=SEE, sync_to_thread=True)
def show_new_group(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The form to prepare a group."""
    return admin.lacking(request, visit, Right.ADMINISTER) or _group_form(visit, _NEW_GROUP)


@post(f"{GROUPS}/new", opt=DO, sync_to_thread=True)
def add_group(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Look at what would be made, or make what was looked at."""
    fields = visit.opened(body)
    if fields.get("step") == "back":
        return _group_form(visit, fields)
    saves = fields.get("step") == "save"
    try:
        group = services.accounts.add_group(
            visit.actor,
            fields.get("corp", ""),
            _carrier(fields),
            priv_name=fields.get("priv_name", "").strip(),
            adopt=admin.yes(fields, "adopt"),
            dry_run=not saves,
        )
    except SAID as error:
        return _group_form(visit, fields, error)
    if saves:
        return see(f"{GROUPS}/{group.id}?said=added")
    findings = services.accounts.standing(visit.actor, group)
    kept = _kept(fields, _NEW_GROUP)
    return admin.page(visit, "group_preview.html", GROUPS, group=group, findings=findings, kept=kept)


@get(f"{GROUPS}/{{group_id:str}}", opt=READ, sync_to_thread=True)
def show_group(
    request: Call[Any, Any, Any], group_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """One PAM group."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    group = services.accounts.group(visit.actor, group_id)
    given = _given(visit, [group])[group.id]
    return admin.page(visit, "group.html", GROUPS, done=_said(request), group=group, given=given)


@get(f"{GROUPS}/{{group_id:str}}/remove", opt=SEE, sync_to_thread=True)
def show_remove_group(
    request: Call[Any, Any, Any], group_id: FromPath[str], visit: Visited, services: UseCases
) -> Response[bytes]:
    """What would be forgotten, or why it cannot."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    group = services.accounts.group(visit.actor, group_id)
    try:
        services.accounts.remove_group(visit.actor, group.id, dry_run=True)
    except SAID as error:
        return _remove_group(visit, group, error, possible=False)
    return _remove_group(visit, group)


@post(f"{GROUPS}/{{group_id:str}}/remove", opt=DO, sync_to_thread=True)
def remove_group(
    group_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody
) -> Response[bytes]:
    """With the name typed."""
    fields = visit.opened(body)
    group = services.accounts.group(visit.actor, group_id)
    try:
        admin.confirmed(fields, group.name)
        delete = admin.yes(fields, "delete")
        services.accounts.remove_group(visit.actor, group.id, delete=delete)
    except SAID as error:
        return _remove_group(visit, group, error)
    return see(f"{GROUPS}?said={'deleted' if delete else 'removed'}")


def _said(request: Call[Any, Any, Any]) -> str:
    return _DONE.get(request.query_params.get("said", ""), "")


def _kept(fields: Mapping[str, str], form: Mapping[str, str]) -> dict[str, str]:
    return {name: fields.get(name, "") for name in form}


def _carrier(fields: Mapping[str, str]) -> Carrier:
    try:
        return Carrier(fields.get("carrier", ""))
    except ValueError:
        raise InvalidInput("carrier", "is none of the choices") from None


def _given(visit: Visit, groups: tuple[PamGroup, ...] | list[PamGroup]) -> dict[str, list[str]]:
    """By which roles each of the groups is given."""
    roles = visit.services.roles.all(visit.actor)
    return {group.id: [role.name for role in roles if group.id in role.privileges] for group in groups}


def _user_form(visit: Visit, fields: Mapping[str, str], error: BastideError | None = None) -> Response[bytes]:
    return admin.page(visit, "user_form.html", USERS, error, fields=fields)


def _group_form(
    visit: Visit, fields: Mapping[str, str], error: BastideError | None = None
) -> Response[bytes]:
    return admin.page(visit, "group_form.html", GROUPS, error, fields=fields, carriers=tuple(Carrier))


def _switch_user(
    visit: Visit, user: PamUser, fields: Mapping[str, str], error: BastideError | None = None
) -> Response[bytes]:
    limits = {"reason": REASON_LIMIT}
    return admin.page(visit, "switch.html", USERS, error, user=user, fields=fields, limits=limits)


def _remove_user(
    visit: Visit, user: PamUser, error: BastideError | None = None, *, possible: bool = True
) -> Response[bytes]:
    return admin.page(
        visit,
        "forget.html",
        USERS,
        error,
        possible=possible,
        name=user.name,
        back=f"{USERS}/{user.id}",
        what=f"{user.name}, the PRIV account {user.priv.name} that belongs to {user.corp.name}",
        adopted=user.adopted,
    )


def _remove_group(
    visit: Visit, group: PamGroup, error: BastideError | None = None, *, possible: bool = True
) -> Response[bytes]:
    return admin.page(
        visit,
        "forget.html",
        GROUPS,
        error,
        possible=possible,
        name=group.name,
        back=f"{GROUPS}/{group.id}",
        what=f"{group.name}, which carries the rights of {group.corp.name}",
        adopted=group.adopted or group.carrier is Carrier.DIRECT,
    )


HANDLERS = [
    show_users, show_new_user, add_user, show_user, show_switch_user, switch_user, show_remove_user, remove_user,
    show_groups, show_new_group, add_group, show_group, show_remove_group, remove_group,
]  # fmt: skip
