"""A cluster alias on the twins, with an audit that can be down and a directory that notes each write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.memory_alias import (
    MemoryAliasDirectory,
    MemoryKeyFile,
    MemoryNames,
    MemoryProof,
)
from bastide.domain import cluster
from bastide.domain.audit import Event
from bastide.domain.cluster import Alias
from bastide.domain.errors import (
    BastideError,
    StoreUnavailable,
)
from bastide.services.cluster.account import AliasAccount, Done
from bastide.services.cluster.looks import AliasRefused
from bastide.services.cluster.node import AliasNode
from bastide.services.cluster.ports import Certificate
from tests.support.world import SeededRandom

DOMAIN = "priv.bastide.test"
OU = "OU=Clusters,DC=priv,DC=bastide,DC=test"
ALIAS = Alias.parse("bastide", DOMAIN)
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
ADDRESS = "192.0.2.10"


class Records:
    """An audit that can be down."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    def write(self, event: Event) -> None:
        if self.down:
            raise StoreUnavailable("the database is gone")
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


class Watched(MemoryAliasDirectory):
    """Notes each write, with the versions that the key file had then; fails where it is told to."""

    def watch(self, keys: MemoryKeyFile) -> None:
        self.steps: list[tuple[str, tuple[int, ...]]] = []
        self.fail: dict[str, BastideError] = {}
        self._keys = keys

    def _step(self, name: str) -> None:
        self.steps.append((name, cluster.versions(self._keys.read())))
        if name in self.fail:
            raise self.fail[name]

    def create(self, alias: Alias, place: str) -> str:
        self._step("create")
        return super().create(alias, place)

    def adopt(self, dn: str, alias: Alias) -> None:
        self._step("adopt")
        super().adopt(dn, alias)

    def set_password(self, dn: str, password: str) -> None:
        self._step("password")
        super().set_password(dn, password)

    def set_enabled(self, dn: str, *, enabled: bool) -> None:
        self._step("enable" if enabled else "disable")
        super().set_enabled(dn, enabled=enabled)

    def delete(self, dn: str) -> None:
        self._step("delete")
        super().delete(dn)


class World:
    def __init__(self) -> None:
        self.now = NOW
        self.keys = MemoryKeyFile("alias.keytab")
        self.own = MemoryKeyFile("http.keytab")
        self.directory = Watched(DOMAIN, lambda: self.now, {OU: (True, True)})
        self.directory.watch(self.keys)
        self.records = Records()
        self.waited: list[float] = []
        self.random = SeededRandom()
        hosts = {name: frozenset({ADDRESS}) for name in (ALIAS.name, ALIAS.fqdn)}
        self.names = MemoryNames(hosts, {ADDRESS: ALIAS.fqdn})
        self.shown: Certificate | None = Certificate(frozenset({ALIAS.fqdn}), NOW + timedelta(days=90))

    def account(self, *, recorded: bool = True) -> AliasAccount:
        return AliasAccount(
            directory=self.directory,
            keys=self.keys,
            proof=MemoryProof(self.directory),
            random=self.random,
            recorder=self.records if recorded else None,
            now=lambda: self.now,
            wait=self.waited.append,
        )

    def node(self) -> AliasNode:
        return AliasNode(
            directory=self.directory,
            own=self.own,
            proof=MemoryProof(self.directory),
            names=self.names,
            shown=self.shown,
            recorder=self.records,
            now=lambda: self.now,
        )

    def change(self, **what: object) -> None:
        found = self.directory.accounts[ALIAS.account]
        self.directory.accounts[ALIAS.account] = replace(found, **what)  # type: ignore[arg-type]

    def create(self) -> Done:
        done = self.account().create(ALIAS, OU)
        self.directory.steps.clear()
        self.records.events.clear()
        return done

    @property
    def held(self) -> tuple[int, ...]:
        return cluster.versions(self.keys.read())


def errors_in(refused: "pytest.ExceptionInfo[AliasRefused]") -> set[str]:
    return {one.key for one in refused.value.findings if one.severity.is_error}


def spoil(world: World, name: str) -> None:
    """One thing is not as it must be."""
    match name:
        case "no account":
            world.directory.accounts.clear()
        case "disabled":
            world.change(enabled=False)
        case "delegates":
            world.change(delegates=True)
        case "another's name":
            world.directory.others[ALIAS.spns[1]] = ("CN=other",)
        case "a file of something else":
            world.keys.entries.clear()
        case _:
            world.change(version=9)
