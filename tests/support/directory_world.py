"""What the contract tests of the directory stand on: the twin in memory and the real forests, arranged by the same few verbs."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

from bastide.directory.entries import by_guid
from bastide.directory.memory import MemoryDirectory, MemoryPreparer
from bastide.directory.memory_forest import Key, Link, MemoryForest
from bastide.directory.session import ADD, REPLACE, Change
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.ports import Directory, Preparer
from tests.support import directory_lab as real

_LAB_KINDS = {
    Scope.DOMAIN_LOCAL: real.DOMAIN_LOCAL,
    Scope.GLOBAL: real.GLOBAL,
    Scope.UNIVERSAL: real.UNIVERSAL,
}


class World(Protocol):
    """Two forests with an administrator. `corp_group` is one that the delegation names: the only kind Bastide may write in CORP."""

    priv: Directory
    corp: Directory
    preparer: Preparer
    users: str
    groups: str
    controllers: int
    policy: str
    cap: timedelta

    def new_name(self, prefix: str) -> str: ...
    def now(self) -> datetime: ...
    def add_user(
        self,
        forest: Forest,
        name: str,
        *,
        cn: str = "",
        upn: str = "",
        display_name: str = "",
        enabled: bool = True,
    ) -> ObjectRef: ...
    def add_users(self, prefix: str, number: int) -> list[ObjectRef]: ...
    def add_group(
        self, forest: Forest, name: str, *, cn: str = "", scope: Scope = Scope.GLOBAL
    ) -> ObjectRef: ...
    def nest(self, group: ObjectRef, member: ObjectRef) -> None: ...
    def corp_group(self) -> ObjectRef: ...
    def settle(self, ref: ObjectRef) -> None: ...
    def remove(self, ref: ObjectRef) -> None: ...
    def late(self) -> AbstractContextManager[None]:
        """The two controllers of PRIV hear nothing of each other."""

    def nest_on(self, controller: int, group: ObjectRef, member: ObjectRef) -> None:
        """There alone, while they are late. `controller`: 0 is the one that is asked first."""

    def close_on(self, controller: int, account: ObjectRef) -> None:
        """Disabled, and marked as protected."""

    def remove_on(self, controller: int, ref: ObjectRef) -> None: ...


class MemoryWorld:
    """Two forests in memory; PRIV has two controllers, as in the lab."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._names = count(1)
        self.forests = {
            Forest.PRIV: MemoryForest(Forest.PRIV, self.now, controllers=("dc1", "dc2")),
            Forest.CORP: MemoryForest(Forest.CORP, self.now),
        }
        self.priv: Directory = MemoryDirectory(self.forests[Forest.PRIV])
        self.corp: Directory = MemoryDirectory(self.forests[Forest.CORP])
        self.preparer: Preparer = MemoryPreparer(self.forests[Forest.PRIV])
        self.users, self.groups = real.USERS, real.GROUPS
        self.controllers = 2
        self.policy, self.cap = real.POLICY, real.CAP
        self._corp_group = self.add_group(Forest.CORP, "FileAdmins", scope=Scope.DOMAIN_LOCAL)

    def new_name(self, prefix: str) -> str:
        return f"{prefix}{next(self._names)}"

    def now(self) -> datetime:
        return self._now

    def add_user(
        self,
        forest: Forest,
        name: str,
        *,
        cn: str = "",
        upn: str = "",
        display_name: str = "",
        enabled: bool = True,
    ) -> ObjectRef:
        made = self.forests[forest].add_person(
            name, cn=cn, display_name=display_name, upn=upn, enabled=enabled
        )
        return made.ref

    def add_users(self, prefix: str, number: int) -> list[ObjectRef]:
        return [self.add_user(Forest.PRIV, self.new_name(prefix)) for _ in range(number)]

    def add_group(self, forest: Forest, name: str, *, cn: str = "", scope: Scope = Scope.GLOBAL) -> ObjectRef:
        return self.forests[forest].add_group(name, cn=cn, scope=scope).ref

    def nest(self, group: ObjectRef, member: ObjectRef) -> None:
        self.priv.add_members(group, [member.sid])

    def corp_group(self) -> ObjectRef:
        return self._corp_group

    def settle(self, ref: ObjectRef) -> None:
        """Replication is at once."""

    def remove(self, ref: ObjectRef) -> None:
        forest = next(f for f in self.forests.values() if f.domain_sid == ref.sid.domain)
        forest.remove(ref)

    @contextmanager
    def late(self) -> Iterator[None]:
        self.forests[Forest.PRIV].isolate("dc2")
        yield
        self.forests[Forest.PRIV].heal("dc2")

    def nest_on(self, controller: int, group: ObjectRef, member: ObjectRef) -> None:
        self._write_on(controller, {("link", group.guid, member.sid): Link(None)})

    def close_on(self, controller: int, account: ObjectRef) -> None:
        found = self.forests[Forest.PRIV].account(account.sid)
        closed = replace(found, person=replace(found.person, enabled=False, protected=True))
        self._write_on(controller, {("account", account.sid): closed})

    def remove_on(self, controller: int, ref: ObjectRef) -> None:
        self._write_on(controller, {("account", ref.sid): None})

    def _write_on(self, controller: int, rows: Mapping[Key, object]) -> None:
        self.forests[Forest.PRIV].write(("dc1", "dc2")[controller], "arrange", rows)


class LabWorld:
    """The Samba lab, seen by the delegated accounts and arranged by an administrator."""

    def __init__(self, lab: real.DirectoryLab) -> None:
        self.lab = lab
        self.priv: Directory = lab.priv
        self.corp: Directory = lab.corp
        self.preparer: Preparer = lab.preparer
        self.users, self.groups = real.USERS, real.GROUPS
        self.controllers = 2
        self.policy, self.cap = real.POLICY, real.CAP

    def new_name(self, prefix: str) -> str:
        return self.lab.new_name(prefix)

    def now(self) -> datetime:
        return self.lab.now()

    def add_user(
        self,
        forest: Forest,
        name: str,
        *,
        cn: str = "",
        upn: str = "",
        display_name: str = "",
        enabled: bool = True,
    ) -> ObjectRef:
        return self.lab.add_user(forest, name, cn=cn, upn=upn, display_name=display_name, enabled=enabled)

    def add_users(self, prefix: str, number: int) -> list[ObjectRef]:
        """Waits for replication once."""
        made = [self.lab.add_user(Forest.PRIV, self.new_name(prefix), settle=False) for _ in range(number)]
        for ref in made:
            self.settle(ref)
        return made

    def add_group(self, forest: Forest, name: str, *, cn: str = "", scope: Scope = Scope.GLOBAL) -> ObjectRef:
        return self.lab.add_group(forest, name, cn=cn, kind=_LAB_KINDS[scope])

    def nest(self, group: ObjectRef, member: ObjectRef) -> None:
        self.priv.add_members(group, [member.sid])

    def corp_group(self) -> ObjectRef:
        return self.corp.find_group("FileAdmins").ref

    def settle(self, ref: ObjectRef) -> None:
        self.lab.settle(self._forest(ref.sid), f"<GUID={ref.guid}>")

    def remove(self, ref: ObjectRef) -> None:
        forest = self._forest(ref.sid)
        self.lab.admins[forest].on_each(lambda session: _delete(session, ref))

    @contextmanager
    def late(self) -> Iterator[None]:
        with self.lab.late():
            yield

    def nest_on(self, controller: int, group: ObjectRef, member: ObjectRef) -> None:
        self._modify_on(controller, group, [(ADD, "member", [member.dn.encode()])])

    def close_on(self, controller: int, account: ObjectRef) -> None:
        closed: list[Change] = [(REPLACE, "userAccountControl", [b"546"]), (REPLACE, "adminCount", [b"1"])]
        self._modify_on(controller, account, closed)

    def remove_on(self, controller: int, ref: ObjectRef) -> None:
        self.lab.admin_on(controller, lambda session: _delete(session, ref))

    def _modify_on(self, controller: int, ref: ObjectRef, changes: list[Change]) -> None:
        self.lab.admin_on(controller, lambda session: session.modify(by_guid(ref.guid), changes))

    def _forest(self, sid: Sid) -> Forest:
        return Forest.PRIV if sid.domain == self.lab.priv.domain().sid else Forest.CORP


def _delete(session: real.Session, ref: ObjectRef) -> None:
    try:
        session.delete(f"<GUID={ref.guid}>")
    except real.NoSuchObject:
        return
