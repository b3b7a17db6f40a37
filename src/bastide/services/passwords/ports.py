"""What password synchronization needs from the outside. Adapters: `targets/` (connectors), `store/` (repositories, vault), `directory/`."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

from bastide.domain.contacts import Contact, Hearing
from bastide.domain.errors import StoreError
from bastide.domain.management_agents import Attributes, CsId, CsObject, MaId, ManagementAgent, MvId, MvObject
from bastide.domain.passwords import Change, Code, Delivery, Proof, Stamp, State
from bastide.pcns import Configuration, ServiceSettings, Target

# ------------------------------------------------------------------------------------------------------ connected systems


@dataclass(frozen=True, slots=True)
class Imported:
    """An object as a connected system shows it. Deleted ones come with their anchor only."""

    anchor: str
    dn: str
    type: str
    attributes: Attributes
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of an import. `cookie`: where to go on after all pages up to this one."""

    objects: tuple[Imported, ...]
    cookie: bytes


class Connector(Protocol):
    """Reads a connected system. Raises TargetUnavailable, TargetDenied, BadSource."""

    def read(self, cookie: bytes) -> Iterator[Page]:
        """All objects (empty cookie), or what changed since. Raises CapabilityMissing if there is no delta."""


class Security(StrEnum):
    """How a connection protects a password. Unknown counts as not secure."""

    SECURE = "secure"
    NOT_SECURE = "not-secure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password for one account. Its repr is silent."""

    object: CsObject
    password: str
    must_change: bool = False
    unlock: bool = False

    def __repr__(self) -> str:
        return f"NewPassword({self.object.dn})"


@dataclass(frozen=True, slots=True)
class Result:
    """What the target said about one account. `detail` is for people and holds no password. `origin`: which of the system's servers took it, in the words of
    notifications (invocation id); empty: not known.
    """

    code: Code
    detail: str = ""
    origin: str = ""


class PasswordTarget(Protocol):
    """An open connection that sets passwords. Errors of one account are Results; an error of the connection raises TargetUnavailable,
    and says nothing about who of the batch was served: every set is a desired state, safe to repeat.
    """

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def security(self) -> Security: ...
    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each, in that order."""

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002
        """With the old password, so that history and age rules count."""

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002
        """At most one bind, and none on an account that is locked or one failure away from it."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an account stands in its system. None: the system does not say."""

    locked: bool | None = None
    disabled: bool | None = None
    must_change: bool | None = None
    #: When the password was set last.
    set_at: datetime | None = None


@runtime_checkable
class Attended(Protocol):
    """What an open target may be able to do besides, for people who wait. Raises TargetUnavailable."""

    def unlock(self, objects: Sequence[CsObject]) -> Sequence[Result]:
        """Take a lock away after failed sign-ins, and nothing else; one result for each, in that order. One that is not locked stays as it is."""

    def look(self, objects: Sequence[CsObject]) -> Sequence[Look]:
        """One for each, in that order."""


class ConnectedSystems(Protocol):
    """Opens connected systems by the settings of their agents."""

    def check(self, connector: str, settings: Mapping[str, object]) -> None:
        """Raises InvalidInput naming the field."""

    def note(self, connector: str) -> str:
        """What a person must know before relying on that kind of system; empty: nothing."""

    def connector(self, agent: ManagementAgent, secret: str) -> Connector:
        """Raises InvalidInput, CapabilityMissing."""

    def identity(self, agent: ManagementAgent, secret: str) -> Collection[str]:
        """What the system says it is, whatever name it was reached by, as labels; two agents that have one in common have the same system. Empty: it
        says nothing. Raises TargetUnavailable, TargetDenied, InvalidInput, CapabilityMissing.
        """

    def target(self, agent: ManagementAgent, secret: str) -> PasswordTarget:
        """Connects when entered. Raises TargetUnavailable, TargetDenied; NotConfigured if the settings name no way to set passwords."""


# ----------------------------------------------------------------------------------------------------------------- store


class Agents(Protocol):
    """Management agents; `save` is optimistic as with roles."""

    def add(self, agent: ManagementAgent) -> None: ...
    def save(self, agent: ManagementAgent) -> ManagementAgent: ...
    def note(self, agent: ManagementAgent) -> None:
        """Save where its imports have got to, without a new version: what people change does not collide with it. Raises Conflict, NotFound."""

    def remove(self, id: MaId) -> None: ...  # noqa: A002
    def get(self, id: MaId) -> ManagementAgent: ...  # noqa: A002
    def by_name(self, name: str) -> ManagementAgent: ...
    def by_domain(self, domain: str) -> ManagementAgent | None:
        """The one whose source is that DNS domain."""

    def all(self) -> tuple[ManagementAgent, ...]: ...
    def set_secret(self, id: MaId, sealed: bytes) -> None: ...  # noqa: A002
    def secret(self, id: MaId) -> bytes:  # noqa: A002
        """Sealed; empty if there is none."""


class ConnectorSpace(Protocol):
    def put(self, objects: Collection[CsObject]) -> None:
        """Insert or replace, by id."""

    def remove(self, ids: Collection[CsId]) -> None: ...
    def get(self, id: CsId) -> CsObject: ...  # noqa: A002
    def many(self, ids: Collection[CsId]) -> Mapping[CsId, CsObject]: ...
    def by_anchor(self, ma: MaId, anchors: Collection[str]) -> Mapping[str, CsObject]: ...
    def of_mv(self, mv: MvId) -> tuple[CsObject, ...]: ...
    def of_mvs(self, mvs: Collection[MvId]) -> Mapping[MvId, tuple[CsObject, ...]]: ...
    def of_ma(self, ma: MaId) -> Iterator[CsObject]: ...
    def loose(self, ma: MaId) -> Iterator[CsObject]:
        """Those that wait for a join: NONE and CONFLICT."""

    def count(self, ma: MaId) -> Mapping[str, int]:
        """Link to how many."""

    def search(self, *, ma: MaId | None, text: str, link: str, limit: int) -> tuple[CsObject, ...]: ...


class Metaverse(Protocol):
    def put(self, objects: Collection[MvObject]) -> None: ...
    def remove(self, ids: Collection[MvId]) -> None: ...
    def get(self, id: MvId) -> MvObject: ...  # noqa: A002
    def many(self, ids: Collection[MvId]) -> Mapping[MvId, MvObject]: ...
    def matching(self, attribute: str, values: Collection[str]) -> Mapping[str, tuple[MvId, ...]]:
        """Casefolded value to the objects that have it; by an index. The attribute's case does not matter."""

    def search(self, *, text: str, limit: int) -> tuple[MvObject, ...]: ...


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is remembered of an object's changes: the newest, and how many since `day_began`."""

    stamp: Stamp
    day_began: datetime
    count: int


class Changes(Protocol):
    """Notifications and deliveries. Secrets are sealed with a data key that is not in this database (Vault)."""

    def add(self, changes: Collection[Change], deliveries: Collection[Delivery]) -> None: ...
    def known(self, references: Collection[str]) -> Mapping[str, str]:
        """Those that are on record, and the domain that each is of."""

    def get(self, reference: str) -> Change: ...
    def delivery(self, id: str) -> Delivery: ...  # noqa: A002
    def deliveries(self, reference: str) -> tuple[Delivery, ...]: ...
    def deliveries_of(self, references: Collection[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """The same for several; a change without any has no entry."""

    def pending(self, objects: Collection[CsId]) -> tuple[Delivery, ...]:
        """Undelivered ones of these target objects."""

    def kept(self, objects: Collection[CsId]) -> tuple[Delivery, ...]:
        """Of these target objects: undelivered ones, and delivered ones whose password is held in case it must be set again."""

    def still_pending(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these deliveries are undelivered: a person may have cleared the queue meanwhile."""

    def waiting(self) -> frozenset[CsId]:
        """All target objects with a delivery that is undelivered or held."""

    def made(self, objects: Collection[CsId], since: datetime) -> tuple[Delivery, ...]:
        """Deliveries to these target objects that were staged since, whatever became of them."""

    def newest(self, ma: MaId, user_guids: Collection[str]) -> Mapping[str, datetime]:
        """User to the time of the newest change that this agent's domain told of, whatever became of it."""

    def save(self, deliveries: Collection[Delivery]) -> None: ...
    def applied(self, objects: Collection[CsId]) -> Mapping[CsId, Stamp]:
        """The newest change each target object has taken."""

    def mark_applied(self, stamps: Mapping[CsId, Stamp]) -> None: ...
    def source_states(self, objects: Collection[CsId]) -> Mapping[CsId, SourceState]:
        """Those that are known."""

    def set_source_states(self, states: Mapping[CsId, SourceState]) -> None: ...
    def open_references(self, references: Collection[str]) -> frozenset[str]:
        """Those that still have a delivery that is undelivered or held."""

    def queue(self, *, ma: MaId | None, limit: int) -> tuple[Delivery, ...]: ...
    def queue_length(self, ma: MaId | None) -> int: ...
    def history(
        self, *, user: str, before: datetime | None, limit: int
    ) -> tuple[tuple[Change, tuple[Delivery, ...]], ...]:
        """Newest first; `user` is an account name, a GUID or empty."""

    def clear_queue(self, now: datetime) -> tuple[str, ...]:
        """Pending deliveries become history as CLEARED, without their secrets. Their references."""

    def clear_history(self, ending_before: datetime) -> int:
        """Forget what is over and older. How many changes."""

    def count(self, state: State) -> int: ...


class Switch(Protocol):
    """Whether synchronization is on."""

    def enabled(self) -> bool: ...
    def set(self, *, enabled: bool) -> None: ...
    def vault(self) -> str:
        """The id of the vault that this database belongs to; empty: none yet."""

    def belong(self, vault: str) -> None:
        """To the vault with this id, from this commit on."""


class Contacts(Protocol):
    """When each domain controller was last heard, and since when somebody listens."""

    def get(self, domain: str, account: str) -> Contact | None: ...
    def all(self) -> tuple[Contact, ...]: ...
    def put(self, contact: Contact) -> None:
        """Replaces what was known of it."""

    def remove(self, contact: Contact) -> None: ...
    def hearing(self) -> Hearing | None: ...
    def hear(self, hearing: Hearing) -> None:
        """Replaces what was known of those who listen."""


class Vault(Protocol):
    """Data keys, one for each change, outside of the database and of its backups. Destroying a key ends every copy of what it sealed.

    Each call is a commit of its own, on disk when it returns. Raises StoreBusy, StoreUnavailable.
    """

    def put(self, keys: Mapping[str, bytes], mark: tuple[int, str] | None = None) -> None:
        """By reference, and the mark, if it is a later one, in the same commit. Replaces earlier keys of the same references, which nobody got an
        answer about.
        """

    def get(self, references: Collection[str]) -> Mapping[str, bytes]:
        """Those that are still there."""

    def destroy(self, references: Collection[str]) -> None: ...
    def references(self) -> frozenset[str]: ...
    def mark(self) -> tuple[int, str] | None:
        """Number and hash of an audit record that the database must have: a database without it was restored from a backup (6916)."""

    def set_mark(self, seq: int, hash: str) -> None:  # noqa: A002
        """Unless there is a later one: two workers may come in any order."""

    def reset_mark(self, seq: int, hash: str) -> None:  # noqa: A002
        """Whatever there was: an administrator has said that this database is the right one."""

    def identity(self) -> str:
        """The id that this vault got by chance when it was made. A database belongs to one vault."""


class Envelope(Protocol):
    """AEAD with the data key of a change; `context` is what the text is sealed to, as associated data."""

    def seal(self, key: bytes, plain: bytes, context: str) -> bytes: ...
    def open(self, key: bytes, sealed: bytes, context: str) -> bytes:
        """Raises StoreError if the text was changed, belongs to another row or to another key."""


@dataclass(frozen=True, slots=True)
class PasswordDate:
    """When the password of a user of a domain was last set, and on which controller (its DNS name, or its invocation id). A pwdLastSet that moved without a password is no such
    time, where the directory shows the difference (directory/password_set.py).
    """

    user_guid: str
    account: str
    changed_at: datetime
    controller: str


class PasswordDates(Protocol):
    """Reads a domain as it is now."""

    def since(self, domain: str, moment: datetime) -> Iterator[PasswordDate]:
        """Enabled users whom the domain's configuration includes, with a password set at `moment` or later. Raises DirectoryUnavailable, DirectoryDenied."""


class OrderRules(Protocol):
    """Whether what somebody ordered may still be delivered."""

    def refusal(self, reference: str) -> str:
        """Of the order with that reference: why it may not be; empty: it may. Raises NotFound, Conflict, DirectoryError, NotConfigured."""


class EventLog(Protocol):
    """The numbered events of password-events.csv, for people and monitoring: component sync. Fields hold no secret."""

    def write(self, number: int, **fields: object) -> None: ...


class Opener(Protocol):
    """Opens what agents encrypted to our OpenPGP certificate."""

    def open(self, messages: Sequence[bytes]) -> Generator[bytes | StoreError, None, None]:
        """One answer for each, in that order, each as soon as it is there: what was in the message, or why it cannot be opened (no key for it, damaged, too
        long). Raises StoreUnavailable. Close it if you do not take them all.
        """


class NtHasher(Protocol):
    def nt_hash(self, password: str) -> bytes:
        """MD4 of UTF-16LE ([MS-SAMR] 3.1.1.8.6): only to compare; OpenSSL 3 has it no more."""


# -------------------------------------------------------------------------------------------------------------- callers


@dataclass(frozen=True, slots=True)
class Peer:
    """Who a Kerberos ticket says is calling. `realm` is the caller's, `key_realm` the one whose key of ours the ticket was made with; both numbers are from
    the PAC, which only a KDC can have written.
    """

    principal: str
    realm: str
    key_realm: str
    rid: int
    primary_group: int


class Channel(Protocol):
    """A sealed conversation with one peer. `lifetime`: seconds that the peer's ticket lasts, counted from the end of the handshake."""

    peer: Peer
    lifetime: float

    def seal(self, message: bytes) -> bytes: ...
    def open(self, sealed: bytes) -> bytes:
        """Raises NotAuthenticated for what was changed, sent twice, out of order or not encrypted."""


class Handshake(Protocol):
    """Mutual authentication, token by token."""

    def step(self, token: bytes) -> tuple[bytes, Channel | None]:
        """The answer to send (may be empty), and the channel once it stands. Raises NotAuthenticated."""


class ChannelAcceptor(Protocol):
    """Holds the key of our PCNSCLNT/ name."""

    def begin(self) -> Handshake: ...


class ControllerRegister(Protocol):
    """Asks a domain's own directory who its controllers are."""

    def require_controller(self, domain: str, account: str, rid: int) -> str:
        """The controller's DNS name. Raises NotAuthorized, DirectoryUnavailable."""


# ----------------------------------------------------------------------------------------------- configuration in AD


@dataclass(frozen=True, slots=True)
class Settings:
    """The PCNS configuration of a domain. `dns`: name of a target in lower case to where it stands."""

    configuration: Configuration
    dns: Mapping[str, str]


class NotificationDirectory(Protocol):
    """The PCNS configuration of one domain, with the rights of the person who calls. Raises DirectoryDenied, DirectoryUnavailable."""

    def extend_schema(self) -> tuple[str, ...]: ...
    def schema_ldif(self) -> str: ...
    def read(self) -> Settings:
        """Raises NotFound if there is none."""

    def save_service(self, settings: ServiceSettings) -> None: ...
    def add_target(self, target: Target) -> None: ...
    def save_target(self, dn: str, target: Target) -> None: ...
    def remove_target(self, dn: str) -> None: ...
    def group_sid(self, name: str) -> str: ...
    def group_name(self, sid: str) -> str: ...
    def holders_of(self, spn: str) -> tuple[str, ...]: ...
