"""All that a check may look at: the settings, the clock, the network, and what is opened when it is first asked for. A test gives twins."""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from bastide.clock import Clock
from bastide.config import Config, ConfigError, NoCredential
from bastide.domain.errors import BastideError, DirectoryError
from bastide.domain.health import Finding
from bastide.domain.people import Forest
from bastide.services.break_glass.ports import EmergencyReader
from bastide.services.passwords.ports import ConnectedSystems, PasswordDates
from bastide.services.ports import Directory, Sealer, Signer, Store
from bastide.wiring.oversight import OversightAdapters

if TYPE_CHECKING:
    from bastide.store.inspect import DatabaseFacts

_T = TypeVar("_T")


class Network(Protocol):
    """DNS and TCP, as RealNetwork of directory/network.py has them."""

    def services(self, question: str) -> list[str]: ...
    def knock(self, host: str, port: int) -> str: ...
    def certificate(self, host: str, port: int) -> str: ...
    def addresses(self, name: str) -> frozenset[str]: ...
    def name_of(self, address: str) -> str: ...


class Unasked(str):
    """Why no controller was asked at all, in words: that is nothing about the controllers."""

    __slots__ = ()


class Domain(Protocol):
    """The controllers of one domain, as directory/domain_probe.py asks them."""

    def controllers(self) -> tuple[str, ...]:
        """Raises DirectoryUnavailable."""

    def name_service(self) -> Iterable[Finding]: ...
    def ports(self) -> Iterable[Finding]: ...
    def asked(self) -> Mapping[str, timedelta | DirectoryError | str]:
        """Raises DirectoryUnavailable."""


class ForestProber(Protocol):
    """What directory/trust.py says of the forests."""

    def capabilities(self, forest: Forest) -> Iterable[Finding]: ...
    def rights(self, forest: Forest) -> Iterable[Finding]: ...
    def test_trust(self) -> Iterable[Finding]: ...


class Once(Generic[_T]):
    """Made when it is first asked for, by whichever thread; an error counts as well, so that nobody waits for the same time-out twice."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._lock = Lock()
        self._made: list[_T] = []
        self._failed: Exception | None = None

    def __call__(self) -> _T:
        with self._lock:
            if self._failed is not None:
                raise self._failed
            if not self._made:
                try:
                    self._made.append(self._make())
                except (BastideError, ConfigError, ImportError, OSError) as error:
                    self._failed = error
                    raise
            return self._made[0]

    @property
    def made(self) -> Iterator[_T]:
        """What there is to close."""
        return iter(self._made)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is a callable raises BastideError, ConfigError, ImportError or OSError."""

    config: Config
    file: Path
    clock: Clock
    network: Network
    #: For reading alone.
    store: Callable[[], Store]
    database: "Callable[[], DatabaseFacts]"
    #: By DNS name in lower case: PRIV, CORP, and further sources of passwords.
    domains: Callable[[], Mapping[str, Domain]]
    prober: Callable[[], ForestProber]
    forests: Callable[[], Mapping[Forest, Directory]]
    signer: Callable[[], Signer]
    sealer: Callable[[], Sealer]
    systems: Callable[[], ConnectedSystems]
    dates: Callable[[], PasswordDates]
    #: By domain: what the service account sees of emergency accounts.
    emergency: Callable[[], Mapping[str, EmergencyReader]]
    #: What the service account sees of privileged accounts, and which are Bastide's own.
    baseline: Callable[[], OversightAdapters]

    def unmet(self, need: str) -> str:
        """Why a check that needs it cannot be run; empty: it can."""
        return _UNMET[need](self)


def _network(_world: World) -> str:
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    return "" if others else "this machine has no network interface beside loopback"


def _database(world: World) -> str:
    try:
        fit = world.database().fit
        if fit is None or not fit.good:
            return "the database does not have the schema of this version: see database.schema"
        world.store()
    except NoCredential as error:
        return f"the database was not asked: {error}"
    except (BastideError, ConfigError, ImportError, OSError):
        return "the database cannot be used: see database.schema"
    return ""


def _directory(world: World) -> str:
    why = "no domain controller of PRIV lets the service account in: see dns, ports, time, kerberos and directory.sign-in"
    try:
        answers = world.domains()[world.config.priv.domain.rstrip(".").lower()].asked()
    except (BastideError, ConfigError, ImportError, OSError):
        return why
    if any(isinstance(one, timedelta) for one in answers.values()):
        return ""
    said = set(answers.values())
    if len(said) == 1 and isinstance(unasked := said.pop(), Unasked):
        return f"no domain controller of PRIV was asked: {unasked}; see kerberos.keytabs"
    return why


def _passwords(world: World) -> str:
    return "" if world.config.passwords is not None else "password synchronization is not set up"


_UNMET: Mapping[str, Callable[[World], str]] = {
    "network": _network,
    "database": _database,
    "directory": _directory,
    "passwords": _passwords,
}
