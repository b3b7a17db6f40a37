"""Fifty nodes on three sites over one database and two forests with a controller on each site: the product's own use cases and jobs, one wiring for each node."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bastide.authn import Realm, RightsTable
from bastide.directory.memory import MemoryPreparer
from bastide.domain import nodes
from bastide.domain.ids import RoleId, Sid
from bastide.domain.people import Actor, Forest, MfaProof, PamUser, Right
from bastide.domain.roles import Carrier, Role, Scope, Ttl
from bastide.services.accounts import Preparation
from bastide.services.nodes import Me
from bastide.services.pace import CHECKPOINT
from bastide.services.roles import RoleDraft, StageDraft
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import Adapters, Services, assemble
from bastide.workers import jobs
from bastide.workers.jobs import Job
from bastide.workers.runner import HeldLease, Runner
from tests.simulation.books import Books
from tests.simulation.database import Moods, SimulatedStore
from tests.simulation.forest import Network, SimulatedDirectory, SimulatedForest
from tests.simulation.universe import START, Turn, Universe, UniverseClock
from tests.support.world import BoundSealer, ForestPasswords, HashSigner, QuickHasher, SeededRandom

NODES = 50
SITES = ("north", "south", "west")
#: Of ten nodes one belongs to a partition of its own.
BRANCH_EVERY = 10
USERS = 24
BEAT = timedelta(seconds=10)
TTL = Ttl(timedelta(minutes=20), timedelta(minutes=10), timedelta(hours=2))
ROLES = ("Files", "Databases", "Mail")
#: The last role needs somebody's word, and its person a place in two groups.
APPROVED = "Mail"
APPROVER = "grace"


class SimulatedRunner(Runner):
    """One job at a time, as the simulation says. Leases are renewed by the simulation, in its time."""

    def job(self, kind: str) -> Job:
        return next(job for job in self._jobs if kind in job.kinds)

    def once(self, kind: str) -> int:
        return self._once(self.job(kind))

    @staticmethod
    @contextmanager
    def _renewing(_job: Job, _lease: HeldLease) -> Iterator[None]:
        yield


class SimulatedNode:
    """A host and the process that serves on it, if one does."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self._cluster = cluster
        self.name = f"node-{number}"
        self.site = SITES[number % len(SITES)]
        self.partition = "branch" if number % BRANCH_EVERY == BRANCH_EVERY - 1 else "default"
        self.clock = UniverseClock(cluster.universe)
        self.processes = 0
        self.lives = False
        self.paused = False
        #: It hears no wake-up until then.
        self.deaf_until = START
        self.turns: dict[str, Turn] = {}
        self.busy_until: dict[str, Any] = {}

    def start(self) -> None:
        """A new process; what the one before it knew is gone."""
        self.processes += 1
        me = Me(
            self.name,
            f"https://{self.name}.test",
            self.partition,
            "1",
            "1",
            f"process {self.processes}",
            BEAT,
        )
        self.store = SimulatedStore(
            self._cluster.origin,
            self._cluster.universe,
            self._cluster.books,
            self._cluster.moods,
            me,
            self.site,
        )
        # The host knows that the process before this one is over.
        adapters = replace(
            self._cluster.adapters, store=self.store, clock=self.clock, me=me, gone=lambda _process: True
        )
        self.services = assemble(adapters, PREPARATION)
        # Spreading retries is chance too.
        self.services.grants._jitter = self.services.links._jitter = self._cluster.universe.chance.random
        self.runner = SimulatedRunner(
            store=self.store,
            jobs=jobs.table(self.services),
            owner=nodes.owner(self.name, self.processes),
            clock=self.clock,
        )
        self.turns, self.busy_until = {}, {}
        self.lives, self.paused = True, False

    def free(self, kind: str) -> bool:
        now = self._cluster.universe.now
        return (
            self.lives
            and not self.paused
            and kind not in self.turns
            and self.busy_until.get(kind, now) <= now
            and self.deaf_until <= now
        )


PREPARATION = Preparation(
    users_container="OU=Users,OU=PAM", groups_container="OU=Groups,OU=PAM", upn_suffix="priv.bastide.test"
)


class Cluster:
    """Everything, at rest."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.network = Network()
        self.moods = Moods()
        self.primary = SITES[0]
        self.moods.reaches = lambda site: self.network.reaches(site, self.primary)
        self.priv = SimulatedForest(
            Forest.PRIV, universe, self.network, {f"privdc-{site}": site for site in SITES}
        )
        self.corp = SimulatedForest(
            Forest.CORP, universe, self.network, {f"corpdc-{site}": site for site in SITES}
        )
        self.origin = SqlStore("sqlite://", followers={CHECKPOINT: timedelta(minutes=10)})
        self.books = Books(universe, self.origin, self.priv, self.corp)
        self.books.dc_clocks = {name: UniverseClock(universe) for name, _ in self.priv.replicas().items()}
        self.adapters = self._adapters()
        self.services: Services = assemble(self.adapters, PREPARATION)
        self.nodes = [SimulatedNode(self, number) for number in range(NODES)]
        self._prepare()
        for node in self.nodes:
            node.start()
            node.services.nodes.join()

    def close(self) -> None:
        self.origin.close()

    def actor(self, name: str, forest: Forest, *rights: Right) -> Actor:
        """Signed in just now, with a second factor."""
        world = self.corp if forest is Forest.CORP else self.priv
        sid = self._sids[forest, name]
        proof = MfaProof("totp", "simulated", self.universe.now)
        return Actor(sid, f"{name}@{world.dns_name}", forest, frozenset(), frozenset(rights), "ticket", proof)

    def _adapters(self) -> Adapters:
        realms = {
            world.forest: Realm(
                world.forest, world.dns_name.upper(), SimulatedDirectory(world), ForestPasswords(world)
            )
            for world in (self.priv, self.corp)
        }
        nobody: frozenset[Sid] = frozenset()
        return Adapters(
            store=self.origin,
            realms=realms,
            preparer=MemoryPreparer(self.priv),
            acceptor=None,
            rights=RightsTable(nobody, nobody, nobody),
            sealer=BoundSealer(),
            signer=HashSigner(),
            hasher=QuickHasher(),
            random=SeededRandom(),
            sinks=(),
            clock=UniverseClock(self.universe),
        )

    def _prepare(self) -> None:
        people = [f"person{number}" for number in range(USERS)]
        self._sids = {(Forest.CORP, name): self.corp.add_person(name).ref.sid for name in people}
        self._sids |= {(Forest.PRIV, name): self.priv.add_person(name).ref.sid for name in ("dave", APPROVER)}
        admin = self.actor("dave", Forest.PRIV, *Right)
        users = [self.services.accounts.add_user(admin, name) for name in people]
        self.people: dict[str, PamUser] = dict(zip(people, users, strict=True))
        for role in ROLES:
            self.corp.add_group(role, scope=Scope.DOMAIN_LOCAL)
            group = self.services.accounts.add_group(admin, role, Carrier.FOREIGN_PRINCIPAL)
            self.books.groups[group.id] = group
        for role in ROLES:
            self._add_role(admin, role, people)
        self.books.users = {user.id: user for user in users}
        self.books.cap = users[0].ticket_cap

    def _add_role(self, admin: Actor, name: str, people: Sequence[str]) -> None:
        approved = name == APPROVED
        groups = tuple(f"PAM-{role}" for role in (ROLES if approved else (name,)))
        stages = (StageDraft("owners", (f"PRIV\\{APPROVER}",)),) if approved else ()
        blank = Role(
            id=RoleId(""), name=name, privileges=(), candidates=(), created_at=START, ttl=TTL,
            extension=not approved, pending_life=timedelta(hours=1),
        )  # fmt: skip
        candidates = tuple(f"CORP\\{one}" for one in people)
        self.services.roles.add(admin, RoleDraft(blank, groups, candidates, stages))
