"""The composition root: adapters and settings in, use cases out. Nothing else constructs an adapter."""

import random as chance
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bastide.authn import Authenticator, Realm, Rights
from bastide.clock import Clock
from bastide.domain.people import Forest
from bastide.services.accounts import Accounts, Preparation
from bastide.services.audit import Audit
from bastide.services.caps import Caps
from bastide.services.factors import Factors
from bastide.services.grants import Grants
from bastide.services.links import Links
from bastide.services.passwords.imports import Imports
from bastide.services.passwords.management_agents import ManagementAgents
from bastide.services.passwords.ports import ConnectedSystems
from bastide.services.passwords.spaces import Spaces
from bastide.services.people import Subjects
from bastide.services.ports import (
    AuditSink,
    CodeHasher,
    Directory,
    Preparer,
    Prober,
    Random,
    Sealer,
    Signer,
    Store,
)
from bastide.services.probes import Probes
from bastide.services.profiles import Profiles
from bastide.services.requests import Requests
from bastide.services.roles import Roles
from bastide.services.signin import Acceptor
from bastide.services.upkeep import Upkeep
from bastide.wiring.passwords import PasswordAdapters, Passwords, assemble_passwords
from bastide.wiring.spaces import SpaceServices, assemble_spaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Everything that touches the outside."""

    store: Store
    realms: Mapping[Forest, Realm]
    preparer: Preparer | None
    prober: Prober | None = None
    acceptor: Acceptor | None
    rights: Rights
    sealer: Sealer
    signer: Signer
    hasher: CodeHasher
    random: Random
    sinks: Sequence[AuditSink]
    clock: Clock
    systems: ConnectedSystems | None = None
    #: DNS names in lower case of the domains that can be asked who their controllers are. None: nothing comes in from the network here.
    source_domains: frozenset[str] | None = None
    passwords: PasswordAdapters | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All use cases of one node."""

    store: Store
    clock: Clock
    forests: Mapping[Forest, Directory]
    authn: Authenticator
    requests: Requests
    roles: Roles
    profiles: Profiles
    accounts: Accounts
    factors: Factors
    audit: Audit
    probes: Probes
    grants: Grants
    links: Links
    upkeep: Upkeep
    management_agents: ManagementAgents
    imports: Imports
    spaces: Spaces
    #: None: bastide.toml has no section [passwords].
    passwords: Passwords | None


def assemble(
    adapters: Adapters, preparation: Preparation, *, session_life: timedelta = timedelta(minutes=15)
) -> Services:
    """Wire the use cases to these adapters."""
    now, store, random = adapters.clock.now, adapters.store, adapters.random
    forests = {forest: realm.directory for forest, realm in adapters.realms.items()}
    priv = forests[Forest.PRIV]
    corp = forests.get(Forest.CORP, priv)
    subjects = Subjects(forests, now)
    caps = Caps(preparer=adapters.preparer, priv=priv, now=now)
    audit = Audit(store=store, signer=adapters.signer, now=now)
    jitter = chance.Random().random  # noqa: S311  # spreads retries; no secret depends on it
    spaces = _spaces(adapters, jitter)
    return Services(
        store=store,
        clock=adapters.clock,
        forests=forests,
        authn=Authenticator(
            realms=adapters.realms,
            rights=adapters.rights,
            acceptor=adapters.acceptor,
            store=store,
            random=random,
            session_life=session_life,
            now=now,
        ),
        requests=Requests(store=store, priv=priv, caps=caps, random=random, now=now),
        roles=Roles(store=store, subjects=subjects, random=random, now=now),
        profiles=Profiles(store=store, forests=forests),
        accounts=Accounts(
            store=store,
            corp=corp,
            priv=priv,
            preparer=adapters.preparer,
            preparation=preparation,
            caps=caps,
            random=random,
            now=now,
        ),
        factors=Factors(
            single_forest=preparation.single_forest,
            store=store,
            subjects=subjects,
            sealer=adapters.sealer,
            hasher=adapters.hasher,
            random=random,
            now=now,
        ),
        audit=audit,
        probes=Probes(prober=adapters.prober),
        grants=Grants(store=store, corp=corp, priv=priv, now=now, jitter=jitter),
        links=Links(store=store, corp=corp, now=now, jitter=jitter),
        upkeep=Upkeep(store=store, audit=audit, sinks=adapters.sinks, now=now, jitter=jitter),
        management_agents=spaces.management_agents,
        imports=spaces.imports,
        spaces=spaces.spaces,
        passwords=_passwords(adapters),
    )


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


def _passwords(adapters: Adapters) -> Passwords | None:
    if adapters.passwords is None:
        return None
    return assemble_passwords(
        adapters.passwords,
        store=adapters.store,
        systems=adapters.systems,
        sealer=adapters.sealer,
        random=adapters.random,
        now=adapters.clock.now,
    )
