"""Find what a person named, by name or by id."""

from collections.abc import Collection

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.ids import GroupId, RoleId, UserId, parse_id
from bastide.domain.people import PamUser
from bastide.domain.roles import PamGroup, Role
from bastide.services.ports import UnitOfWork


def find_role(uow: UnitOfWork, name: str) -> Role:
    """By name or id. Raises NotFound."""
    try:
        return uow.roles.by_name(name)
    except NotFound:
        try:
            return uow.roles.get(RoleId(parse_id("role", name)))
        except InvalidInput:
            raise NotFound(
                f"no role {name[:80]!r}", remedy="`bastide role list` shows those there are"
            ) from None


def find_user(uow: UnitOfWork, name: str) -> PamUser:
    """By name or id. Raises NotFound."""
    try:
        return uow.users.by_name(name)
    except NotFound:
        try:
            return uow.users.get(UserId(parse_id("user", name)))
        except InvalidInput:
            raise NotFound(
                f"no PAM user {name[:80]!r}", remedy="`bastide pam user list` shows those there are"
            ) from None


def find_groups(uow: UnitOfWork, names: Collection[str]) -> tuple[PamGroup, ...]:
    """By name or id, in the order given. Raises NotFound."""
    return tuple(find_group(uow, name) for name in names)


def find_group(uow: UnitOfWork, name: str) -> PamGroup:
    """By name or id. Raises NotFound."""
    try:
        return uow.groups.by_name(name)
    except NotFound:
        try:
            return uow.groups.get(GroupId(parse_id("group", name)))
        except InvalidInput:
            raise NotFound(
                f"no PAM group {name[:80]!r}", remedy="`bastide pam group list` shows those there are"
            ) from None
