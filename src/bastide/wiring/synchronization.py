"""From the table [passwords] of the settings to what password synchronization touches."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from bastide.audit.event_log import ProcessEventLog
from bastide.clock import Clock
from bastide.config import ConfigError, Passwords, secret_path
from bastide.directory.channel import AdControllerRegister, GssAcceptor
from bastide.directory.ldap import Controllers
from bastide.domain.errors import NotFound
from bastide.services.passwords.lookup import secret_of
from bastide.services.ports import Random, Sealer, Store
from bastide.store.md4 import Md4NtHasher
from bastide.store.openpgp import load_opener
from bastide.store.vault import AesEnvelope, SqlVault
from bastide.targets.ad_connection import ActiveDirectorySettings
from bastide.targets.kinds import Opening, read_settings
from bastide.targets.password_dates import AdPasswordDates
from bastide.wiring.database import vault_url
from bastide.wiring.passwords import PasswordAdapters


def password_adapters(
    settings: Passwords,
    *,
    store: Store,
    sealer: Sealer,
    random: Random,
    clock: Clock,
    domains: Mapping[str, Controllers],
) -> PasswordAdapters:
    """`domains`: DNS name in lower case to its controllers, asked who may speak for it. Raises ConfigError, StoreError."""
    if not settings.openpgp:
        raise ConfigError("passwords.openpgp names no key; `bastide keys generate --openpgp` makes one")
    return PasswordAdapters(
        vault=SqlVault(vault_url(settings), sealer),
        envelope=AesEnvelope(random),
        opener=load_opener([secret_path(name) for name in settings.openpgp]),
        hasher=Md4NtHasher(),
        events=ProcessEventLog(settings.event_level),
        acceptor=GssAcceptor(secret_path(settings.keytab)),
        register=AdControllerRegister(domains),
        dates=password_dates(store, sealer, clock),
        silence=timedelta(minutes=settings.silence_minutes),
        fresh=timedelta(minutes=settings.coverage_minutes),
    )


def password_dates(store: Store, sealer: Sealer, clock: Clock) -> AdPasswordDates:
    """When passwords were changed, as the source domains have it."""
    return AdPasswordDates(_sources(store, sealer, clock))


def _sources(
    store: Store, sealer: Sealer, clock: Clock
) -> Callable[[str], tuple[ActiveDirectorySettings, Opening]]:
    """How the agent of a source domain reaches it."""

    def source(domain: str) -> tuple[ActiveDirectorySettings, Opening]:
        with store.read() as uow:
            agent = uow.agents.by_domain(domain)
            if agent is None:
                raise NotFound(f"{domain} is not a source")
            secret = secret_of(uow, sealer, agent.id)
        opening = Opening(name=agent.name, secret=secret, now=clock.now, monotonic=clock.monotonic)
        return read_settings(ActiveDirectorySettings, agent.settings), opening

    return source
