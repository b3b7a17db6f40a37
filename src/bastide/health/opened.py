"""The world as the settings of this node name it: what the service would open, opened for looking."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bastide.clock import Clock
from bastide.config import Account, Config, NoCredential, SourceDomain, secret_path, source_domains
from bastide.directory.network import RealNetwork
from bastide.domain.errors import DirectoryError
from bastide.domain.health import Finding
from bastide.domain.people import Forest
from bastide.health.checks.kerberos import Identity, ticket
from bastide.health.look import is_open, owner_of, refusal
from bastide.health.world import Domain, Network, Once, Unasked, World
from bastide.services.break_glass.ports import EmergencyReader
from bastide.services.passwords.ports import PasswordDates
from bastide.services.ports import Sealer, Signer
from bastide.wiring.database import database_url
from bastide.wiring.oversight import OversightAdapters

if TYPE_CHECKING:
    from bastide.directory.active_directory import ActiveDirectory
    from bastide.directory.ldap import Controllers
    from bastide.directory.trust import AdProber
    from bastide.store.inspect import DatabaseFacts
    from bastide.store.unit_of_work import SqlStore
    from bastide.targets.registry import Registry


class _Opened:
    """Each thing made at most once, when it is first asked for."""

    def __init__(self, config: Config, clock: Clock, network: Network) -> None:
        self._config, self._clock, self._network = config, clock, network
        self._connections: list[Controllers] = []
        self.store = Once(self._store)
        self.database = Once(self._database)
        self.sides = Once(self._sides)
        self.domains = Once(self._domains)
        self.prober = Once(self._prober)
        self.signer = Once(self._signer)
        self.sealer = Once(self._sealer)
        self.systems = Once(self._systems)
        self.dates = Once(self._dates)
        self.emergency = Once(self._emergency)
        self.baseline = Once(self._baseline)

    def close(self) -> None:
        for store in self.store.made:
            store.close()
        for sides in self.sides.made:
            for side in sides.values():
                side.close()
        for connections in self._connections:
            connections.close()

    def _store(self) -> "SqlStore":
        from bastide.store.unit_of_work import SqlStore  # noqa: PLC0415  # SQLAlchemy takes its time

        return SqlStore(database_url(self._config), read_only=True)

    def _database(self) -> "DatabaseFacts":
        from bastide.store.inspect import inspect  # noqa: PLC0415  # Alembic takes its time

        return inspect(database_url(self._config))

    def _sides(self) -> "dict[Forest, ActiveDirectory]":
        from bastide.wiring.production import sides_of  # noqa: PLC0415  # needs the extra `ad`

        return sides_of(self._config, self._clock)

    def _domains(self) -> Mapping[str, Domain]:
        return {name: self._domain(one) for name, one in source_domains(self._config).items()}

    def _domain(self, one: SourceDomain) -> Domain:
        from bastide.directory.domain_probe import DomainProber  # noqa: PLC0415  # needs the extra `ad`
        from bastide.wiring.production import controllers  # noqa: PLC0415

        account = Account(principal=one.principal, keytab=one.keytab)
        try:
            connections = controllers(one.domain, one.controllers, account, self._clock)
        except NoCredential as error:
            return _Unopened(one, self._network, str(error))
        self._connections.append(connections)
        return DomainProber(connections, self._network, self._clock.now)

    def _prober(self) -> "AdProber":
        from bastide.directory.trust import AdProber  # noqa: PLC0415  # needs the extra `ad`
        from bastide.services.probes import samples_of  # noqa: PLC0415

        sides = self.sides()
        return AdProber(
            sides[Forest.PRIV],
            sides.get(Forest.CORP),
            self._clock.now,
            samples=samples_of(self.store()),
            network=self._network,
        )

    def _signer(self) -> Signer:
        from bastide.store.keys import Ed25519Signer, read_key, read_public_key  # noqa: PLC0415  # cryptography takes its time

        path = secret_path(self._config.keys.signing)
        trusted = [read_public_key(Path(other)) for other in self._config.keys.trusted]
        return Ed25519Signer(read_key(path, owner_of(path)), trusted)

    def _sealer(self) -> Sealer:
        from bastide.store.keys import load_sealer  # noqa: PLC0415  # cryptography takes its time

        path = secret_path(self._config.keys.master)
        return load_sealer([path], owner_of(path))

    def _systems(self) -> "Registry":
        from bastide.targets.registry import Registry  # noqa: PLC0415  # its kinds bring libraries

        return Registry(self._clock.now, self._clock.monotonic)

    def _emergency(self) -> Mapping[str, EmergencyReader]:
        from bastide.wiring.production import emergency_readers  # noqa: PLC0415  # needs the extra `ad`

        return emergency_readers(self.sides())

    def _baseline(self) -> OversightAdapters:
        from bastide.wiring.production import censuses_of, own_accounts  # noqa: PLC0415  # needs the extra `ad`

        return OversightAdapters(censuses_of(self.sides()), own_accounts(self._config))

    def _dates(self) -> PasswordDates:
        from bastide.wiring.synchronization import password_dates  # noqa: PLC0415  # needs the extra `ad`

        return password_dates(self.store(), self.sealer(), self._clock)


class _Unopened:
    """A domain that cannot be signed in to, and why: its names and ports can be looked at."""

    def __init__(self, one: SourceDomain, network: Network, why: str = "") -> None:
        self._one = one
        self._why = Unasked(why)
        self._network = network

    def controllers(self) -> tuple[str, ...]:
        from bastide.directory.ldap import discover  # noqa: PLC0415  # needs the extra `ad`

        return tuple(self._one.controllers or discover(self._one.domain)())

    def name_service(self) -> Iterator[Finding]:
        from bastide.directory.domain_probe import name_service  # noqa: PLC0415  # needs the extra `ad`

        return name_service(self._one.domain, self._network)

    def ports(self) -> Iterator[Finding]:
        from bastide.directory.domain_probe import ports  # noqa: PLC0415  # needs the extra `ad`

        return ports(self.controllers(), self._network)

    def asked(self) -> dict[str, timedelta | DirectoryError | str]:
        return dict.fromkeys(self.controllers(), self._why)


def first_look(domain: str) -> Iterator[Finding]:
    """A domain of which only the name is known: its name service, and the ports of the controllers that it names."""
    one = _Unopened(SourceDomain(domain=domain), RealNetwork())
    yield from one.name_service()
    try:
        yield from one.ports()
    except DirectoryError as error:
        yield refusal(domain, error)


def account(identity: Identity, clock: Clock) -> Iterator[Finding]:
    """An account of ours: its keytab, a ticket with it, and a sealed connection to each controller of its domain."""
    from bastide.directory.domain_probe import DomainProber, sign_in  # noqa: PLC0415  # needs the extra `ad`
    from bastide.wiring.production import controllers  # noqa: PLC0415

    file = identity.file()
    yield file
    if not is_open(file):
        return
    yield ticket(identity)
    whose = Account(principal=identity.principal, keytab=identity.keytab)
    connections = controllers(identity.domain, [], whose, clock)
    try:
        yield from sign_in(DomainProber(connections, RealNetwork(), clock.now).asked())
    except DirectoryError as error:
        yield refusal(identity.domain, error)
    finally:
        connections.close()


@contextmanager
def opened(config: Config, file: Path, clock: Clock) -> Iterator[World]:
    """Connects to nothing before a check asks for it, and closes what was opened."""
    network = RealNetwork()
    things = _Opened(config, clock, network)
    try:
        yield World(
            config=config,
            file=file,
            clock=clock,
            network=network,
            store=things.store,
            database=things.database,
            domains=things.domains,
            prober=things.prober,
            forests=things.sides,
            signer=things.signer,
            sealer=things.sealer,
            systems=things.systems,
            dates=things.dates,
            emergency=things.emergency,
            baseline=things.baseline,
        )
    finally:
        things.close()
