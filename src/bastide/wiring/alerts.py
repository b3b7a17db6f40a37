"""From the table [alerts] of the settings to those who find, tell and show alerts."""

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from bastide.audit.siem import SyslogOutlet
from bastide.audit.syslog import SyslogSender
from bastide.config import Config, ConfigError
from bastide.domain.alerts import CATALOGUE, Per, Policy, Quiet, Rule, Severity, Signal, in_force
from bastide.notify.notifier import AppriseNotifier
from bastide.sections import AlertDestination, AlertRule, Alerts
from bastide.services.alerts import measures
from bastide.services.alerts.book import Book
from bastide.services.alerts.deliver import Deliver
from bastide.services.alerts.desk import Desk
from bastide.services.alerts.looker import Looker, Measure
from bastide.services.alerts.people import PeopleOutlet
from bastide.services.alerts.ports import Outlet
from bastide.services.alerts.reader import Reader
from bastide.services.audit import Audit
from bastide.services.passwords.coverage import CoverageProof
from bastide.services.people import Subjects
from bastide.services.ports import Random, Store
from bastide.wiring.notifications import guarded_reader


@dataclass(frozen=True, slots=True)
class AlertAdapters:
    """Where alerts go, and what the settings say of them."""

    outlets: tuple[Outlet, ...]
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertServices:
    """The use cases. Each of `deliveries` is the job of one destination."""

    reader: Reader
    looker: Looker
    deliveries: tuple[Deliver, ...]
    desk: Desk


def assemble_alerts(
    adapters: AlertAdapters,
    *,
    store: Store,
    audit: Audit,
    subjects: Subjects,
    coverage: CoverageProof | None,
    random: Random,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> AlertServices:
    """Wire them. `coverage` None: this node synchronizes no passwords."""
    policy, outlets = adapters.policy, {one.name: one for one in adapters.outlets}
    book = Book(policy=policy, outlets=outlets, random=random)
    return AlertServices(
        reader=Reader(store=store, policy=policy, book=book, destinations=tuple(outlets), now=now),
        looker=Looker(
            store=store,
            policy=policy,
            book=book,
            measures=_measures(store, audit, subjects, coverage),
            now=now,
            jitter=jitter,
        ),
        deliveries=tuple(
            Deliver(store=store, outlet=one, policy=policy, now=now, jitter=jitter)
            for one in adapters.outlets
        ),
        desk=Desk(store=store, policy=policy, book=book, outlets=outlets, random=random, now=now),
    )


def _measures(
    store: Store, audit: Audit, subjects: Subjects, coverage: CoverageProof | None
) -> Mapping[Signal, Measure]:
    made: dict[Signal, Measure] = {
        Signal.CHAIN_BROKEN: measures.chain(audit),
        Signal.APPROVERS: measures.approvers(subjects, store),
    }
    if coverage is not None:
        made[Signal.COVERAGE] = measures.coverage(coverage, store)
    return made


def alert_adapters(config: Config) -> AlertAdapters | None:
    """None: the settings have no such table. No address is read yet. Raises ConfigError."""
    table = config.alerts
    if table is None:
        return None
    return AlertAdapters(
        tuple(_outlet(table, one, config.server.url.rstrip("/")) for one in table.destinations),
        alert_policy(table),
    )


def alert_policy(table: Alerts) -> Policy:
    """The rules and hours of the settings. Raises ConfigError."""
    quiet = Quiet()
    if table.quiet_from:
        quiet = Quiet(time.fromisoformat(table.quiet_from), time.fromisoformat(table.quiet_until))
    return Policy(rules=in_force([_rule(one) for one in table.rules]), quiet=quiet, learned=table.learn_days)


def address_reader(table: Alerts, user: int | None = None) -> AppriseNotifier:
    """What sends to people. `user`: the uid whose files the addresses may be, beside root; None: ours."""
    people = [one for one in table.destinations if one.url]
    return AppriseNotifier({one.name: guarded_reader(one.url, user) for one in people}, ca=table.ca)


def _outlet(table: Alerts, one: AlertDestination, home: str) -> Outlet:
    if one.url:
        return PeopleOutlet(one.name, address_reader(table), home=home)
    sender = SyslogSender(one.syslog, ca=one.syslog_ca, setting="alerts.destinations.syslog")
    return SyslogOutlet(one.name, sender, form=one.format, version=importlib.metadata.version("bastide"))


def _rule(given: AlertRule) -> Rule:
    """What is empty or 0 is as the catalogue has it."""
    known = next((one for one in CATALOGUE if one.name == given.name), None)
    if known is None and not (given.signal and given.severity):
        names = ", ".join(one.name for one in CATALOGUE)
        raise ConfigError(
            f"alerts.rules: {given.name} needs signal and severity, because the catalogue has no rule of that name; it has {names}"
        )
    base = known or Rule(name=given.name, signal=Signal(given.signal), severity=Severity(given.severity))
    return replace(
        base,
        signal=Signal(given.signal) if given.signal else base.signal,
        severity=Severity(given.severity) if given.severity else base.severity,
        enabled=given.enabled,
        to=frozenset(given.to),
        per=Per(given.per) if given.per else base.per,
        threshold=given.threshold or base.threshold,
        window=timedelta(minutes=given.window_minutes) if given.window_minutes else base.window,
        escalate_after=timedelta(minutes=given.escalate_minutes),
        escalate_to=frozenset(given.escalate_to),
    )
