"""Users, groups and roles: named objects, each one document with its own version."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sqlalchemy import Row, Table, bindparam, delete, insert, or_, select, update

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import GroupId, RoleId, Sid, UserId
from bastide.domain.people import PamUser
from bastide.domain.roles import PamGroup, Role
from bastide.store import tables
from bastide.store.codec import Document
from bastide.store.session import Session
from bastide.store.statements import one_of


class _Named(Protocol):
    """What the three have in common."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...


T = TypeVar("T", bound=_Named)


class Kind(Generic[T]):
    """One sort of object: its table, what people call it, its own columns. Statements are built once, so that they compile once."""

    def __init__(
        self, kind: type[T], table: Table, called: str, columns: Callable[[T], dict[str, object]]
    ) -> None:
        self.document = Document(kind)
        self.called = called
        self.columns = columns
        c = table.c
        self.insert = insert(table)
        self.update = update(table).where(c.id == bindparam("id_"), c.version == bindparam("version_"))
        self.delete = delete(table).where(c.id == bindparam("id"))
        self.by_id = select(c.doc).where(c.id == bindparam("id"))
        self.by_ids = select(c.id, c.doc).where(one_of(c.id, "ids"))
        self.by_name = select(c.doc).where(c.name_key == bindparam("name"))
        self.all = select(c.doc).order_by(c.name_key)


def _no_columns(_: PamGroup | Role) -> dict[str, object]:
    return {}


def _sids(user: PamUser) -> dict[str, object]:
    return {"corp_sid": str(user.corp.sid), "priv_sid": str(user.priv.sid)}


_USERS: Kind[PamUser] = Kind(PamUser, tables.pam_users, "PAM user", _sids)
_GROUPS: Kind[PamGroup] = Kind(PamGroup, tables.pam_groups, "PAM group", _no_columns)
_ROLES: Kind[Role] = Kind(Role, tables.roles, "role", _no_columns)
_user_sids = tables.pam_users.c
_BY_SID = select(_user_sids.doc).where(
    or_(_user_sids.corp_sid == bindparam("sid"), _user_sids.priv_sid == bindparam("sid"))
)


class NamedObjects(Generic[T]):
    """What repositories of named documents share."""

    def __init__(self, session: Session, kind: Kind[T]) -> None:
        self._session = session
        self._kind = kind

    def _add(self, value: T) -> None:
        try:
            self._session.run(self._kind.insert, self._row(value))
        except Conflict as error:
            raise self._taken(value) from error

    def _save(self, value: T) -> T:
        saved = replace(value, version=value.version + 1)
        key = {"id_": value.id, "version_": value.version}
        try:
            hit = self._session.run(self._kind.update, {**self._row(saved), **key}).rowcount
        except Conflict as error:
            raise self._taken(value) from error
        if hit != 1:
            self._get(value.id)
            raise Conflict(
                f"somebody else changed the {self._kind.called} {value.name} meanwhile",
                remedy="look at it again, then repeat the change",
            )
        return saved

    def _remove(self, key: str) -> None:
        if self._session.run(self._kind.delete, {"id": key}).rowcount != 1:
            raise self._missing(key)

    def _get(self, key: str) -> T:
        return self._one(self._session.run(self._kind.by_id, {"id": key}).first(), key)

    def _many(self, ids: Collection[str]) -> tuple[T, ...]:
        """Those that exist, in the order of `ids`."""
        if not ids:
            return ()
        found = {row.id: row.doc for row in self._session.run(self._kind.by_ids, {"ids": list(set(ids))})}
        return tuple(self._kind.document.load(found[key]) for key in ids if key in found)

    def by_name(self, name: str) -> T:
        """By name, in whatever case. Raises NotFound."""
        row = self._session.run(self._kind.by_name, {"name": _key(name)}).first()
        return self._one(row, name)

    def all(self) -> tuple[T, ...]:
        """All, by name."""
        return tuple(self._kind.document.load(row.doc) for row in self._session.run(self._kind.all))

    def _row(self, value: T) -> Mapping[str, object]:
        return {
            "id": value.id,
            "name_key": _key(value.name),
            "version": value.version,
            "doc": self._kind.document.dump(value),
            **self._kind.columns(value),
        }

    def _one(self, row: Row[Any] | None, name: str) -> T:
        if row is None:
            raise self._missing(name)
        return self._kind.document.load(row.doc)

    def _missing(self, name: str) -> NotFound:
        return NotFound(f"there is no {self._kind.called} {name[:80]!r}")

    def _taken(self, value: T) -> Conflict:
        return Conflict(f"there is another {self._kind.called} with the name or account of {value.name}")


class SqlUsers(NamedObjects[PamUser]):
    """PAM users."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, _USERS)

    def add(self, user: PamUser) -> None:
        """Raises Conflict if its name or one of its accounts is taken."""
        self._add(user)

    def save(self, user: PamUser) -> PamUser:
        """With its next version. Raises Conflict, NotFound."""
        return self._save(user)

    def remove(self, id: UserId) -> None:  # noqa: A002
        """Raises NotFound."""
        self._remove(id)

    def get(self, id: UserId) -> PamUser:  # noqa: A002
        """Raises NotFound."""
        return self._get(id)

    def many(self, ids: Collection[UserId]) -> tuple[PamUser, ...]:
        """Those that exist, in the order of `ids`."""
        return self._many(ids)

    def by_sid(self, sid: Sid) -> PamUser | None:
        """Of the CORP or the PRIV account."""
        row = self._session.run(_BY_SID, {"sid": str(sid)}).first()
        return None if row is None else _USERS.document.load(row.doc)


class SqlGroups(NamedObjects[PamGroup]):
    """PAM groups."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, _GROUPS)

    def add(self, group: PamGroup) -> None:
        """Raises Conflict if its name is taken."""
        self._add(group)

    def save(self, group: PamGroup) -> PamGroup:
        """With its next version. Raises Conflict, NotFound."""
        return self._save(group)

    def remove(self, id: GroupId) -> None:  # noqa: A002
        """Raises NotFound."""
        self._remove(id)

    def get(self, id: GroupId) -> PamGroup:  # noqa: A002
        """Raises NotFound."""
        return self._get(id)

    def many(self, ids: Collection[GroupId]) -> tuple[PamGroup, ...]:
        """Those that exist, in the order of `ids`."""
        return self._many(ids)


class SqlRoles(NamedObjects[Role]):
    """Roles."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, _ROLES)

    def add(self, role: Role) -> None:
        """Raises Conflict if its name is taken."""
        self._add(role)

    def save(self, role: Role) -> Role:
        """With its next version. Raises Conflict, NotFound."""
        return self._save(role)

    def remove(self, id: RoleId) -> None:  # noqa: A002
        """Raises NotFound."""
        self._remove(id)

    def get(self, id: RoleId) -> Role:  # noqa: A002
        """Raises NotFound."""
        return self._get(id)


def _key(name: str) -> str:
    return name.casefold()
