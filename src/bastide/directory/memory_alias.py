"""The cluster alias in memory: the twins of alias.py, alias_keys.py and of DNS."""

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bastide.directory.constants import AES_ONLY
from bastide.domain.cluster import AES_TYPES, Alias, Key
from bastide.domain.errors import (
    DirectoryDenied,
    NoSuchObject,
    NotAuthenticated,
    ObjectExists,
    StoreUnavailable,
)
from bastide.services.cluster.ports import Caller, Holders, Holding, KeyFile, Place, Quota

_EVERYTHING = frozenset({"useraccountcontrol", "serviceprincipalname", "msds-supportedencryptiontypes"})


@dataclass
class MemoryAliasDirectory:
    """A domain with some organizational units and accounts. `places`: DN to (can be read, takes computers of the caller)."""

    domain: str
    now: Callable[[], datetime]
    places: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    accounts: dict[str, Holding] = field(default_factory=dict)
    #: Service principal names that other accounts hold: SPN to DNs.
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    controllers: tuple[str, ...] = ("dc1",)
    #: Controllers that say another version, or why they say none.
    strange: dict[str, int | str] = field(default_factory=dict)
    limit: int = 10
    made_on_quota: int = 0
    me: Caller = field(default_factory=lambda: Caller("S-1-5-21-1-2-3-500", "Administrator"))
    #: Each password that was set, by DN: what a ticket of that version is sealed with.
    passwords: dict[str, dict[int, str]] = field(default_factory=dict)

    def caller(self) -> Caller:
        return self.me

    def place(self, dn: str) -> Place:
        if dn not in self.places:
            return Place(dn, found=False, readable=False, creates=False, deepest=dn.partition(",")[2])
        readable, creates = self.places[dn]
        return Place(dn, found=True, readable=readable, creates=creates, deepest=dn)

    def quota(self) -> Quota:
        return Quota(self.limit, self.made_on_quota)

    def find(self, alias: Alias) -> Holding | None:
        return self.accounts.get(alias.account)

    def holders(self, spn: str) -> Holders:
        wanted = spn.lower()
        own = [one.dn for one in self.accounts.values() if wanted in {held.lower() for held in one.spns}]
        return Holders((*own, *self.others.get(spn, ())), whole=True)

    def create(self, alias: Alias, place: str) -> str:
        if place not in self.places:
            raise NoSuchObject(f"there is no {place}")
        if alias.account in self.accounts:
            raise ObjectExists(f"{alias.account} exists")
        if not self.places[place][1]:
            raise DirectoryDenied(f"no right to make an object in {place}")
        dn = f"CN={alias.name},{place}"
        self.accounts[alias.account] = Holding(
            dn, computer=True, enabled=False, spns=alias.spns, encryption=AES_ONLY, delegates=False, version=1,
            changed=None, made=self.now(), owner=self.me.name, owner_trusted=True, by_quota=False, masters=(),
            writable=_EVERYTHING,
        )  # fmt: skip
        return dn

    def adopt(self, dn: str, alias: Alias) -> None:
        self._change(dn, spns=alias.spns, encryption=AES_ONLY, delegates=False, enabled=False)

    def set_password(self, dn: str, password: str) -> None:
        version = self._at(dn)[1].version + 1
        self.passwords.setdefault(dn, {})[version] = password
        self._change(dn, version=version, changed=self.now())

    def set_enabled(self, dn: str, *, enabled: bool) -> None:
        self._change(dn, enabled=enabled)

    def delete(self, dn: str) -> None:
        self.accounts = {name: one for name, one in self.accounts.items() if one.dn != dn}

    def versions(self, dn: str) -> Mapping[str, int | str]:
        known = {name: self._at(dn)[1].version for name in self.controllers}
        return {**known, **self.strange}

    def _change(self, dn: str, **what: object) -> None:
        name, found = self._at(dn)
        self.accounts[name] = replace(found, **what)  # type: ignore[arg-type]  # names of the fields

    def _at(self, dn: str) -> tuple[str, Holding]:
        for name, one in self.accounts.items():
            if one.dn == dn:
                return name, one
        raise NoSuchObject(f"{dn} is gone")


_numbers = itertools.count(1)


class MemoryKeyFile:
    """A keytab that is nowhere. `broken`: why it cannot be written; empty: it can."""

    def __init__(self, path: str = "", broken: str = "") -> None:
        self.path = path or f"memory-{next(_numbers)}.keytab"
        self.broken = broken
        #: Entry to the password that it was made of, in the place of a key.
        self.entries: dict[Key, str] = {}

    def check_place(self) -> None:
        if self.broken:
            raise StoreUnavailable(f"{self.path} cannot be written: {self.broken}")

    def read(self) -> tuple[Key, ...]:
        return tuple(self.entries)

    def add(self, alias: Alias, password: str, version: int) -> None:
        self.check_place()
        self.drop(alias, [version])
        self.entries |= {
            Key(name, version, kind): password for kind in AES_TYPES for name in alias.principals
        }

    def take(self, other: KeyFile, alias: Alias) -> None:
        self.check_place()
        if not isinstance(other, MemoryKeyFile):
            raise TypeError("files in memory know only each other")
        names = alias.principals
        kept = {key: said for key, said in self.entries.items() if key.principal not in names}
        self.entries = kept | {key: said for key, said in other.entries.items() if key.principal in names}

    def drop(self, alias: Alias, gone: Collection[int]) -> None:
        self.check_place()
        self.entries = {
            key: said
            for key, said in self.entries.items()
            if key.principal not in alias.principals or key.version not in gone
        }


class MemoryProof:
    """Sells tickets for the account's newest password."""

    def __init__(self, directory: MemoryAliasDirectory) -> None:
        self._directory = directory

    def accepted(self, alias: Alias, keys: KeyFile) -> None:
        found = self._directory.find(alias)
        if found is None or not found.enabled or alias.spns[1] not in found.spns:
            raise DirectoryDenied(f"nobody sells a ticket for {alias.fqdn}")
        current = self._directory.passwords.get(found.dn, {}).get(found.version)
        held = keys.entries if isinstance(keys, MemoryKeyFile) else {}
        fits = [
            said
            for key, said in held.items()
            if (key.principal, key.version) == (alias.principals[1], found.version)
        ]
        if current is None or current not in fits:
            raise NotAuthenticated(f"a fresh ticket for {alias.fqdn} does not open with {keys.path}")


@dataclass
class MemoryNames:
    """DNS: name to addresses, address to name, and what is a CNAME."""

    hosts: dict[str, frozenset[str]] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)
    cnames: dict[str, str] = field(default_factory=dict)

    def addresses(self, name: str) -> frozenset[str]:
        if name not in self.hosts:
            raise OSError("no such name")
        return self.hosts[name]

    def name_of(self, address: str) -> str:
        if address not in self.back:
            raise OSError("no such name")
        return self.back[address]

    def canonical(self, name: str) -> str:
        return self.cnames.get(name, name)
