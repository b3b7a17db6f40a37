"""What the contract tests of a census stand on: the twin in memory and PRIV on Samba, arranged by the same few verbs."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bastide.directory.census import AdCensus, AdHardener
from bastide.directory.constants import AccountControl
from bastide.directory.entries import by_guid
from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_census import MemoryCensus, MemoryHardener
from bastide.directory.memory_forest import MemoryForest
from bastide.directory.session import ADD, DELETE, REPLACE
from bastide.domain.baseline import Account
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.services.baseline.ports import Census, Hardener
from tests.support.changes_world import hide as hidden_on_samba
from tests.support.directory_lab import CAP, POLICY, PRIV, PRIV_BASE, DirectoryLab

#: As somebody leaves an account who wants it to work, whatever it costs.
WEAK = (
    AccountControl.NORMAL
    | AccountControl.PASSWORD_NEVER_EXPIRES
    | AccountControl.DONT_REQUIRE_PREAUTH
    | AccountControl.REVERSIBLE_PASSWORD
    | AccountControl.PASSWORD_NOT_REQUIRED
)
SPN = "MSSQLSvc/db.priv.bastide.test"
_names = itertools.count(1)


class CensusWorld(Protocol):
    """A domain in which people leave weak accounts, and groups in groups."""

    policy: str
    cap: timedelta

    def weak(self) -> ObjectRef:
        """An account with a service principal name, and all of WEAK."""

    def group(self) -> ObjectRef: ...
    def join(self, group: ObjectRef, *members: ObjectRef) -> None: ...
    def guarded(self) -> ObjectRef:
        """A group that AdminSDHolder guards."""

    def leave(self, group: ObjectRef, member: ObjectRef) -> None: ...
    def join_hidden(self, group: ObjectRef) -> ObjectRef:
        """A member that is not shown to the service account."""

    def managed_by(self, account: ObjectRef, manager: ObjectRef) -> None: ...
    def census(self) -> Census:
        """As the service account."""

    def hardener(self) -> Hardener:
        """As the administrator."""

    def powerless(self) -> Hardener: ...
    def soon(self, fact: Callable[[], bool]) -> None:
        """Until it has replicated."""


def hide(forest: MemoryForest, ref: ObjectRef) -> None:
    """From everybody: its links stay where they are."""
    name = next(iter(forest.reachable()))
    forest.write(name, f"hide {ref.name}", {("account", ref.sid): None})


class MemoryCensusWorld:
    def __init__(self) -> None:
        now = datetime(2026, 3, 1, 9, tzinfo=UTC)
        self.forest = MemoryForest(Forest.PRIV, lambda: now, controllers=("dc1", "dc2"))
        self.policy, self.cap = POLICY, CAP
        self.forest.policies[f"CN={POLICY},CN=AuthN Policies"] = CAP
        self.facts: dict[Sid, Account] = {}
        self._census = MemoryCensus(self.forest, self.facts)
        self._admins = self.forest.add_group("Domain Admins", protected=True).ref

    def weak(self) -> ObjectRef:
        ref = self.forest.add_person(f"weak{next(_names)}").ref
        self.facts[ref.sid] = Account(
            ref.sid, ref.name, PRIV, password_set=self.forest.clock(), spns=(f"{SPN}:{ref.name}",), preauth_off=True,
            reversible=True, password_not_needed=True, never_expires=True,
        )  # fmt: skip
        return ref

    def group(self) -> ObjectRef:
        return self.forest.add_group(f"group{next(_names)}").ref

    def guarded(self) -> ObjectRef:
        return self._admins

    def join(self, group: ObjectRef, *members: ObjectRef) -> None:
        MemoryDirectory(self.forest).add_members(group, [one.sid for one in members])

    def leave(self, group: ObjectRef, member: ObjectRef) -> None:
        MemoryDirectory(self.forest).remove_members(group, [member.sid])

    def join_hidden(self, group: ObjectRef) -> ObjectRef:
        ref = self.forest.add_person(f"hidden{next(_names)}").ref
        self.join(group, ref)
        hide(self.forest, ref)
        return ref

    def managed_by(self, account: ObjectRef, manager: ObjectRef) -> None:
        self._census.managers[account.sid] = manager.sid

    def census(self) -> Census:
        return self._census

    def hardener(self) -> Hardener:
        return MemoryHardener(self.forest, self.facts)

    def powerless(self) -> Hardener:
        return MemoryHardener(self.forest, self.facts, may=False, name="svc-bastide")

    def soon(self, fact: Callable[[], bool]) -> None:
        assert fact()


class SambaCensusWorld:
    """PRIV, with two controllers."""

    def __init__(self, forests: DirectoryLab, soon: Callable[[Callable[[], bool]], None]) -> None:
        self.forests = forests
        self.policy, self.cap = POLICY, CAP
        self.soon = soon

    def weak(self) -> ObjectRef:
        made = self.forests.add_user(
            Forest.PRIV, self.forests.new_name("weak"), container=f"CN=Users,{PRIV_BASE}", enabled=False
        )
        quoted = '"Correct-Horse-Battery-9"'.encode("utf-16-le")
        self._set(made, "unicodePwd", quoted)
        self._set(made, "userAccountControl", str(int(WEAK)).encode())
        self._set(made, "servicePrincipalName", f"{SPN}:{made.name}".encode())
        return made

    def group(self) -> ObjectRef:
        return self.forests.add_group(Forest.PRIV, self.forests.new_name("group"))

    def guarded(self) -> ObjectRef:
        return self.forests.admin_read(Forest.PRIV, f"CN=Domain Admins,CN=Users,{PRIV_BASE}").ref()

    def join(self, group: ObjectRef, *members: ObjectRef) -> None:
        for one in members:
            self.forests.admin_modify(Forest.PRIV, by_guid(group.guid), [(ADD, "member", [one.dn.encode()])])

    def leave(self, group: ObjectRef, member: ObjectRef) -> None:
        self.forests.admin_modify(
            Forest.PRIV, by_guid(group.guid), [(DELETE, "member", [member.dn.encode()])]
        )

    def join_hidden(self, group: ObjectRef) -> ObjectRef:
        ref = self.forests.add_user(Forest.PRIV, self.forests.new_name("hidden"))
        self.join(group, ref)
        hidden_on_samba(self.forests, Forest.PRIV, ref)
        return ref

    def managed_by(self, account: ObjectRef, manager: ObjectRef) -> None:
        self._set(account, "manager", manager.dn.encode())

    def _set(self, ref: ObjectRef, name: str, value: bytes) -> None:
        self.forests.admin_modify(Forest.PRIV, by_guid(ref.guid), [(REPLACE, name, [value])])

    def census(self) -> Census:
        return AdCensus(self.forests.controllers(Forest.PRIV, "svc-bastide"))

    def hardener(self) -> Hardener:
        return self._as("Administrator")

    def powerless(self) -> Hardener:
        return self._as("svc-bastide")

    def _as(self, who: str) -> Hardener:
        return AdHardener(self.forests.controllers(Forest.PRIV, who), self.forests.lab.fqdn("privdc"))
