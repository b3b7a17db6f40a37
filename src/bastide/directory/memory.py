"""The directory in memory: the twin of active_directory.py and preparer.py, held to the same contract suite."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from bastide.directory import everywhere
from bastide.directory.memory_forest import Key, Link, MemoryForest, Replica
from bastide.directory.names import (
    USER_NAME_LIMIT,
    TypedName,
    check_account_name,
    check_cap,
    not_found,
    read_name,
    require_domain,
)
from bastide.domain.errors import Ambiguous, CapabilityMissing, NoSuchObject, NotFound
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.ports import Above, AccountState, Capabilities, Controller, Group, NewAccount, Person

_Found = TypeVar("_Found", Person, Group)


@dataclass(frozen=True, slots=True)
class MemoryDomain:
    """An OwnDomain."""

    base: str
    sid: Sid


class MemoryDirectory:
    """Directory over a MemoryForest."""

    forest: Forest

    def __init__(self, world: MemoryForest) -> None:
        self.world = world
        self.forest = world.forest
        self._domain: MemoryDomain | None = None

    def domain(self) -> MemoryDomain:
        if self._domain is None:
            self._first()
            self._domain = MemoryDomain(self.world.base_dn, Sid(self.world.domain_sid))
        return self._domain

    def capabilities(self) -> Capabilities:
        return self.world.capabilities

    def controllers(self) -> tuple[Controller, ...]:
        return self.world.controllers()

    def find_person(self, name: str) -> Person:
        wanted = self._read(name)
        people = [account.person for account in self._first().accounts()]
        return self._only(
            "person",
            wanted,
            [self._as_seen(p) for p in people if _fits(wanted, p.ref, p.upn, self.world.dns_name)],
        )

    def find_group(self, name: str) -> Group:
        wanted = self._read(name)
        groups = [group for group in self._first().groups() if _fits(wanted, group.ref, "", "")]
        return self._only("group", wanted, groups)

    def find_caller(self, name: str) -> tuple[Person, frozenset[Sid]]:
        found = self.find_person(name)
        return found, self.world.token_groups(found.ref.sid)

    def groups_above(self, sids: Collection[Sid], *, most: int) -> Above:
        return self._above(self._first(), sids, most)

    def find_everywhere(self, account: Sid) -> tuple[Person, frozenset[Sid]]:
        wanted, said = self._read(account), list[everywhere.Said]()
        for name, replica in self.world.reachable().items():
            known = replica.account(account)
            if known is not None:
                person = replace(known.person, expires=replica.expires(account))
                said.append((person, self.world.token_groups(account, at=name)))
        found = everywhere.strictest(said)
        if found is None:
            raise not_found("person", wanted, self.world.dns_name)
        return found

    def groups_everywhere(self, sids: Collection[Sid], *, most: int) -> Above:
        replicas = self.world.reachable().values()
        return everywhere.together(
            lambda wanted: [self._above(replica, wanted, most) for replica in replicas], sids
        )

    def _above(self, replica: Replica, sids: Collection[Sid], most: int) -> Above:
        now = self.world.clock()
        themselves = frozenset(group.ref.guid for group in replica.groups() if group.ref.sid in sids)
        level = themselves | replica.groups_with(sids, now)
        known, read = set(level), dict[str, Group]()
        while level and len(read) < most:
            found = {guid: group for guid in level if (group := replica.group(guid)) and group.security}
            read |= found
            level = replica.groups_with([group.ref.sid for group in found.values()], now) - known
            known |= level
        groups = sorted(read.values(), key=lambda one: one.ref.name.casefold())
        return Above(tuple(groups), complete=not level)

    def people_in(self, group: Sid) -> tuple[Person, ...]:
        replica = self._first()
        by_sid = {found.ref.sid: found for found in replica.groups()}
        if group not in by_sid:
            raise NotFound(f"there is no group {group} in {self.world.dns_name}")
        now, todo, seen = self.world.clock(), [group], {group}
        while todo:
            for member in replica.members_of(by_sid[todo.pop()].ref.guid, now) - seen:
                seen.add(member)
                if member in by_sid:
                    todo.append(member)
        found = (replica.account(sid) for sid in seen)
        people = [self._as_seen(account.person) for account in found if account is not None]
        return tuple(sorted((p for p in people if p.enabled), key=lambda p: p.ref.name))

    def names(self, sids: Collection[Sid]) -> Mapping[Sid, str]:
        known = self._first()
        refs = [*(one.person.ref for one in known.accounts()), *(one.ref for one in known.groups())]
        return {ref.sid: ref.name for ref in refs if ref.sid in sids}

    def members_of(self, group: ObjectRef) -> frozenset[Sid]:
        return frozenset().union(*self.members_on(group).values())

    def members_on(self, group: ObjectRef) -> Mapping[str, frozenset[Sid]]:
        self._require_group(group)
        now = self.world.clock()
        return {name: replica.members_of(group.guid, now) for name, replica in self.world.reachable().items()}

    def observe(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        now = self.world.clock()
        return {
            name: {sid: state for sid in accounts if (state := _state(replica, sid, now)) is not None}
            for name, replica in self.world.reachable().items()
        }

    def observe_link(self, group: ObjectRef, member: Sid) -> Mapping[str, bool | None]:
        self._require_group(group)
        here = {name for name, one in self.world.reachable().items() if one.group(group.guid) is not None}
        links = self._links(group, member)
        return {name: link is not None if name in here else None for name, link in links.items()}

    def time_left(self, group: ObjectRef, member: Sid) -> Mapping[str, timedelta | None]:
        self._require_group(group)
        now = self.world.clock()
        return {
            name: None if link.until is None else link.until - now
            for name, link in self._links(group, member).items()
            if link is not None
        }

    def add_members(
        self, group: ObjectRef, members: Collection[Sid], ttl: Mapping[Sid, timedelta] | None = None
    ) -> None:
        limits = ttl or {}
        if limits and not self.world.capabilities.link_ttl:
            raise CapabilityMissing(
                f"{self.world.dns_name} has no time-limited links",
                remedy="enable the Privileged Access Management feature, or let the role use dormant-account",
            )
        found = self._require_group(group)
        missing = self._check_members(found, members)
        now = self.world.clock()
        for name, replica in self.world.reachable().items():
            if replica.group(group.guid) is None:
                continue
            rows: dict[Key, object] = {}
            for member in members:
                old = replica.link(group.guid, member)
                if member not in missing and (member in limits or old is None or not old.live(now)):
                    until = now + limits[member] if member in limits else None
                    rows["link", group.guid, member] = Link(until)
            if rows:
                self.world.write(name, f"add to {group.name}", rows)
        if missing:
            raise NoSuchObject(f"no such member for {group.name}: {', '.join(sorted(missing))}")

    def remove_members(self, group: ObjectRef, members: Collection[Sid]) -> None:
        for name, replica in self.world.reachable().items():
            rows: dict[Key, object] = {
                ("link", group.guid, member): None for member in members if replica.link(group.guid, member)
            }
            if rows:
                self.world.write(name, f"remove from {group.name}", rows)

    def set_ends(self, ends: Mapping[Sid, datetime | None]) -> Mapping[Sid, str]:
        wrong: dict[Sid, str] = {}
        for name, replica in self.world.reachable().items():
            for sid, end in ends.items():
                if replica.account(sid) is not None:
                    self.world.write(name, f"accountExpires of {sid}", {("expires", sid): end})
        for sid in ends:
            if not any(replica.account(sid) for replica in self.world.reachable().values()):
                wrong[sid] = f"there is no account {sid} in {self.world.dns_name}"
        return wrong

    def _first(self) -> Replica:
        return next(iter(self.world.reachable().values()))

    def _read(self, name: str) -> TypedName:
        wanted = read_name(name)
        require_domain(wanted, self.world.netbios, self.world.dns_name)
        return wanted

    def _only(self, kind: str, name: TypedName, found: Sequence[_Found]) -> _Found:
        if len(found) > 1:
            listed = ", ".join(sorted(one.ref.dn for one in found))
            raise Ambiguous(f"{name.text!r} fits several: {listed}", remedy="give the SID")
        if not found:
            raise not_found(kind, name, self.world.dns_name)
        return found[0]

    def _as_seen(self, person: Person) -> Person:
        return replace(person, expires=self._first().expires(person.ref.sid))

    def _links(self, group: ObjectRef, member: Sid) -> Mapping[str, Link | None]:
        now = self.world.clock()
        links = {name: r.link(group.guid, member) for name, r in self.world.reachable().items()}
        return {name: link if link is not None and link.live(now) else None for name, link in links.items()}

    def _require_group(self, group: ObjectRef) -> Group:
        for replica in self.world.reachable().values():
            found = replica.group(group.guid)
            if found is not None:
                return found
        raise NoSuchObject(f"the group {group.name} is gone from {self.world.dns_name}")

    def _check_members(self, group: Group, members: Collection[Sid]) -> frozenset[Sid]:
        """The members that do not exist. Raises CapabilityMissing for a foreign member where AD takes none."""
        foreign = {sid for sid in members if sid.domain != self.world.domain_sid}
        if foreign and group.scope not in {Scope.DOMAIN_LOCAL, Scope.BUILTIN}:
            raise CapabilityMissing(
                f"{group.ref.name} is a {group.scope.value} group: it takes no member of another forest",
                remedy="use a domain-local group, or a shadow principal",
            )
        replica = self._first()
        groups = {found.ref.sid for found in replica.groups()}
        return frozenset(
            sid for sid in members if sid not in foreign | groups and replica.account(sid) is None
        )


class MemoryPreparer:
    """Preparer over a MemoryForest."""

    def __init__(self, world: MemoryForest) -> None:
        self.world = world

    def create_account(self, account: NewAccount, password: str) -> ObjectRef:
        name = check_account_name(account.name, limit=USER_NAME_LIMIT)
        person = self.world.add_person(
            name,
            display_name=account.display_name,
            upn=account.upn,
            expires=account.end,
            password=password,
            container=account.container,
        )
        return person.ref

    def protect(self, account: ObjectRef, policy: str) -> None:
        found = self.world.account(account.sid)
        if policy and policy not in self.world.policies:
            raise NoSuchObject(f"there is no policy {policy}")
        self.world.change(replace(found, policy=policy, guarded=True), self.world.expires(account.sid))

    def set_password(self, account: ObjectRef, password: str) -> None:
        self.world.set_password(account.sid, password)

    def ensure_ticket_policy(self, name: str, cap: timedelta) -> str:
        check_cap(cap)
        dn = f"CN={check_account_name(name)},CN=AuthN Policies,CN=AuthN Policy Configuration,CN=Services,CN=Configuration,{self.world.base_dn}"
        self.world.policies[dn] = cap
        return dn

    def ticket_cap(self, account: ObjectRef) -> timedelta | None:
        return self.world.ticket_cap(account.sid)

    def create_group(self, name: str, container: str, description: str) -> ObjectRef:  # noqa: ARG002  # the twin keeps no description
        return self.world.add_group(check_account_name(name), container=container).ref

    def create_shadow_principal(self, name: str, corp: Sid) -> ObjectRef:
        if not self.world.capabilities.shadow_principals:
            raise CapabilityMissing(
                f"{self.world.dns_name} has no shadow principals",
                remedy="use the carrier foreign-principal",
            )
        container = f"CN=Shadow Principal Configuration,CN=Services,CN=Configuration,{self.world.base_dn}"
        return self.world.add_group(check_account_name(name), container=container, sid=corp).ref

    def delete(self, ref: ObjectRef) -> None:
        self.world.remove(ref)


def _fits(wanted: TypedName, ref: ObjectRef, upn: str, dns_name: str) -> bool:
    if wanted.sid is not None:
        return ref.sid == wanted.sid
    if wanted.upn:
        implicit = f"{ref.name}@{dns_name}"
        return bool(dns_name) and wanted.upn.lower() in {upn.lower(), implicit.lower()}
    return ref.name.lower() == wanted.account.lower()


def _state(replica: Replica, sid: Sid, now: datetime) -> AccountState | None:
    account = replica.account(sid)
    if account is None:
        return None
    return AccountState(
        enabled=account.person.enabled, expires=replica.expires(sid), groups=replica.groups_with({sid}, now)
    )
