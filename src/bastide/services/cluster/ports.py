"""What the cluster alias needs from the outside. Each port has a twin in memory; both pass tests/contract/test_alias_*.py."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bastide.domain.audit import Event
from bastide.domain.cluster import Alias, Key


@dataclass(frozen=True, slots=True)
class Caller:
    """Who works on the directory."""

    sid: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """An organizational unit as the caller sees it. Not `found`: nor is there anything to say; `deepest` is what of its path can be seen."""

    dn: str
    found: bool
    #: Whether its properties are shown: without Read All Properties the entry is an empty shell.
    readable: bool
    #: Whether the caller may make computer objects in it.
    creates: bool
    deepest: str


@dataclass(frozen=True, slots=True)
class Quota:
    """How many computers a person without rights may make in the domain, and how many the caller has made that way."""

    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Holding:
    """The account with the alias' name, as the directory shows it to the caller."""

    dn: str
    #: An ordinary computer account: not a person's, not a domain controller's.
    computer: bool
    enabled: bool
    spns: tuple[str, ...]
    #: msDS-SupportedEncryptionTypes; 0: not set.
    encryption: int
    #: Whether it may act in the name of others.
    delegates: bool
    #: msDS-KeyVersionNumber.
    version: int
    #: When the password was set last; None: never.
    changed: datetime | None
    made: datetime
    owner: str
    #: Whether the owner is an administrator of the domain, or the caller.
    owner_trusted: bool
    #: Whether it was made by somebody without rights, on the quota.
    by_quota: bool
    #: Others, beside administrators, who may set its password, its names or its permissions.
    masters: tuple[str, ...]
    #: What the caller may write on it, in lower case.
    writable: frozenset[str]


@dataclass(frozen=True, slots=True)
class Holders:
    """DNs of the accounts that hold a service principal name. Not `whole`: only this domain was looked through."""

    dns: tuple[str, ...]
    whole: bool


class AliasDirectory(Protocol):
    """The domain of the alias, as the caller. Raises DirectoryUnavailable, DirectoryDenied, NoSuchObject, ObjectExists."""

    #: The domain's DNS name in lower case.
    domain: str

    def caller(self) -> Caller: ...
    def place(self, dn: str) -> Place: ...
    def quota(self) -> Quota: ...
    def find(self, alias: Alias) -> Holding | None: ...
    def holders(self, spn: str) -> Holders: ...
    def create(self, alias: Alias, place: str) -> str:
        """A disabled account with the alias' names, AES keys only, no delegation, no password yet. Returns its DN."""

    def adopt(self, dn: str, alias: Alias) -> None:
        """Give a disabled account the same."""

    def set_password(self, dn: str, password: str) -> None: ...
    def set_enabled(self, dn: str, *, enabled: bool) -> None: ...
    def delete(self, dn: str) -> None: ...
    def versions(self, dn: str) -> Mapping[str, int | str]:
        """Controller to key version number as that controller has it, or why it does not say."""


class KeyFile(Protocol):
    """A keytab, mode 0600. Raises StoreUnavailable if it cannot be written, DirectoryDenied if it cannot be read or is none."""

    path: str

    def check_place(self) -> None:
        """Whether it could be written now. Raises StoreUnavailable."""

    def read(self) -> tuple[Key, ...]:
        """All entries; none where there is no file."""

    def add(self, alias: Alias, password: str, version: int) -> None:
        """Add the keys that a password gives; what is there of the same names and version is replaced."""

    def take(self, other: "KeyFile", alias: Alias) -> None:
        """Add the alias' keys of another file, all versions."""

    def drop(self, alias: Alias, gone: Collection[int]) -> None:
        """Remove the alias' keys of these versions."""


class TicketProof(Protocol):
    """Buys a ticket and shows it to a keytab."""

    def accepted(self, alias: Alias, keys: KeyFile) -> None:
        """A fresh ticket for the alias' full name opens with the keytab, and both sides prove themselves. Raises NotAuthenticated,
        DirectoryDenied, DirectoryUnavailable.
        """


class Names(Protocol):
    """DNS, as every program of this machine finds it. Raises OSError with the reason."""

    def addresses(self, name: str) -> frozenset[str]: ...
    def name_of(self, address: str) -> str: ...
    def canonical(self, name: str) -> str:
        """The name that carries the address: another one than `name` if that is a CNAME."""


class Recorder(Protocol):
    """The audit of the node on which the command runs."""

    def write(self, event: Event) -> None:
        """In a commit of its own. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a node shows to browsers: the names it is for (in lower case) and its end."""

    names: frozenset[str]
    ends: datetime
