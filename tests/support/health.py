"""A world for health checks, of twins: a network and domains that answer as they were told, a store in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bastide.clock import Clock, SystemClock
from bastide.config import Config, Keys, Priv, Rights, source_domains
from bastide.domain.errors import DirectoryError, StoreUnavailable
from bastide.domain.health import Finding
from bastide.health.world import Domain, World
from bastide.store.unit_of_work import SqlStore

MINIMAL = Config(
    keys=Keys(master="/m", signing="/s"),
    priv=Priv(
        domain="priv.test",
        principal="svc@PRIV.TEST",
        keytab="/k",
        users_container="OU=U,DC=priv,DC=test",
        groups_container="OU=G,DC=priv,DC=test",
    ),
    rights=Rights(administrators=["A"], auditors=[], approvers=[]),
)


@dataclass
class ToldNetwork:
    """`shut`: (host, port) to why; all else is open. `hosts`: name to addresses; `names`: address to name; a name or address that is not there has none."""

    shut: dict[tuple[str, int], str] = field(default_factory=dict)
    hosts: dict[str, frozenset[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    srv: dict[str, list[str]] = field(default_factory=dict)
    certificates: dict[tuple[str, int], str] = field(default_factory=dict)

    def services(self, question: str) -> list[str]:
        if question not in self.srv:
            raise OSError("no such name")
        return self.srv[question]

    def knock(self, host: str, port: int) -> str:
        return self.shut.get((host, port), "")

    def certificate(self, host: str, port: int) -> str:
        if (host, port) not in self.certificates:
            raise OSError("wrong version number")
        return self.certificates[host, port]

    def addresses(self, name: str) -> frozenset[str]:
        if name not in self.hosts:
            raise OSError("name or service not known")
        return self.hosts[name]

    def name_of(self, address: str) -> str:
        if address not in self.names:
            raise OSError("name or service not known")
        return self.names[address]


@dataclass
class ToldDomain:
    """`answers`: controller to what `asked` says of it."""

    answers: dict[str, timedelta | DirectoryError | str] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)

    def controllers(self) -> tuple[str, ...]:
        return tuple(self.answers)

    def name_service(self) -> Iterable[Finding]:
        return iter(self.found)

    def ports(self) -> Iterable[Finding]:
        return iter(self.found)

    def asked(self) -> Mapping[str, timedelta | DirectoryError | str]:
        return dict(self.answers)


def looking_at(config: Config = MINIMAL, *, clock: Clock | None = None, **things: Any) -> World:
    """What is not given cannot be had. `things`: fields of World, not yet wrapped: `store=SqlStore("sqlite://")`."""
    network = things.pop("network", None) or ToldNetwork()
    file = things.pop("file", Path("/etc/bastide/bastide.toml"))
    known: dict[str, Domain] = {
        name: ToldDomain(dict.fromkeys(one.controllers, timedelta(0)))
        for name, one in source_domains(config).items()
    }
    things.setdefault("domains", known)

    def had(name: str) -> Any:
        def give() -> Any:
            if name not in things:
                raise StoreUnavailable(f"this world has no {name}")
            return things[name]

        return give

    lazy = (
        "store",
        "database",
        "domains",
        "prober",
        "forests",
        "signer",
        "sealer",
        "systems",
        "dates",
        "emergency",
        "baseline",
    )
    return World(
        config=config,
        file=file,
        clock=clock or SystemClock(),
        network=network,
        **{name: had(name) for name in lazy},
    )


def by_key(findings: Iterable[Finding]) -> dict[str, Finding]:
    """What each is about."""
    return {finding.about: finding for finding in findings}


def memory() -> Iterator[SqlStore]:
    """A store, closed afterwards."""
    store = SqlStore("sqlite://")
    yield store
    store.close()
