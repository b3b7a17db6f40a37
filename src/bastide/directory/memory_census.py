"""Privileged groups and accounts in memory: the twin of census.py, held to the same contract suite."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_forest import MemoryForest, Replica
from bastide.domain.baseline import Account, Change
from bastide.domain.census import Seat, Sort
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.ids import Sid
from bastide.services.cluster.ports import Caller
from bastide.services.ports import Group


class MemoryCensus:
    """As the port Census. `facts`: what is known of accounts beside what the forest has; `managers`: account to manager. A group counts as guarded if it is `protected`."""

    def __init__(self, world: MemoryForest, facts: dict[Sid, Account] | None = None) -> None:
        self.world = world
        self.facts: dict[Sid, Account] = {} if facts is None else facts
        self.managers: dict[Sid, Sid] = {}
        self.domain = world.dns_name.lower()

    def seats(self, also: Collection[Sid]) -> tuple[Seat, ...]:
        replica = self._replica()
        groups = [one for one in replica.groups() if one.protected or one.ref.sid in also]
        return tuple(
            seat for group in groups for seat in self._below(replica, group, group, (), {group.ref.sid})
        )

    def _below(
        self, replica: Replica, top: Group, group: Group, path: tuple[str, ...], seen: set[Sid]
    ) -> Iterator[Seat]:
        by_sid = {one.ref.sid: one for one in replica.groups()}
        for sid in sorted(replica.members_of(group.ref.guid, self.world.clock())):
            account, inner = replica.account(sid), by_sid.get(sid)
            hidden = sid.domain == self.world.domain_sid
            name, sort, enabled = str(sid), Sort.HIDDEN if hidden else Sort.FOREIGN, None
            if account is not None:
                name, sort, enabled = account.person.ref.name, Sort.PERSON, account.person.enabled
            elif inner is not None:
                name, sort = inner.ref.name, Sort.GROUP
            yield Seat(top.ref.sid, top.ref.name, sid, name, sort, path, group.ref.sid, enabled)
            if inner is not None and sid not in seen:
                seen.add(sid)
                yield from self._below(replica, top, inner, (*path, inner.ref.name), seen)

    def accounts(self, sids: Collection[Sid]) -> Mapping[Sid, Account]:
        replica, found = self._replica(), {}
        for sid in sids:
            account = replica.account(sid)
            if account is None:
                continue
            person = account.person
            known = self.facts.get(sid) or self._born(sid, person.ref.name)
            found[sid] = replace(
                known,
                enabled=person.enabled,
                guarded=account.guarded,
                cap=self.world.policies.get(account.policy),
            )
        return found

    def _born(self, sid: Sid, name: str) -> Account:
        """As an account is made: with a password."""
        return Account(sid, name, self.domain, password_set=self.world.clock())

    def manager(self, account: Sid) -> Sid | None:
        self._replica()
        return self.managers.get(account)

    def find(self, name: str) -> Sid:
        return MemoryDirectory(self.world).find_person(name).ref.sid

    def _replica(self) -> Replica:
        return next(iter(self.world.reachable().values()))


class MemoryHardener(MemoryCensus):
    """As the port Hardener."""

    def __init__(
        self,
        world: MemoryForest,
        facts: dict[Sid, Account] | None = None,
        *,
        name: str = "Administrator",
        may: bool = True,
    ) -> None:
        super().__init__(world, facts)
        self._name = name
        self._may = may

    def caller(self) -> Caller:
        return Caller(f"{self.world.domain_sid}-500", self._name)

    def apply(self, account: Sid, change: Change, policy: str) -> None:
        found = self._replica().account(account)
        if found is None:
            raise NoSuchObject(f"there is no account {account}")
        if not self._may:
            raise DirectoryDenied(f"{self._name} may not change {found.person.ref.name}")
        if change is Change.PROTECT:
            self.world.change(replace(found, guarded=True), self._replica().expires(account))
        elif change is Change.TICKET_CAP:
            dn = next((dn for dn in self.world.policies if dn.startswith(f"CN={policy},")), "")
            if not dn:
                raise NoSuchObject(f"there is no policy {policy}")
            self.world.change(replace(found, policy=dn), self._replica().expires(account))
        else:
            known = self.facts.get(account) or self._born(account, found.person.ref.name)
            self.facts[account] = _CHANGES[change](known)


_CHANGES: Mapping[Change, Callable[[Account], Account]] = {
    Change.AES_ONLY: lambda one: replace(one, encryption=0x18, des_only=False),
    Change.NOT_DELEGATED: lambda one: replace(one, not_delegated=True),
    Change.PREAUTH: lambda one: replace(one, preauth_off=False),
    Change.NO_REVERSIBLE: lambda one: replace(one, reversible=False),
    Change.PASSWORD_NEEDED: lambda one: replace(one, password_not_needed=False),
    Change.SMART_CARD: lambda one: replace(one, smart_card=True),
}
