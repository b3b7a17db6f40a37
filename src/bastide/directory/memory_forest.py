"""A forest in memory: several domain controllers, replication that can be cut, and tickets that outlive memberships.

Each controller is a replica of key to (stamp, value); the newest stamp wins when two meet, as in [MS-DRSR]. A controller can be cut off
from everybody (`cut`) or from the others only (`isolate`). The embedded demo and the tests run on this; it claims no more than AD does.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import RLock
from uuid import NAMESPACE_DNS, uuid5

from bastide.domain.errors import DirectoryUnavailable, NoSuchObject, NotAuthenticated, ObjectExists
from bastide.domain.grants import PROTECTED_USERS_TICKET
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.ports import Capabilities, Controller, Group, Person

#: What Samba proves to have: the weakest directory that Bastide works with.
SAMBA_LIKE = Capabilities(
    link_ttl=False,
    shadow_principals=False,
    authentication_policies=True,
    sid_filtering=False,
    evidence={"memory": "set by the caller"},
)
#: The life of a ticket that no policy caps: 10 hours, the default of a domain.
DEFAULT_TICKET = timedelta(hours=10)
_FIRST_RID = 1103

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """A user account. `expires` lives under a key of its own, so that it replicates on its own, as an attribute does."""

    person: Person
    salt: bytes = field(repr=False)
    password: bytes = field(repr=False)
    policy: str = ""
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A member value. `until` None: permanent."""

    until: datetime | None

    def live(self, now: datetime) -> bool:
        return self.until is None or self.until > now


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a person walks about with: the SIDs that were true when it was bought, and its end."""

    account: Sid
    sids: frozenset[Sid]
    until: datetime


class Replica:
    """One controller's copy."""

    def __init__(self) -> None:
        self.rows: dict[Key, tuple[int, object]] = {}
        #: highestCommittedUSN, and when each row came to this controller.
        self.usn = 0
        self.came: dict[Key, int] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._members_of: dict[str, set[str]] = {}

    def put(self, stamp: int, key: Key, value: object) -> None:
        self.rows[key] = (stamp, value)
        self.usn += 1
        self.came[key] = self.usn
        if key[0] == "link":
            self._groups_of.setdefault(key[2], set()).add(key[1])
            self._members_of.setdefault(key[1], set()).add(key[2])

    def get(self, key: Key) -> object:
        return self.rows.get(key, (0, None))[1]

    def learn(self, other: "Replica") -> None:
        """Take what is newer there."""
        for key, row in other.rows.items():
            if row[0] > self.rows.get(key, (0, None))[0]:
                self.put(row[0], key, row[1])

    def account(self, sid: Sid) -> Account | None:
        found = self.get(("account", sid))
        return found if isinstance(found, Account) else None

    def expires(self, sid: Sid) -> datetime | None:
        found = self.get(("expires", sid))
        return found if isinstance(found, datetime) else None

    def group(self, guid: str) -> Group | None:
        found = self.get(("group", guid))
        return found if isinstance(found, Group) else None

    def accounts(self) -> Iterable[Account]:
        return [value for _, value in self.rows.values() if isinstance(value, Account)]

    def groups(self) -> Iterable[Group]:
        return [value for _, value in self.rows.values() if isinstance(value, Group)]

    def link(self, guid: str, member: Sid) -> Link | None:
        found = self.get(("link", guid, member))
        return found if isinstance(found, Link) else None

    def groups_with(self, members: Collection[Sid], now: datetime) -> frozenset[str]:
        """GUIDs of the groups that one of the members is directly in."""
        return frozenset(
            guid
            for member in members
            for guid in self._groups_of.get(member, ())
            if self._is_live(guid, member, now) and self.group(guid)
        )

    def members_of(self, guid: str, now: datetime) -> frozenset[Sid]:
        return frozenset(
            Sid(member) for member in self._members_of.get(guid, ()) if self._is_live(guid, member, now)
        )

    def _is_live(self, guid: str, member: str, now: datetime) -> bool:
        found = self.get(("link", guid, member))
        return isinstance(found, Link) and found.live(now)


class MemoryForest:
    """One domain. `before_write(number, what)` is called before each write on one controller; what it raises stops that write."""

    def __init__(
        self,
        forest: Forest,
        clock: Callable[[], datetime],
        *,
        dns_name: str = "",
        netbios: str = "",
        controllers: Collection[str] = ("dc1",),
        capabilities: Capabilities = SAMBA_LIKE,
    ) -> None:
        self.forest = forest
        self.clock = clock
        self.dns_name = dns_name or f"{forest.value}.bastide.test"
        self.netbios = netbios or self.dns_name.split(".", 1)[0].upper()
        self.capabilities = capabilities
        self.base_dn = ",".join(f"DC={label}" for label in self.dns_name.split("."))
        self.domain_sid = _domain_sid(self.dns_name)
        self.before_write: Callable[[int, str], None] = lambda _number, _what: None
        self.writes = 0
        self.policies: dict[str, timedelta] = {}
        self.lock = RLock()
        self._replicas = {name: Replica() for name in controllers}
        self._cut: set[str] = set()
        self._isolated: set[str] = set()
        self._stamp = 0
        self._rid = _FIRST_RID

    # ------------------------------------------------------------------------------------------- controllers

    def join(self, name: str) -> None:
        """A further controller, which takes over what the others have."""
        self._replicas[name] = Replica()
        self.replicate()

    def cut(self, name: str) -> None:
        """Nobody reaches this controller any more; it goes on with what it has."""
        self._known(name)
        self._cut.add(name)

    def come_back(self, name: str) -> None:
        """Undo `cut` alone: clients reach it, and where it was isolated it has heard of nothing yet."""
        self._known(name)
        self._cut.discard(name)

    def isolate(self, name: str) -> None:
        """Replication with this controller stops; clients still reach it."""
        self._known(name)
        self._isolated.add(name)

    def heal(self, name: str) -> None:
        """Undo `cut` and `isolate`; it catches up at once."""
        self._known(name)
        self._cut.discard(name)
        self._isolated.discard(name)
        self.replicate()

    def controllers(self) -> tuple[Controller, ...]:
        return tuple(Controller(name, "cut off" if name in self._cut else "") for name in self._replicas)

    def reachable(self) -> Mapping[str, Replica]:
        """Raises DirectoryUnavailable if there is none."""
        found = {name: replica for name, replica in self._replicas.items() if name not in self._cut}
        if not found:
            raise DirectoryUnavailable(
                f"no domain controller of {self.dns_name} answers",
                remedy="check the network and the controllers",
            )
        return found

    def replica(self, name: str) -> Replica:
        """A controller's own view, reachable or not: what its KDC decides by."""
        self._known(name)
        return self._replicas[name]

    def replicate(self) -> None:
        """What every connected controller knows, all of them know."""
        with self.lock:
            linked = [self._replicas[name] for name in self._connected()]
            for one in linked:
                for other in linked:
                    one.learn(other)

    def write(self, controller: str, what: str, rows: Mapping[Key, object]) -> None:
        """One write on one controller, all of it or none, then replication."""
        with self.lock:
            self.writes += 1
            self.before_write(self.writes, f"{controller} {what}")
            connected = self._connected()
            heard = connected if controller in connected else {controller}
            for key, value in rows.items():
                self._stamp += 1
                for name in heard:
                    self._replicas[name].put(self._stamp, key, value)

    def _connected(self) -> set[str]:
        return set(self._replicas) - self._cut - self._isolated

    # --------------------------------------------------------------------------------------- building a world

    def add_person(
        self,
        name: str,
        *,
        display_name: str = "",
        upn: str = "",
        mail: str = "",
        enabled: bool = True,
        expires: datetime | None = None,
        protected: bool = False,
        password: str = "",
        container: str = "CN=Users",
        cn: str = "",
        policy: str = "",
    ) -> Person:
        """A user account; no password: nobody can sign in with it. Raises ObjectExists."""
        with self.lock:
            ref = self._new_ref(name, container, cn=cn)
            person = Person(
                ref=ref,
                upn=upn or f"{name}@{self.dns_name}",
                display_name=display_name or name,
                mail=mail,
                enabled=enabled,
                expires=expires,
                protected=protected,
            )
            account = replace(_with_password(person, password), policy=policy)
            self.write(
                next(iter(self.reachable())),
                f"add {name}",
                {("account", ref.sid): account, ("expires", ref.sid): expires},
            )
            return person

    def add_group(
        self,
        name: str,
        *,
        scope: Scope = Scope.GLOBAL,
        security: bool = True,
        protected: bool = False,
        members: Collection[Sid] = (),
        container: str = "CN=Users",
        cn: str = "",
        sid: Sid | None = None,
    ) -> Group:
        """A group. `sid` is for shadow principals, whose SID is of another forest. Raises ObjectExists."""
        with self.lock:
            ref = self._new_ref(name, container, cn=cn, sid=sid)
            group = Group(ref=ref, scope=scope, security=security, protected=protected)
            rows: dict[Key, object] = {("group", ref.guid): group}
            rows |= {("link", ref.guid, member): Link(None) for member in members}
            self.write(next(iter(self.reachable())), f"add {name}", rows)
            return group

    def change(self, account: Account, expires: datetime | None) -> None:
        """Replace an account, on one controller."""
        sid = account.person.ref.sid
        self.write(
            next(iter(self.reachable())),
            f"change {account.person.ref.name}",
            {("account", sid): account, ("expires", sid): expires},
        )

    def set_password(self, sid: Sid, password: str) -> None:
        """Raises NoSuchObject."""
        account = self.account(sid)
        self.change(
            replace(_with_password(account.person, password), policy=account.policy, guarded=account.guarded),
            self.expires(sid),
        )

    def remove(self, ref: ObjectRef) -> None:
        """Delete an account or group; its links go with it."""
        with self.lock:
            name, replica = next(iter(self.reachable().items()))
            rows: dict[Key, object] = {
                key: None for key in replica.rows if ref.guid in key or (ref.sid in key and key[0] != "group")
            }
            self.write(name, f"remove {ref.name}", rows)

    # ------------------------------------------------------------------------------------------------- access

    def account(self, sid: Sid) -> Account:
        """As the first reachable controller has it. Raises NoSuchObject."""
        found = next(iter(self.reachable().values())).account(sid)
        if found is None:
            raise NoSuchObject(f"there is no account {sid} in {self.dns_name}")
        return found

    def expires(self, sid: Sid) -> datetime | None:
        return next(iter(self.reachable().values())).expires(sid)

    def can_buy_ticket(self, account: Sid, now: datetime, *, at: str = "") -> bool:
        """Whether the KDC of the controller `at` (default: the first reachable) gives a fresh ticket."""
        replica = self._view(at)
        found = replica.account(account)
        end = replica.expires(account)
        return found is not None and found.person.enabled and (end is None or end > now)

    def token_groups(self, account: Sid, *, at: str = "", also: Collection[Sid] = ()) -> frozenset[Sid]:
        """SIDs of all groups, nested too. `also`: SIDs from a ticket of the other forest; CORP adds its own groups to them."""
        replica, now = self._view(at), self.clock()
        sids = {account, *also}
        found: set[Sid] = set()
        while True:
            groups = (replica.group(guid) for guid in replica.groups_with(sids, now))
            more = {group.ref.sid for group in groups if group is not None} - found
            if not more:
                return frozenset(found)
            found |= more
            sids |= more

    def ticket_cap(self, account: Sid, *, at: str = "") -> timedelta | None:
        """The cap of the policy on the account, else that of Protected Users; None: neither applies. `at`: as in can_buy_ticket."""
        found = self._view(at).account(account)
        if found is None:
            raise NoSuchObject(f"there is no account {account} in {self.dns_name}")
        cap = self.policies.get(found.policy)
        return PROTECTED_USERS_TICKET if cap is None and found.guarded else cap

    def buy_ticket(self, account: Sid, now: datetime, *, at: str = "") -> Ticket:
        """A fresh ticket: the groups of this moment, for as long as the cap lets it live. Raises NotAuthenticated."""
        if not self.can_buy_ticket(account, now, at=at):
            raise NotAuthenticated("the account is expired, disabled or unknown")
        life = self.ticket_cap(account, at=at) or DEFAULT_TICKET
        return Ticket(account, self.token_groups(account, at=at) | {account}, now + life)

    def admits(self, ticket: Ticket, group: Sid, now: datetime) -> bool:
        """Whether a resource of this forest that wants `group` lets the ticket in now: CORP's groups are added when it gets there."""
        if ticket.until <= now:
            return False
        sids = ticket.sids
        if ticket.account.domain != self.domain_sid:
            sids |= self.token_groups(ticket.account, also=ticket.sids)
        return group in sids

    def verify_password(self, name: str, password: str) -> Sid:
        """The SID of the account, if a ticket can be bought with that password. Raises NotAuthenticated, the same for every cause."""
        wanted = name.rsplit("\\", 1)[-1].lower()
        for account in next(iter(self.reachable().values())).accounts():
            person = account.person
            if wanted not in {person.ref.name.lower(), person.upn.lower()}:
                continue
            if (
                account.password
                and _hash(password, account.salt) == account.password
                and self.can_buy_ticket(person.ref.sid, self.clock())
            ):
                return person.ref.sid
        raise NotAuthenticated("the name or password is wrong, or the account cannot sign in now")

    # ------------------------------------------------------------------------------------------------ helpers

    def _view(self, at: str) -> Replica:
        return self.replica(at) if at else next(iter(self.reachable().values()))

    def _known(self, name: str) -> None:
        if name not in self._replicas:
            raise NoSuchObject(f"no controller is called {name!r}: there are {', '.join(self._replicas)}")

    def _new_ref(self, name: str, container: str, *, cn: str = "", sid: Sid | None = None) -> ObjectRef:
        for replica in self.reachable().values():
            taken = {a.person.ref.name.lower() for a in replica.accounts()}
            taken |= {g.ref.name.lower() for g in replica.groups()}
            if name.lower() in taken:
                raise ObjectExists(
                    f"the name {name!r} is taken in {self.dns_name}", remedy="choose another name"
                )
        self._rid += 1
        guid = str(uuid5(uuid5(NAMESPACE_DNS, self.dns_name), f"{self._rid} {name}"))
        where = container if ",dc=" in container.lower() else f"{container},{self.base_dn}"
        return ObjectRef(
            guid=guid,
            sid=sid or Sid(f"{self.domain_sid}-{self._rid}"),
            dn=f"CN={_escape(cn or name)},{where}",
            name=name,
        )


def _domain_sid(dns_name: str) -> str:
    digest = hashlib.sha256(dns_name.encode()).digest()
    parts = [int.from_bytes(digest[i : i + 4], "big") for i in (0, 4, 8)]
    return "S-1-5-21-" + "-".join(map(str, parts))


def _escape(text: str) -> str:
    """RFC 4514 2.4."""
    escaped = "".join(f"\\{c}" if c in ',+"\\<>;=' else c for c in text)
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    return escaped[:-1] + "\\ " if escaped.endswith(" ") and len(escaped) > 1 else escaped


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1)


def _with_password(person: Person, password: str) -> Account:
    """A weak hash on purpose: it lives in memory only, and tests set passwords by the hundred."""
    salt = hashlib.sha256(person.ref.guid.encode()).digest()[:16]
    return Account(person=person, salt=salt, password=_hash(password, salt) if password else b"")
