"""Find what a person named, by name or by id."""

import shlex
from collections.abc import Collection

from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import GroupId, RoleId, Sid, UserId, parse_id, typed
from bastide.domain.people import Actor, PamUser
from bastide.domain.roles import PamGroup, Role
from bastide.services.ports import UnitOfWork

ALL_ROLES = "`bastide role list` shows those there are"
#: For whoever asks for a role, and may not list all.
OWN_ROLES = "`bastide offers` shows those you may ask for"


def find_role(uow: UnitOfWork, name: str, *, remedy: str = ALL_ROLES) -> Role:
    """By name or id. Raises NotFound."""
    if (known := _as_id("role", name)) is not None:
        return uow.roles.get(RoleId(known))
    try:
        return uow.roles.by_name(name)
    except NotFound:
        raise NotFound(f"no role {typed(name)}", remedy=remedy) from None


def find_user(uow: UnitOfWork, name: str) -> PamUser:
    """By name or id. Raises NotFound."""
    if (known := _as_id("user", name)) is not None:
        return uow.users.get(UserId(known))
    try:
        return uow.users.by_name(name)
    except NotFound:
        raise NotFound(
            f"no PAM user {typed(name)}", remedy="`bastide pam user list` shows those there are"
        ) from None


def find_groups(uow: UnitOfWork, names: Collection[str]) -> tuple[PamGroup, ...]:
    """By name or id, in the order given. Raises NotFound."""
    return tuple(find_group(uow, name) for name in names)


def find_group(uow: UnitOfWork, name: str) -> PamGroup:
    """By name or id. Raises NotFound."""
    if (known := _as_id("group", name)) is not None:
        return uow.groups.get(GroupId(known))
    try:
        return uow.groups.by_name(name)
    except NotFound:
        raise NotFound(
            f"no PAM group {typed(name)}", remedy="`bastide pam group list` shows those there are"
        ) from None


def _as_id(field: str, text: str) -> str | None:
    """What reads as an id is one: a name like it would stand in the way of the one whose id it is."""
    try:
        return parse_id(field, text)
    except InvalidInput:
        return None


def refuse_known_group(uow: UnitOfWork, name: str) -> None:
    """Before the directory says no to the second of two in words of its own. Raises Conflict."""
    known = next((group for group in uow.groups.all() if group.name.casefold() == name.casefold()), None)
    if known is not None:
        raise Conflict(
            f"{known.name} is a PAM group already; it carries {known.corp.name}",
            remedy=f"`bastide pam group show {shlex.quote(known.name)}` shows it; another one needs another name",
        )


def owner_of(uow: UnitOfWork, actor: Actor) -> tuple[Sid, tuple[Sid, ...]]:
    """Whose second factors the caller's are, one identity for both accounts of a PAM user: the PRIV one; and the accounts it stands for."""
    user = uow.users.by_sid(actor.sid)
    return (actor.sid, (actor.sid,)) if user is None else (user.priv.sid, tuple(user.sids))
