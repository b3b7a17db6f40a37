"""The composition root: adapters and settings in, use cases out. Nothing else constructs an adapter."""

import random as chance
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from bastide.authn import Authenticator
from bastide.clock import Clock
from bastide.domain.people import Forest
from bastide.domain.traces import SUBJECTS
from bastide.domain.webauthn import RelyingParty, relying_party
from bastide.services.accounts import Accounts, Preparation
from bastide.services.admission import Admission
from bastide.services.audit import Audit
from bastide.services.caps import Caps
from bastide.services.factors import Factors
from bastide.services.grants import Grants
from bastide.services.help_desk.desk import HelpDesk
from bastide.services.journal import NodeLogs
from bastide.services.links import Links
from bastide.services.measures import Measures
from bastide.services.nodes import Nodes
from bastide.services.passwords.imports import Imports
from bastide.services.passwords.management_agents import ManagementAgents
from bastide.services.passwords.spaces import Spaces
from bastide.services.people import Subjects
from bastide.services.ports import (
    Directory,
    Store,
)
from bastide.services.probes import Probes
from bastide.services.profiles import Profiles
from bastide.services.reach import Reach
from bastide.services.reconcile import Reconcile
from bastide.services.recovery import Recovery
from bastide.services.reports import Reports
from bastide.services.requests import Requests
from bastide.services.roles import Roles
from bastide.services.security_keys import SecurityKeys
from bastide.services.sessions import Sessions
from bastide.services.signed_votes import SignedVotes
from bastide.services.switches import Switches
from bastide.services.tracing import Tracer, Tracing
from bastide.services.upkeep import Upkeep
from bastide.wiring.adapters import Adapters
from bastide.wiring.alerts import AlertServices, assemble_alerts
from bastide.wiring.break_glass import BreakGlass, assemble_break_glass
from bastide.wiring.help_desk import assemble_help_desk, order_rules
from bastide.wiring.intake import IntakeServices, assemble_intake
from bastide.wiring.monitor import Monitoring, assemble_monitoring
from bastide.wiring.notifications import Notifications, assemble_notifications
from bastide.wiring.oversight import Oversight, assemble_oversight
from bastide.wiring.passwords import Passwords, assemble_passwords
from bastide.wiring.reset import ResetServices, assemble_reset
from bastide.wiring.spaces import SpaceServices, assemble_spaces
from bastide.wiring.traced import all_subjects, port

__all__ = ["Adapters", "Services", "assemble"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All use cases of one node."""

    store: Store
    clock: Clock
    forests: Mapping[Forest, Directory]
    authn: Authenticator
    sessions: Sessions
    requests: Requests
    reach: Reach
    roles: Roles
    profiles: Profiles
    accounts: Accounts
    switches: Switches
    factors: Factors
    security_keys: SecurityKeys
    audit: Audit
    probes: Probes
    reports: Reports
    oversight: Oversight
    measures: Measures
    grants: Grants
    links: Links
    upkeep: Upkeep
    recovery: Recovery
    reconcile: Reconcile
    nodes: Nodes
    logs: NodeLogs
    tracing: Tracing
    tracer: Tracer
    management_agents: ManagementAgents
    imports: Imports
    spaces: Spaces
    break_glass: BreakGlass
    #: None: bastide.toml has no section [passwords].
    passwords: Passwords | None
    #: None: bastide.toml has no section [notifications].
    notifications: Notifications | None
    #: None: bastide.toml has no section [monitoring].
    monitoring: Monitoring | None
    #: None: bastide.toml has no section [alerts].
    alerts: AlertServices | None
    #: None: bastide.toml has no section [intake].
    intake: IntakeServices | None
    #: None: bastide.toml has no section [reset].
    reset: ResetServices | None
    #: None: bastide.toml has no section [help_desk].
    help_desk: HelpDesk | None


def assemble(
    adapters: Adapters,
    preparation: Preparation,
    *,
    session_life: timedelta = timedelta(minutes=15),
    address: str = "",
    four_eyes: bool = False,
) -> Services:
    """Wire the use cases to these adapters. `address`: the one that people use; without it security keys do not work. `four_eyes`: see Roles."""
    tracer = _tracer(adapters)
    terms = _Terms(session_life, relying_party(address), four_eyes)
    services = _services(_traced(adapters, tracer), preparation, tracer, terms)
    return all_subjects(services, {name: name for name in SUBJECTS}, tracer)


@dataclass(frozen=True, slots=True)
class _Terms:
    session_life: timedelta
    party: RelyingParty | None
    four_eyes: bool


def _services(adapters: Adapters, preparation: Preparation, tracer: Tracer, terms: _Terms) -> Services:
    now, store, random = adapters.clock.now, adapters.store, adapters.random
    forests = {forest: realm.directory for forest, realm in adapters.realms.items()}
    priv = forests[Forest.PRIV]
    corp = forests.get(Forest.CORP, priv)
    subjects = Subjects(forests, now)
    caps = Caps(preparer=adapters.preparer, priv=priv, now=now)
    audit = Audit(store=store, signer=adapters.signer, now=now)
    jitter = chance.Random().random  # noqa: S311  # spreads retries; no secret depends on it
    spaces = _spaces(adapters, jitter)
    factors, security_keys = _second_factors(adapters, subjects, terms.party, preparation)
    authn = _authenticator(adapters, terms.session_life)
    recovery = Recovery(store=store, mark=adapters.mark, now=now)
    passwords = _passwords(adapters, forests)
    roles, reach = _roles(adapters, subjects, authn, terms), Reach(forests=forests, now=now)
    return Services(
        store=store,
        clock=adapters.clock,
        forests=forests,
        authn=authn,
        sessions=Sessions(store=store, now=now),
        requests=Requests(store=store, priv=priv, caps=caps, random=random, now=now),
        reach=reach,
        roles=roles,
        profiles=Profiles(store=store, forests=forests),
        accounts=_accounts(adapters, corp, priv, caps, preparation),
        switches=Switches(store=store, now=now),
        factors=factors,
        security_keys=security_keys,
        audit=audit,
        probes=Probes(prober=adapters.prober, forests=forests),
        reports=Reports(store=store, now=now),
        oversight=_oversight(adapters, forests, subjects, reach, roles, authn, terms),
        measures=_measures(adapters),
        grants=_grants(adapters, forests, recovery, terms.party, jitter),
        links=Links(store=store, corp=corp, now=now, jitter=jitter),
        upkeep=Upkeep(store=store, audit=audit, sinks=adapters.sinks, now=now, jitter=jitter),
        recovery=recovery,
        reconcile=Reconcile(store=store, corp=corp, priv=priv, caps=caps, now=now, jitter=jitter),
        nodes=Nodes(store=store, me=adapters.me, gone=adapters.gone, now=now),
        logs=NodeLogs(store=store, me=adapters.me, files=adapters.journal, random=random, now=now),
        tracing=Tracing(store=store, tracer=tracer, now=now),
        tracer=tracer,
        management_agents=spaces.management_agents,
        imports=spaces.imports,
        spaces=spaces.spaces,
        break_glass=_break_glass(adapters),
        monitoring=_monitoring(adapters, forests, jitter),
        passwords=passwords,
        notifications=_notifications(adapters, forests, jitter),
        alerts=_alerts(adapters, audit, subjects, passwords, jitter),
        intake=_intake(adapters, forests, jitter),
        reset=_reset(adapters, forests, passwords, terms.party, jitter),
        help_desk=_help_desk(adapters, forests, passwords, factors, jitter),
    )


def _roles(adapters: Adapters, subjects: Subjects, authn: Authenticator, terms: _Terms) -> Roles:
    return Roles(
        store=adapters.store,
        subjects=subjects,
        random=adapters.random,
        now=adapters.clock.now,
        party=terms.party,
        administers=authn.administers,
        four_eyes=terms.four_eyes,
    )


def _oversight(
    adapters: Adapters,
    forests: Mapping[Forest, Directory],
    subjects: Subjects,
    reach: Reach,
    roles: Roles,
    authn: Authenticator,
    terms: _Terms,
) -> Oversight:
    return assemble_oversight(
        adapters.oversight,
        store=adapters.store,
        forests=forests,
        subjects=subjects,
        reach=reach,
        roles=roles,
        signer=adapters.signer,
        random=adapters.random,
        now=adapters.clock.now,
        administrators=authn.administrators,
        four_eyes=terms.four_eyes,
    )


def _grants(
    adapters: Adapters,
    forests: Mapping[Forest, Directory],
    recovery: Recovery,
    party: RelyingParty | None,
    jitter: Callable[[], float],
) -> Grants:
    priv = forests[Forest.PRIV]
    return Grants(
        store=adapters.store,
        corp=forests.get(Forest.CORP, priv),
        priv=priv,
        votes=SignedVotes(sealer=adapters.sealer, party=party, forests=tuple(forests.values())),
        recovery=recovery,
        now=adapters.clock.now,
        jitter=jitter,
    )


def _tracer(adapters: Adapters) -> Tracer:
    me = adapters.me
    return Tracer(
        node="" if me is None else me.name,
        partition="" if me is None else me.partition,
        random=adapters.random,
        now=adapters.clock.now,
        monotonic=adapters.clock.monotonic,
    )


def _traced(adapters: Adapters, tracer: Tracer) -> Adapters:
    """What the steps of a traced operation are: calls of the directories, the store, the preparer and connected systems."""
    realms = {
        forest: replace(realm, directory=port(realm.directory, f"directory.{forest.value}", tracer))
        for forest, realm in adapters.realms.items()
    }
    return replace(
        adapters,
        store=port(adapters.store, "store", tracer),
        realms=realms,
        preparer=None if adapters.preparer is None else port(adapters.preparer, "preparer", tracer),
        systems=None if adapters.systems is None else port(adapters.systems, "systems", tracer),
    )


def _break_glass(adapters: Adapters) -> BreakGlass:
    return assemble_break_glass(
        adapters.break_glass,
        store=adapters.store,
        hasher=adapters.hasher,
        random=adapters.random,
        now=adapters.clock.now,
    )


def _authenticator(adapters: Adapters, session_life: timedelta) -> Authenticator:
    return Authenticator(
        realms=adapters.realms,
        rights=adapters.rights,
        acceptor=adapters.acceptor,
        tokens=adapters.tokens,
        store=adapters.store,
        random=adapters.random,
        session_life=session_life,
        now=adapters.clock.now,
    )


def _measures(adapters: Adapters) -> Measures:
    return Measures(
        store=adapters.store,
        sinks=adapters.sinks,
        token=adapters.metrics_token,
        passwords=adapters.passwords is not None,
        destinations=() if adapters.alerts is None else tuple(one.name for one in adapters.alerts.outlets),
        resets=adapters.reset is not None,
        sources=() if adapters.intake is None else tuple(one.name for one in adapters.intake.sources),
        now=adapters.clock.now,
    )


def _accounts(
    adapters: Adapters, corp: Directory, priv: Directory, caps: Caps, preparation: Preparation
) -> Accounts:
    return Accounts(
        store=adapters.store,
        corp=corp,
        priv=priv,
        preparer=adapters.preparer,
        preparation=preparation,
        caps=caps,
        random=adapters.random,
        now=adapters.clock.now,
    )


def _second_factors(
    adapters: Adapters, subjects: Subjects, party: RelyingParty | None, preparation: Preparation
) -> tuple[Factors, SecurityKeys]:
    """One rule admits both."""
    store, random, now = adapters.store, adapters.random, adapters.clock.now
    admission = Admission(
        store=store, hasher=adapters.hasher, now=now, single_forest=preparation.single_forest
    )
    factors = Factors(
        store=store,
        subjects=subjects,
        admission=admission,
        sealer=adapters.sealer,
        hasher=adapters.hasher,
        random=random,
        now=now,
    )
    keys = SecurityKeys(
        store=store, admission=admission, sealer=adapters.sealer, random=random, now=now, party=party
    )
    return factors, keys


def _spaces(adapters: Adapters, jitter: Callable[[], float]) -> SpaceServices:
    return assemble_spaces(
        store=adapters.store,
        systems=adapters.systems,
        sealer=adapters.sealer,
        random=adapters.random,
        now=adapters.clock.now,
        jitter=jitter,
        source_domains=adapters.source_domains,
    )


def _notifications(
    adapters: Adapters, forests: Mapping[Forest, Directory], jitter: Callable[[], float]
) -> Notifications | None:
    if adapters.notifications is None:
        return None
    return assemble_notifications(
        adapters.notifications,
        store=adapters.store,
        forests=forests,
        random=adapters.random,
        now=adapters.clock.now,
        jitter=jitter,
    )


def _monitoring(
    adapters: Adapters, forests: Mapping[Forest, Directory], jitter: Callable[[], float]
) -> Monitoring | None:
    if adapters.monitoring is None:
        return None
    return assemble_monitoring(
        adapters.monitoring,
        store=adapters.store,
        forests=forests,
        now=adapters.clock.now,
        monotonic=adapters.clock.monotonic,
        jitter=jitter,
    )


def _alerts(
    adapters: Adapters,
    audit: Audit,
    subjects: Subjects,
    passwords: Passwords | None,
    jitter: Callable[[], float],
) -> AlertServices | None:
    if adapters.alerts is None:
        return None
    return assemble_alerts(
        adapters.alerts,
        store=adapters.store,
        audit=audit,
        subjects=subjects,
        coverage=None if passwords is None else passwords.coverage,
        random=adapters.random,
        now=adapters.clock.now,
        jitter=jitter,
    )


def _help_desk(
    adapters: Adapters,
    forests: Mapping[Forest, Directory],
    passwords: Passwords | None,
    factors: Factors,
    jitter: Callable[[], float],
) -> HelpDesk | None:
    if adapters.help_desk is None or passwords is None:
        return None
    return assemble_help_desk(
        adapters.help_desk,
        store=adapters.store,
        forests=forests,
        policies=adapters.policies,
        reset=adapters.reset,
        passwords=passwords,
        factors=factors,
        notifications=adapters.notifications,
        hasher=adapters.hasher,
        sealer=adapters.sealer,
        random=adapters.random,
        now=adapters.clock.now,
        jitter=jitter,
    )


def _reset(
    adapters: Adapters,
    forests: Mapping[Forest, Directory],
    passwords: Passwords | None,
    party: RelyingParty | None,
    jitter: Callable[[], float],
) -> ResetServices | None:
    if adapters.reset is None or passwords is None:
        return None
    return assemble_reset(
        adapters.reset,
        store=adapters.store,
        forests=forests,
        passwords=passwords,
        checker=adapters.realms.get(Forest.CORP, adapters.realms[Forest.PRIV]).passwords,
        sealer=adapters.sealer,
        hasher=adapters.hasher,
        random=adapters.random,
        party=party,
        now=adapters.clock.now,
        jitter=jitter,
    )


def _intake(
    adapters: Adapters, forests: Mapping[Forest, Directory], jitter: Callable[[], float]
) -> IntakeServices | None:
    if adapters.intake is None:
        return None
    return assemble_intake(
        adapters.intake, store=adapters.store, forests=forests, now=adapters.clock.now, jitter=jitter
    )


def _passwords(adapters: Adapters, forests: Mapping[Forest, Directory]) -> Passwords | None:
    if adapters.passwords is None:
        return None
    return assemble_passwords(
        adapters.passwords,
        store=adapters.store,
        systems=adapters.systems,
        sealer=adapters.sealer,
        random=adapters.random,
        now=adapters.clock.now,
        orders=order_rules(
            adapters.help_desk,
            store=adapters.store,
            forests=forests,
            reset=adapters.reset,
            now=adapters.clock.now,
        ),
    )
