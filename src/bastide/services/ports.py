"""What the use cases need from the outside, in Bastide's own words. An adapter has the name of its port; each port has a twin in memory,
and twin and real thing pass one contract suite (tests/contract).
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, Self

from bastide.domain.audit import Checkpoint, Event, Record
from bastide.domain.health import Finding
from bastide.domain.ids import GroupId, ObjectRef, RequestId, RoleId, Sid, UserId
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import Place, Request, State
from bastide.domain.roles import PamGroup, Role, Scope
from bastide.services.alerts.ports import Alerts
from bastide.services.break_glass.ports import Envelopes
from bastide.services.figures import Figures
from bastide.services.help_desk.ports import Verifications
from bastide.services.intake.ports import Observed
from bastide.services.journal_rows import LogWishes, Traces
from bastide.services.monitor.ports import Monitored
from bastide.services.passwords.ports import Agents, Changes, ConnectorSpace, Contacts, Metaverse, Switch
from bastide.services.proposals import Proposals
from bastide.services.registry import Planned, Registry
from bastide.services.reset.ports import ResetRows
from bastide.services.reviews.ports import Reviews
from bastide.services.signin import Factors

# ------------------------------------------------------------------------------------------------------------ directory


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the directory proved to be able to do (rootDSE, schema, optional features), and how we know."""

    link_ttl: bool
    shadow_principals: bool
    authentication_policies: bool
    sid_filtering: bool
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Controller:
    """A domain controller, and why it cannot be reached (empty: it can)."""

    name: str
    problem: str = ""

    @property
    def reachable(self) -> bool:
        return not self.problem


@dataclass(frozen=True, slots=True)
class Person:
    """A user account as the directory shows it."""

    ref: ObjectRef
    upn: str
    display_name: str
    mail: str
    enabled: bool
    #: None: never.
    expires: datetime | None
    protected: bool

    def open_at(self, now: datetime) -> bool:
        """Neither disabled nor expired."""
        return self.enabled and (self.expires is None or self.expires > now)


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the directory shows it."""

    ref: ObjectRef
    scope: Scope
    security: bool
    #: adminCount or a well-known RID: AdminSDHolder resets its permissions.
    protected: bool


@dataclass(frozen=True, slots=True)
class Above:
    """Groups that SIDs are in, nested ones too. `unread`: groups that are there and cannot be read. Not `complete`: there are more."""

    groups: tuple[Group, ...]
    unread: frozenset[Sid] = frozenset()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class AccountState:
    """One account as one domain controller shows it. `groups`: GUIDs of the groups it is directly in. `expires` None: never."""

    enabled: bool
    expires: datetime | None
    groups: frozenset[str]

    def open_at(self, now: datetime) -> bool:
        """Whether a new ticket can be bought."""
        return self.enabled and (self.expires is None or self.expires > now)


class OwnDomain(Protocol):
    """Of which domain a directory is. `base`: the DN that those of all its objects end with."""

    @property
    def base(self) -> str: ...
    @property
    def sid(self) -> Sid: ...


class Directory(Protocol):
    """One forest. Writes go to every reachable domain controller and are desired states; reads that confirm ask every one of them.

    Raises DirectoryUnavailable, DirectoryDenied, NoSuchObject, CapabilityMissing.
    """

    forest: Forest

    def domain(self) -> OwnDomain:
        """Asked once, then remembered."""

    def capabilities(self) -> Capabilities:
        """What it can do; measured once, then remembered."""

    def controllers(self) -> tuple[Controller, ...]:
        """All domain controllers of the domain, with those out of reach."""

    def find_person(self, name: str) -> Person:
        """By sAMAccountName, DOMAIN-backslash-name, userPrincipalName or SID. Raises NotFound, Ambiguous."""

    def find_group(self, name: str) -> Group:
        """By sAMAccountName, DOMAIN-backslash-name or SID. Raises NotFound, Ambiguous."""

    def find_caller(self, name: str) -> tuple[Person, frozenset[Sid]]:
        """A person, found as `find_person` does, and the SIDs of all their groups, nested ones too (tokenGroups). Raises NotFound, Ambiguous."""

    def groups_above(self, sids: Collection[Sid], *, most: int) -> Above:
        """Security groups of this forest that a ticket with these SIDs opens: those of the SIDs themselves, and all that one of them is in,
        nested ones too. A SID of the other forest counts by the object that stands for it. What nobody knows gives nothing.
        """

    def find_everywhere(self, account: Sid) -> tuple[Person, frozenset[Sid]]:
        """As `find_caller`, by what each reachable controller says: in all groups that one of them knows, protected if one says so, open only if all do. Raises NotFound."""

    def groups_everywhere(self, sids: Collection[Sid], *, most: int) -> Above:
        """As `groups_above`, by what the reachable controllers know together."""

    def people_in(self, group: Sid) -> tuple[Person, ...]:
        """Enabled user accounts in a group, nested ones too. Raises NotFound."""

    def names(self, sids: Collection[Sid]) -> Mapping[Sid, str]:
        """The sAMAccountName of those that are an account or a group of this forest, asked for together."""

    def members_of(self, group: ObjectRef) -> frozenset[Sid]:
        """Direct members of any kind, on any reachable controller: people (disabled ones too), groups, computers. Raises NoSuchObject."""

    def members_on(self, group: ObjectRef) -> Mapping[str, frozenset[Sid]]:
        """The same by reachable controller; nobody where the group has not arrived yet."""

    def observe(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        """Reachable controller to account to state, read from each. An account that a controller does not have is left out."""

    def observe_link(self, group: ObjectRef, member: Sid) -> Mapping[str, bool | None]:
        """Reachable controller to whether `member` is in `group` there; None: it has not heard of the group yet. Raises NoSuchObject if none has it."""

    def time_left(self, group: ObjectRef, member: Sid) -> Mapping[str, timedelta | None]:
        """Reachable controller to the TTL of a link (LDAP_SERVER_LINK_TTL_OID, [MS-ADTS] 3.1.1.3.4.1.36); None: permanent. Members only."""

    def add_members(
        self, group: ObjectRef, members: Collection[Sid], ttl: Mapping[Sid, timedelta] | None = None
    ) -> None:
        """All are members afterwards, with a TTL where one is given. Raises NoSuchObject if the group is gone."""

    def remove_members(self, group: ObjectRef, members: Collection[Sid]) -> None:
        """None is a member afterwards. A group or member that is gone counts as removed."""

    def set_ends(self, ends: Mapping[Sid, datetime | None]) -> Mapping[Sid, str]:
        """AccountExpires of each account; None: never. Returns what went wrong by account: one bad account must not hold up the others."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A PRIV account to make. `end` is its first accountExpires: in the past, so that it is born dormant."""

    name: str
    display_name: str
    upn: str
    container: str
    end: datetime


class Preparer(Protocol):
    """What preparing needs and the service account must not hold: runs as an account of its own, delegated to the PAM containers."""

    def create_account(self, account: NewAccount, password: str) -> ObjectRef:
        """An enabled, dormant account that must not use RC4 or delegation. Raises ObjectExists, DirectoryDenied."""

    def protect(self, account: ObjectRef, policy: str) -> None:
        """Put into Protected Users and under the ticket-cap policy (its DN). Safe to repeat."""

    def set_password(self, account: ObjectRef, password: str) -> None:
        """Set the password (enrolment, rescue)."""

    def ensure_ticket_policy(self, name: str, cap: timedelta) -> str:
        """The DN of an enforced authentication policy with that msDS-UserTGTLifetime ([MS-ADTS] 2.463). Made if missing."""

    def ticket_cap(self, account: ObjectRef) -> timedelta | None:
        """The cap that really applies to the account; None: none does."""

    def create_group(self, name: str, container: str, description: str) -> ObjectRef:
        """A PRIV global security group. Raises ObjectExists."""

    def create_shadow_principal(self, name: str, corp: Sid) -> ObjectRef:
        """An msDS-ShadowPrincipal for the CORP SID ([MS-ADTS] 2.2.17 and 6.1.1.2.4.1.15). Raises CapabilityMissing."""

    def delete(self, ref: ObjectRef) -> None:
        """Remove an account or group that Bastide made. Gone already is fine."""


@dataclass(frozen=True, slots=True)
class Samples:
    """One object of each kind on which the service account's rights are looked at; DNs, empty: none known."""

    priv_user: str = ""
    priv_group: str = ""
    corp_group: str = ""


class Prober(Protocol):
    """Tests the directories with the service account and changes nothing. Reports problems as findings; raises nothing."""

    def test_domain(self, forest: Forest) -> tuple[Finding, ...]:
        """DNS, ports, sign-in, clocks, capabilities and rights of one forest."""

    def test_trust(self) -> tuple[Finding, ...]:
        """The trust as both sides show it, and what it lets through."""


# ---------------------------------------------------------------------------------------------------------------- store


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed row of durable work. `fence` grows with each claim: only its holder may finish. `pokes` counts the wake-ups seen,
    `attempts` the tries that failed or were abandoned since the row was last finished (0: none).
    """

    kind: str
    key: str
    fence: int
    pokes: int
    attempts: int
    due: datetime


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Filters over the audit; empty fields do not filter. `person` is a SID or a name; `limit` 0 means all."""

    since: datetime | None = None
    until: datetime | None = None
    person: str = ""
    kind: str = ""
    kinds: frozenset[str] = frozenset()
    request: str = ""
    after_seq: int = 0
    limit: int = 1000


class Users(Protocol):
    def add(self, user: PamUser) -> None: ...
    def save(self, user: PamUser) -> PamUser:
        """Raises Conflict if somebody else saved since it was read (`version`); so do the others."""

    def remove(self, id: UserId) -> None: ...  # noqa: A002
    def get(self, id: UserId) -> PamUser: ...  # noqa: A002
    def many(self, ids: Collection[UserId]) -> tuple[PamUser, ...]: ...
    def by_sid(self, sid: Sid) -> PamUser | None: ...
    def by_name(self, name: str) -> PamUser: ...
    def all(self) -> tuple[PamUser, ...]: ...


class Groups(Protocol):
    def add(self, group: PamGroup) -> None: ...
    def save(self, group: PamGroup) -> PamGroup: ...
    def remove(self, id: GroupId) -> None: ...  # noqa: A002
    def get(self, id: GroupId) -> PamGroup: ...  # noqa: A002
    def many(self, ids: Collection[GroupId]) -> tuple[PamGroup, ...]: ...
    def by_name(self, name: str) -> PamGroup: ...
    def all(self) -> tuple[PamGroup, ...]: ...


class Roles(Protocol):
    def add(self, role: Role) -> None: ...
    def save(self, role: Role) -> Role: ...
    def remove(self, id: RoleId) -> None: ...  # noqa: A002
    def get(self, id: RoleId) -> Role: ...  # noqa: A002
    def by_name(self, name: str) -> Role: ...
    def all(self) -> tuple[Role, ...]: ...


class Requests(Protocol):
    def add(self, request: Request) -> None: ...
    def save(self, request: Request) -> Request: ...
    def save_many(self, requests: Collection[Request]) -> None: ...
    def get(self, id: RequestId) -> Request: ...  # noqa: A002
    def of_users(self, users: Collection[UserId], states: Collection[State]) -> tuple[Request, ...]: ...
    def in_states(self, states: Collection[State]) -> tuple[Request, ...]: ...
    def of_role(self, role: RoleId, states: Collection[State]) -> tuple[Request, ...]: ...
    def using_group(self, group: GroupId, states: Collection[State]) -> bool: ...
    def history(self, *, user: UserId | None, limit: int, before: Place | None) -> tuple[Request, ...]:
        """Newest first by (created_at, id), from `before` on: what comes between two pages changes none of them."""


class WorkRows(Protocol):
    """Durable work: one row for each (kind, key). Times are the database's where it has a clock of its own. What is planned here is of the partition of
    this node, and of all where its kind is one of pace.SHARED.
    """

    def poke(self, kind: str, key: str, due: datetime) -> None:
        """Due at the earlier of `due` and what it was; counts as a wake-up even while the row is claimed."""

    def poke_many(self, kind: str, keys: Mapping[str, datetime]) -> None: ...
    def finish(self, work: Work, next_due: datetime | None) -> None:
        """Give the row back, due again at `next_due` (None: when poked). A poke since the claim wins. Raises LostLease."""

    def finish_many(self, done: Sequence[tuple[Work, datetime | None]]) -> None:
        """Several at once. Raises LostLease if any was lost."""

    def retry(self, work: Work, due: datetime, error: str) -> None:
        """Give the row back after a failure. Raises LostLease."""

    def require(self, work: Work) -> None:
        """Nobody else claims the row before this transaction is over. Raises LostLease if somebody did, or it was given back."""

    def remove_many(self, done: Sequence[Work]) -> None:
        """Done for good: the rows go, but for one that was poked since its claim. Raises LostLease if any was lost."""

    def forget(self, kind: str) -> None:
        """All rows of a kind that nobody does any more."""

    def wake(self) -> None:
        """With the commit, everybody who waits looks again: who may do what has changed."""

    def adopt(self, partition: str, into: str) -> None:
        """All rows of one partition are the other's from now on. Leases that run stay."""

    def planned(self, now: datetime) -> Mapping[str, Planned]:
        """By partition. Rows that only wait for a poke do not count, and what is of all partitions neither."""

    def listing(self) -> tuple[Mapping[str, object], ...]:
        """For people: kind, key, due, attempts, owner, lease, error, partition (empty: everybody's)."""


class AuditLog(Protocol):
    def append(self, *events: Event) -> None:
        """Chain and store, in this commit."""

    def read(self, query: AuditQuery) -> Generator[Record, None, None]: ...
    def last(self, kind: str, subject: str) -> Record | None:
        """The newest of a kind about a subject."""

    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the last record; (0, GENESIS) if there is none."""

    def add_checkpoint(self, checkpoint: Checkpoint) -> None: ...
    def checkpoints(self) -> tuple[Checkpoint, ...]: ...
    def newest_checkpoint(self) -> Checkpoint | None: ...
    def cursor(self, sink: str) -> int:
        """The last record a sink has taken."""

    def move_cursor(self, sink: str, seq: int) -> None: ...


class UnitOfWork(Protocol):
    """One transaction. Leaving the block without `commit` changes nothing. Raises StoreBusy, StoreUnavailable."""

    users: Users
    groups: Groups
    roles: Roles
    requests: Requests
    work: WorkRows
    audit: AuditLog
    factors: Factors
    agents: Agents
    space: ConnectorSpace
    metaverse: Metaverse
    changes: Changes
    switch: Switch
    contacts: Contacts
    figures: Figures
    proposals: Proposals
    envelopes: Envelopes
    nodes: Registry
    wishes: LogWishes
    traces: Traces
    monitored: Monitored
    alerts: Alerts
    observed: Observed
    resets: ResetRows
    reviews: Reviews
    verifications: Verifications

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def commit(self) -> None: ...


class Lease(Protocol):
    """Whose the claimed rows of a job are."""

    def require(self) -> None:
        """Before a step that another node must not overtake. Raises LostLease if the rows are not surely ours for as long as half a lease."""


class Store(Protocol):
    """The database."""

    def write(self) -> UnitOfWork:
        """A transaction that may change things: holds the write lock from the start on SQLite."""

    def read(self) -> UnitOfWork:
        """A consistent view; `commit` is refused."""

    def claim(
        self, kinds: Collection[str], *, owner: str, lease: timedelta, limit: int, now: datetime
    ) -> tuple[Work, ...]:
        """Due rows of this store's partition, or everybody's, now leased to `owner`, in a commit of its own. Nobody else gets them before the lease is
        over. None for a node that is drained, or whose name another process has.
        """

    def renew(self, works: Collection[Work], *, owner: str, lease: timedelta, now: datetime) -> None:
        """Prolong the leases that are still held. Raises LostLease if none is."""

    def next_due(self, kinds: Collection[str]) -> datetime | None:
        """When the next unclaimed row is due or a lease ends; None: nothing is planned that `claim` would give."""

    def beat(self, now: datetime) -> bool:
        """Say that the node of this store is alive, in one statement that wakes nobody; whether it is registered with this process."""

    def wait(self, timeout: float | None) -> bool:
        """Sleep until somebody pokes a row, anywhere (True), or `timeout` seconds are over. No polling. Several threads may wait."""

    def wake(self) -> None:
        """Wake every waiting thread of this process (to stop, or after a change of clock)."""


# ------------------------------------------------------------------------------------------------------------- the rest


class Signer(Protocol):
    """Signs audit checkpoints (Ed25519)."""

    key_id: str

    def sign(self, message: bytes) -> bytes: ...
    def verify(self, key_id: str, message: bytes, signature: bytes) -> bool: ...


class Sealer(Protocol):
    """AEAD with the master key; `context` is the row's identity, as associated data."""

    def seal(self, plain: bytes, context: str) -> bytes: ...
    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises StoreError if the text was changed or belongs to another row."""


class CodeHasher(Protocol):
    """Argon2id for codes that people type."""

    def hash(self, code: str) -> str: ...
    def matches(self, hashed: str, code: str) -> bool: ...


class Random(Protocol):
    """Chance is an argument too."""

    def uuid(self) -> str: ...
    def token(self, size: int) -> bytes: ...
    def password(self, length: int) -> str:
        """Printable, with all four character classes."""


class AuditSink(Protocol):
    """Where committed audit records go: file, syslog."""

    name: str

    def write(self, records: Sequence[Record]) -> None:
        """Raises OSError; the records stay and are sent again."""
