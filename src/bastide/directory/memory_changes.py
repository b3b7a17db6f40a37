"""The port ChangeFeed over a forest in memory: the twin of changes.py."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from bastide.directory.memory_forest import Account, Key, MemoryForest, Replica
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import Sid
from bastide.domain.monitored import Former, Kind, Named, Seen, SignIns
from bastide.services.monitor.ports import CookieRefused, Mark, Moved
from bastide.services.ports import Group

#: Objects on one page.
_PAGE = 1000
#: What the GUIDs of the domain's own places begin with.
_OWN = "place "


class MemoryChangeFeed:
    """As the port. What a forest in memory does not have (trusts, places, permissions, telephones) is kept here, as rows of its own."""

    def __init__(self, world: MemoryForest) -> None:
        self.world = world
        self.domain = world.dns_name
        self._invocation: dict[str, int] = {}
        self._sign_ins: dict[str, dict[Sid, SignIns]] = {}
        for name in ("", "CN=AdminSDHolder,CN=System,"):
            self.add(
                Seen(
                    f"{_OWN}{name}", Kind.PLACE, Sid(""), name or "root", f"{name}{world.base_dn}", rights=()
                )
            )

    # ------------------------------------------------------------------------------------------------------------ the port

    def controllers(self) -> int:
        return len(self.world.controllers())

    def usn(self, controller: str) -> int:
        return self._replica(controller).usn

    def mark(self, controller: str = "") -> Mark:
        reachable = self.world.reachable()
        name = controller if controller in reachable else next(iter(reachable))
        return Mark(name, self._database(name), reachable[name].usn)

    def heard(self, controller: str) -> Mapping[str, int]:
        here, found = self._replica(controller), dict[str, int]()
        for name in (one.name for one in self.world.controllers() if one.name != controller):
            there = self.world.replica(name)
            news = [
                there.came[key] for key, row in there.rows.items() if row[0] > here.rows.get(key, (0,))[0]
            ]
            found[self._database(name)] = min(news) - 1 if news else there.usn
        return found

    def since(self, controller: str, cookie: bytes) -> Iterator[Moved]:
        replica = self._replica(controller)
        here, start = self._start(controller, cookie)
        owners = _owners(replica)
        moved = sorted((at, owners[key]) for key, at in replica.came.items() if at > start and key in owners)
        end = f"{here}@{replica.usn}".encode()
        guids = list(dict.fromkeys(guid for _, guid in moved))
        links = frozenset(key[1] for key, at in replica.came.items() if key[0] == "link" and at > start)
        for first in range(0, len(guids) or 1, _PAGE):
            page = tuple(guids[first : first + _PAGE])
            yield Moved(page, end, links.intersection(page))

    def taken_out(
        self, controller: str, cookie: bytes, groups: Collection[str]
    ) -> Mapping[str, frozenset[Former]]:
        replica = self._replica(controller)
        _, start = self._start(controller, cookie)
        names = {one.person.ref.sid: one.person.ref.name for one in replica.accounts()}
        names |= {one.ref.sid: one.ref.name for one in replica.groups()}
        found: dict[str, set[Former]] = {}
        for key, at in replica.came.items():
            if key[0] == "link" and key[1] in groups and at > start:
                sid = Sid(key[2])
                if sid in names or sid.domain != self.world.domain_sid:
                    gone = found.setdefault(key[1], set())
                    gone |= {Former(sid, names.get(sid, sid))} if replica.get(key) is None else set()
        return {guid: frozenset(gone) for guid, gone in found.items()}

    def named(self, controller: str, sids: Collection[Sid]) -> Mapping[Sid, Named]:
        replica = self._replica(controller)
        people = [(one.person.ref, False) for one in replica.accounts()]
        groups = [(one.ref, True) for one in replica.groups()]
        return {
            ref.sid: Named(ref.sid, ref.name, ref.guid, is_group)
            for ref, is_group in people + groups
            if ref.sid in sids
        }

    def look(self, controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        replica, now = self._replica(controller), self.world.clock()
        accounts = {one.person.ref.guid: one for one in replica.accounts()}
        found: dict[str, Seen] = {}
        for guid in guids:
            kept = replica.get(("seen", guid))
            base = kept if isinstance(kept, Seen) else None
            if guid in accounts:
                found[guid] = _of_account(accounts[guid], replica, base)
            elif (group := replica.group(guid)) is not None:
                found[guid] = _of_group(group, replica, base, now)
            elif base is not None and base.kind in {Kind.PLACE, Kind.TRUST}:
                found[guid] = base
        return found

    def present(self, controller: str, guids: Collection[str]) -> frozenset[str]:
        return frozenset(self.look(controller, guids))

    def fixtures(self, controller: str, within: Collection[str]) -> frozenset[str]:
        rows = [one for _, one in self._replica(controller).rows.values() if isinstance(one, Seen)]
        return frozenset(
            one.guid
            for one in rows
            if one.kind is Kind.TRUST or (one.kind is Kind.PLACE and _holds(one, within))
        )

    def sign_ins(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, SignIns]]:
        return {
            name: {
                sid: self._sign_ins.get(name, {}).get(sid, SignIns(None, 0))
                for sid in accounts
                if replica.account(sid) is not None
            }
            for name, replica in self.world.reachable().items()
        }

    # ------------------------------------------------------------------------------------------------------- making a world

    def add(self, seen: Seen) -> None:
        """A place or a trust; or, of an account or a group, its facts and its permissions."""
        self.world.write(next(iter(self.world.reachable())), f"write {seen.dn}", {("seen", seen.guid): seen})

    def sign_in(self, account: Sid, at: datetime, *, controller: str = "") -> None:
        """Somebody signed in; nothing of it replicates, and no USN moves."""
        name = controller or next(iter(self.world.reachable()))
        counted = self._sign_ins.setdefault(name, {})
        counted[account] = SignIns(at, counted.get(account, SignIns(None, 0)).count + 1)

    def restore(self, controller: str) -> None:
        """That controller's database came back from a backup: it has another invocationId."""
        self._invocation[controller] = self._invocation.get(controller, 0) + 1

    def _start(self, controller: str, cookie: bytes) -> tuple[str, int]:
        """The name of that database, and the USN behind the cookie. Raises CookieRefused."""
        here = self._database(controller)
        said, _, usn = cookie.decode().rpartition("@")
        if cookie and said != here:
            raise CookieRefused("that cookie is of another database")
        return here, int(usn) if cookie else 0

    def _database(self, controller: str) -> str:
        return f"{controller} {self._invocation.get(controller, 0)}"

    def _replica(self, controller: str) -> Replica:
        found = self.world.reachable().get(controller)
        if found is None:
            raise DirectoryUnavailable(f"{controller} does not answer", remedy="check the controller")
        return found


def _holds(place: Seen, within: Collection[str]) -> bool:
    """The root and AdminSDHolder always count, a container for what lies in it."""
    return place.guid.startswith(_OWN) or any(dn.lower().endswith(f",{place.dn.lower()}") for dn in within)


def _owners(replica: Replica) -> dict[Key, str]:
    """Row to the objectGUID of the object that it is a part of. Of what is deleted nobody is told."""
    guids = {one.person.ref.sid: one.person.ref.guid for one in replica.accounts()}
    owners: dict[Key, str] = {}
    for key in replica.came:
        if key[0] in {"group", "link", "seen"}:
            owners[key] = key[1]
        elif key[0] in {"account", "expires"} and Sid(key[1]) in guids:
            owners[key] = guids[Sid(key[1])]
    return owners


def _of_account(account: Account, replica: Replica, kept: Seen | None) -> Seen:
    person = account.person
    facts = {"displayName": person.display_name, "mail": person.mail, "userPrincipalName": person.upn}
    seen = Seen(
        person.ref.guid,
        Kind.PERSON,
        person.ref.sid,
        person.ref.name,
        person.ref.dn,
        {name: value for name, value in facts.items() if value} | (dict(kept.facts) if kept else {}),
        enabled=person.enabled,
        expires=replica.expires(person.ref.sid),
    )
    return replace(seen, rights=kept.rights if kept else ())


def _of_group(group: Group, replica: Replica, kept: Seen | None, now: datetime) -> Seen:
    return Seen(
        group.ref.guid,
        Kind.GROUP,
        group.ref.sid,
        group.ref.name,
        group.ref.dn,
        members=tuple(sorted(replica.members_of(group.ref.guid, now))),
        rights=kept.rights if kept else (),
        scope=group.scope,
        security=group.security,
    )
