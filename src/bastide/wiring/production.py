"""From settings to a node that works on real servers. Imported only where the extras `ad` and `postgres` are needed."""

import importlib.metadata
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from bastide.audit.file import FileSink
from bastide.audit.syslog import SyslogSink
from bastide.authn import NamedRights, Realm
from bastide.clock import Clock, SystemClock
from bastide.config import Account, Config, Oidc, secret_path, source_domains
from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.census import AdCensus
from bastide.directory.changes import AdChangeFeed
from bastide.directory.emergency import AdEmergencyReader
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, discover, listed
from bastide.directory.password_policy import AdPolicyReader
from bastide.directory.password_times import AdPasswordTimes
from bastide.directory.preparer import AdPreparer
from bastide.directory.signin import RealmPasswords, SpnegoAcceptor
from bastide.directory.trust import AdProber
from bastide.domain.people import Forest
from bastide.services.accounts import Preparation
from bastide.services.nodes import Me
from bastide.services.pace import ALERT, CHECKPOINT, EXPORT, MARK, NOTIFY
from bastide.services.ports import AuditSink, Random, Sealer
from bastide.services.probes import samples_of
from bastide.services.registry import Seat
from bastide.services.signin import TokenReader
from bastide.store import keys
from bastide.store.mark import FileMark, MemoryMark
from bastide.store.tables import SCHEMA
from bastide.store.unit_of_work import SqlStore
from bastide.store.work import Claimer
from bastide.targets.registry import Registry
from bastide.wiring import Adapters, Services, assemble
from bastide.wiring.alerts import alert_adapters
from bastide.wiring.break_glass import BreakGlassAdapters
from bastide.wiring.database import database_url, mark_path
from bastide.wiring.help_desk import help_desk_settings
from bastide.wiring.intake import intake_adapters
from bastide.wiring.journal import node_journal
from bastide.wiring.monitor import MonitorAdapters, rules_of
from bastide.wiring.monitoring import metrics_token
from bastide.wiring.notifications import NotificationAdapters, notification_adapters
from bastide.wiring.oversight import OversightAdapters
from bastide.wiring.passwords import PasswordAdapters
from bastide.wiring.process import is_gone, node_name, this_process
from bastide.wiring.reset import ResetAdapters, reset_adapters

#: Records of about the same moment go to the sinks together.
EXPORT_AFTER = timedelta(seconds=1)
#: Of what happened at about the same moment people are told in one go.
NOTIFY_AFTER = timedelta(seconds=1)
#: Of what happened at about the same moment alerts are raised in one go.
ALERT_AFTER = timedelta(seconds=1)
#: What was configured and then lost by a restore is noticed, if it was older than that.
MARK_AFTER = timedelta(seconds=1)


def build(config: Config) -> Services:
    """All use cases of this node. Connects to nothing yet, so that it starts with the directory down. Raises ConfigError, StoreError."""
    clock = SystemClock()
    sides = sides_of(config, clock)
    sinks = _sinks(config)
    me = describe(config)
    claimer = Claimer(me.partition, Seat(me.name, me.process))
    store = SqlStore(database_url(config), followers=_followers(config), claimer=claimer)
    sealer, random = keys.load_sealer([secret_path(config.keys.master)]), keys.SystemRandom()
    notifications = notification_adapters(config)
    adapters = Adapters(
        store=store,
        realms=_realms(config, sides),
        preparer=_preparer(config, clock),
        prober=AdProber(sides[Forest.PRIV], sides.get(Forest.CORP), clock.now, samples=samples_of(store)),
        tokens=None if config.oidc is None else _tokens(config.oidc, clock),
        acceptor=SpnegoAcceptor(secret_path(config.http.keytab)) if config.http.keytab else None,
        rights=NamedRights(
            sides,
            administrators=config.rights.administrators,
            auditors=config.rights.auditors,
            approvers=config.rights.approvers,
            browsers=[] if config.help_desk is None else config.help_desk.browse,
            setters=[] if config.help_desk is None else config.help_desk.set,
        ),
        sealer=sealer,
        signer=keys.load_signer(
            secret_path(config.keys.signing), [Path(path) for path in config.keys.trusted]
        ),
        hasher=keys.Argon2Hasher(),
        random=random,
        sinks=sinks,
        clock=clock,
        systems=Registry(clock.now, clock.monotonic),
        source_domains=frozenset(source_domains(config)),
        passwords=_passwords(config, store, sealer, random, clock),
        notifications=notifications,
        alerts=alert_adapters(config),
        intake=intake_adapters(config, next(iter(own_accounts(config).values()))),
        monitoring=_monitoring(config, sides),
        reset=_reset(config, sides, notifications),
        break_glass=BreakGlassAdapters(emergency_readers(sides), timedelta(days=config.policy.drill_days)),
        help_desk=help_desk_settings(config),
        policies={forest: AdPolicyReader(side.connections) for forest, side in sides.items()},
        oversight=OversightAdapters(censuses_of(sides), own_accounts(config)),
        metrics_token=metrics_token(config.metrics),
        me=me,
        mark=MemoryMark() if (path := mark_path(config)) is None else FileMark(path),
        gone=is_gone,
        journal=node_journal(config.logs, me.name),
    )
    return assemble(
        adapters,
        preparation(config),
        session_life=timedelta(minutes=config.http.session_minutes),
        address=config.server.url,
        four_eyes=config.policy.four_eyes,
    )


def _followers(config: Config) -> dict[str, timedelta]:
    """Work that is due so long after an audit record."""
    wanted = (
        (CHECKPOINT, timedelta(minutes=config.audit.checkpoint_minutes), True),
        (EXPORT, EXPORT_AFTER, bool(config.audit.file or config.audit.syslog)),
        (MARK, MARK_AFTER, config.passwords is not None),
        (NOTIFY, NOTIFY_AFTER, config.notifications is not None),
        (ALERT, ALERT_AFTER, config.alerts is not None),
    )
    return {kind: after for kind, after, there in wanted if there}


def _monitoring(config: Config, sides: Mapping[Forest, ActiveDirectory]) -> MonitorAdapters | None:
    if config.monitoring is None:
        return None
    places = {Forest.PRIV: (config.priv.users_container, config.priv.groups_container)}
    feeds = {forest: AdChangeFeed(side.connections, places.get(forest, ())) for forest, side in sides.items()}
    return MonitorAdapters(
        feeds, rules_of(config.monitoring), timedelta(seconds=config.monitoring.interval_seconds)
    )


def _passwords(
    config: Config, store: SqlStore, sealer: Sealer, random: Random, clock: Clock
) -> PasswordAdapters | None:
    if config.passwords is None:
        return None
    from bastide.wiring.synchronization import password_adapters  # noqa: PLC0415  # 3 MiB, of which OpenPGP is 2

    return password_adapters(
        config.passwords,
        store=store,
        sealer=sealer,
        random=random,
        clock=clock,
        domains=_domains(config, clock),
    )


def _reset(
    config: Config, sides: Mapping[Forest, ActiveDirectory], notifications: NotificationAdapters | None
) -> ResetAdapters | None:
    """Raises ConfigError, StoreUnavailable."""
    everyday = sides.get(Forest.CORP, sides[Forest.PRIV])
    notifier = None if notifications is None else notifications.notifier
    return reset_adapters(
        config, notifier, AdPolicyReader(everyday.connections), AdPasswordTimes(everyday.connections)
    )


def describe(config: Config) -> Me:
    """This node, as it registers."""
    return Me(
        name=node_name(config),
        url=config.server.url,
        partition=config.server.partition,
        version=importlib.metadata.version("bastide"),
        schema=SCHEMA,
        process=this_process(),
        rhythm=timedelta(seconds=config.server.heartbeat_seconds),
    )


def preparation(config: Config) -> Preparation:
    """Where prepared objects go."""
    return Preparation(
        prefix=config.priv.user_prefix,
        users_container=config.priv.users_container,
        groups_container=config.priv.groups_container,
        group_prefix=config.priv.group_prefix,
        upn_suffix=config.priv.domain,
        ticket_cap=timedelta(seconds=config.policy.ticket_cap_seconds),
        policy_name=config.policy.ticket_policy,
        single_forest=config.corp is None,
    )


def controllers(domain: str, names: list[str], account: Account, clock: Clock) -> Controllers:
    """The domain controllers of a domain, seen with one identity. Raises ConfigError."""
    source = listed(names) if names else discover(domain)
    connect = SealedConnect(Identity(account.principal, secret_path(account.keytab)), clock.now)
    return Controllers(domain, source, connect, clock.monotonic)


def sides_of(config: Config, clock: Clock) -> dict[Forest, ActiveDirectory]:
    """The service account of PRIV reads and writes both forests: CORP trusts PRIV, so there is no CORP secret to steal."""
    account = Account(principal=config.priv.principal, keytab=config.priv.keytab)
    wanted = {Forest.PRIV: (config.priv.domain, config.priv.controllers)}
    if config.corp is not None:
        wanted[Forest.CORP] = (config.corp.domain, config.corp.controllers)
    return {
        forest: ActiveDirectory(forest, controllers(domain, names, account, clock))
        for forest, (domain, names) in wanted.items()
    }


def emergency_readers(sides: Mapping[Forest, ActiveDirectory]) -> dict[str, AdEmergencyReader]:
    """By domain: the service account looks at emergency accounts, and can do nothing to them."""
    readers = [AdEmergencyReader(side.connections) for side in sides.values()]
    return {one.domain: one for one in readers}


def censuses_of(sides: Mapping[Forest, ActiveDirectory]) -> dict[str, AdCensus]:
    """By domain: the service account looks at privileged accounts, and can do nothing to them."""
    found = [AdCensus(side.connections) for side in sides.values()]
    return {one.domain: one for one in found}


def own_accounts(config: Config) -> dict[str, tuple[str, ...]]:
    """By domain, without the realm: the names of the accounts that Bastide itself signs in with."""
    principals = [config.priv.principal]
    if config.priv.preparer is not None:
        principals.append(config.priv.preparer.principal)
    names = tuple(one.partition("@")[0] for one in principals)
    return {config.priv.domain.rstrip(".").lower(): names}


def _domains(config: Config, clock: Clock) -> dict[str, Controllers]:
    """The domains whose controllers may speak, each seen with its account."""
    return {
        name: controllers(
            one.domain, one.controllers, Account(principal=one.principal, keytab=one.keytab), clock
        )
        for name, one in source_domains(config).items()
    }


def _realms(config: Config, sides: Mapping[Forest, ActiveDirectory]) -> dict[Forest, Realm]:
    """Where people may sign in from, each with its HTTP/ name."""
    hosts = {Forest.PRIV: config.http.priv_host, Forest.CORP: config.http.corp_host}
    domains = {Forest.PRIV: config.priv.domain, Forest.CORP: config.corp.domain if config.corp else ""}
    keytab = secret_path(config.http.keytab)
    return {
        forest: Realm(
            forest,
            domains[forest].upper(),
            side,
            RealmPasswords(
                domains[forest].upper(), f"HTTP/{hosts[forest]}@{domains[forest].upper()}", keytab
            ),
        )
        for forest, side in sides.items()
    }


def _preparer(config: Config, clock: SystemClock) -> AdPreparer | None:
    if config.priv.preparer is None:
        return None
    return AdPreparer(controllers(config.priv.domain, config.priv.controllers, config.priv.preparer, clock))


def _tokens(settings: Oidc, clock: SystemClock) -> TokenReader:
    from bastide.wiring.issuer import issued_tokens  # noqa: PLC0415  # see there

    return issued_tokens(settings, clock)


def _sinks(config: Config) -> list[AuditSink]:
    sinks: list[AuditSink] = []
    if config.audit.file:
        sinks.append(FileSink(Path(config.audit.file)))
    if config.audit.syslog:
        sinks.append(SyslogSink(config.audit.syslog, ca=config.audit.syslog_ca))
    return sinks
