"""A whole Bastide in memory: two forests, SQLite, the real use cases and the real runner, under a clock that the test moves."""

import hashlib
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bastide.authn import Realm, RightsTable
from bastide.directory.memory import MemoryDirectory, MemoryPreparer
from bastide.directory.memory_census import MemoryCensus
from bastide.directory.memory_forest import MemoryForest
from bastide.domain.errors import NotAuthenticated, StoreError
from bastide.domain.ids import RoleId, Sid
from bastide.domain.people import Actor, Forest, MfaProof, PamUser, Right
from bastide.domain.policy import Draft
from bastide.domain.requests import Decision, Request, State
from bastide.domain.roles import Carrier, PamGroup, Role, Scope
from bastide.services.accounts import Preparation
from bastide.services.measures import digest
from bastide.services.ports import AuditQuery
from bastide.services.roles import RoleDraft, StageDraft
from bastide.services.signin import Accepted
from bastide.store.unit_of_work import SqlStore
from bastide.targets.memory import MemorySystems
from bastide.wiring import Adapters, Services, assemble
from bastide.wiring.oversight import OversightAdapters
from bastide.workers import jobs
from bastide.workers.runner import Runner

#: Where people find this Bastide.
ADDRESS = "https://bastide.priv.bastide.test:8443"
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)  # a Friday
EVERYBODY = frozenset(Right)

#: What monitoring shows.
MONITORING = "m" * 32


class TestClock:
    """Stands still until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def move(self, **span: float) -> None:
        self.moment += timedelta(**span)


class SeededRandom:
    """The same chance in every run."""

    def __init__(self) -> None:
        self._chance = random.Random(20261121)

    def uuid(self) -> str:
        raw = self._chance.randbytes(16).hex()
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"

    def token(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def password(self, length: int) -> str:
        return ("aA1!" + self._chance.randbytes(length).hex())[:length]


class BoundSealer:
    """Not secret, but it does refuse what belongs to another row. The real one has tests of its own."""

    def seal(self, plain: bytes, context: str) -> bytes:
        return hashlib.sha256(context.encode()).digest() + plain[::-1]

    def open(self, sealed: bytes, context: str) -> bytes:
        if sealed[:32] != hashlib.sha256(context.encode()).digest():
            raise StoreError("sealed for another row")
        return sealed[:31:-1]


class HashSigner:
    """A signature that only this object makes."""

    key_id = "test"

    def __init__(self, secret: bytes = b"test") -> None:
        self._secret = secret

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha256(self._secret + message).digest()

    def verify(self, key_id: str, message: bytes, signature: bytes) -> bool:
        return key_id == self.key_id and self.sign(message) == signature


class QuickHasher:
    """Argon2 takes its time on purpose; tests do not."""

    def hash(self, code: str) -> str:
        return hashlib.sha256(code.encode()).hexdigest()

    def matches(self, hashed: str, code: str) -> bool:
        return hashed == self.hash(code)


class ForestPasswords:
    """Checks passwords against a forest in memory."""

    def __init__(self, forest: MemoryForest) -> None:
        self._forest = forest

    def check(self, name: str, password: str) -> int:
        return self._forest.verify_password(name, password).rid


class NamedTicket:
    """A SPNEGO token is the principal's name: a ticket without the cryptography."""

    def __init__(self, *forests: MemoryForest) -> None:
        self._forests = {forest.dns_name.upper(): forest for forest in forests}

    def accept(self, token: bytes) -> Accepted:
        name, _, realm = token.decode().partition("@")
        if realm not in self._forests:
            raise NotAuthenticated("no ticket")
        person = MemoryDirectory(self._forests[realm]).find_person(name)
        return Accepted(token.decode(), realm, person.ref.sid.rid, b"mutual")


class World:
    """Alice may become a file administrator of CORP; Grace and Heidi approve; Dave administers; Frank audits."""

    def __init__(
        self,
        *,
        url: str = "sqlite://",
        priv_controllers: tuple[str, ...] = ("privdc",),
        corp_controllers: tuple[str, ...] = ("corpdc",),
        followers: Mapping[str, timedelta] | None = None,
        address: str = ADDRESS,
        beside: "World | None" = None,
        priv_domain: str = "",
    ) -> None:
        """`beside`: another Bastide with a PRIV forest of its own, for the same CORP."""
        self.clock: TestClock = TestClock() if beside is None else beside.clock
        self.priv = MemoryForest(
            Forest.PRIV, self.clock.now, controllers=priv_controllers, dns_name=priv_domain
        )
        self.store = SqlStore(url, followers=followers)
        self.systems = MemorySystems()
        if beside is None:
            self.corp = MemoryForest(Forest.CORP, self.clock.now, controllers=corp_controllers)
            self.share = self.corp.add_group("FileAdmins", scope=Scope.DOMAIN_LOCAL)
            self.other_share = self.corp.add_group("DbAdmins", scope=Scope.DOMAIN_LOCAL)
            for name in ("alice", "bob", "mallory"):
                self.corp.add_person(name, password=f"{name}-corp-pw")
        else:
            self.corp, self.share, self.other_share = beside.corp, beside.share, beside.other_share
        people = {
            n: self.priv.add_person(n, password=f"{n}-priv-pw")
            for n in ("dave", "frank", "grace", "heidi", "ivan")
        }
        teams = {
            "Administrators": ("dave",),
            "Auditors": ("frank",),
            "Approvers": ("grace", "heidi", "ivan"),
            "Team Network": ("ivan",),
        }
        self.teams = {
            t: self.priv.add_group(t, members=[people[n].ref.sid for n in names])
            for t, names in teams.items()
        }
        self.adapters = self._adapters()
        self.services: Services = assemble(self.adapters, self._preparation(), address=address)
        self.runner = self.new_runner()
        self.dave = self.sign_in("dave")
        self.frank = self.sign_in("frank")

    def _adapters(self) -> Adapters:
        realms = {
            world.forest: Realm(
                world.forest, world.dns_name.upper(), MemoryDirectory(world), ForestPasswords(world)
            )
            for world in (self.priv, self.corp)
        }
        sids = {name: frozenset({team.ref.sid}) for name, team in self.teams.items()}
        return Adapters(
            store=self.store,
            realms=realms,
            preparer=MemoryPreparer(self.priv),
            acceptor=NamedTicket(self.priv, self.corp),
            rights=RightsTable(sids["Administrators"], sids["Auditors"], sids["Approvers"]),
            sealer=BoundSealer(),
            signer=HashSigner(),
            hasher=QuickHasher(),
            random=SeededRandom(),
            sinks=(),
            clock=self.clock,
            systems=self.systems,
            oversight=OversightAdapters({one.dns_name: MemoryCensus(one) for one in (self.priv, self.corp)}),
            metrics_token=digest(MONITORING),
        )

    @staticmethod
    def _preparation() -> Preparation:
        return Preparation(
            users_container="OU=Users,OU=PAM",
            groups_container="OU=Groups,OU=PAM",
            upn_suffix="priv.bastide.test",
        )

    def new_runner(self, owner: str = "node-1") -> Runner:
        """As after a restart of the process."""
        return Runner(store=self.store, jobs=jobs.table(self.services), owner=owner, clock=self.clock)

    def close(self) -> None:
        self.store.close()

    # ------------------------------------------------------------------------------------------------------------ people

    def sign_in(self, name: str, forest: Forest = Forest.PRIV, *, mfa: bool = False) -> Actor:
        """With a ticket; `mfa`: a fresh second factor was shown."""
        world = self.corp if forest is Forest.CORP else self.priv
        actor, _ = self.services.authn.negotiate(f"{name}@{world.dns_name.upper()}".encode())
        return self.with_mfa(actor) if mfa else actor

    def with_mfa(self, actor: Actor) -> Actor:
        fields = {name: getattr(actor, name) for name in Actor.__slots__}
        return Actor(**fields | {"mfa": MfaProof("totp", "test", self.clock.now())})

    def alice(self) -> Actor:
        """With the CORP account and a fresh second factor: the PRIV account sleeps."""
        return self.sign_in("alice", Forest.CORP, mfa=True)

    # ----------------------------------------------------------------------------------------------------------- prepare

    def prepare(self, *names: str, kept_alive: bool = False) -> tuple[PamUser, ...]:
        return tuple(
            self.services.accounts.add_user(self.dave, name, kept_alive=kept_alive) for name in names
        )

    def prepare_group(self, name: str = "FileAdmins", **options: Any) -> PamGroup:
        return self.services.accounts.add_group(self.dave, name, Carrier.FOREIGN_PRINCIPAL, **options)

    def add_role(
        self,
        name: str = "File administrators",
        *,
        privileges: tuple[str, ...] = ("PAM-FileAdmins",),
        candidates: tuple[str, ...] = ("CORP\\alice",),
        stages: tuple[StageDraft, ...] = (),
        **settings: Any,
    ) -> Role:
        blank = Role(id=RoleId(""), name=name, privileges=(), candidates=(), created_at=START, **settings)
        return self.services.roles.add(self.dave, RoleDraft(blank, privileges, candidates, stages)).role

    def ready(self, **settings: Any) -> Role:
        """Alice, one group, one role without approval."""
        self.prepare("alice")
        self.prepare_group()
        return self.add_role(**settings)

    # ----------------------------------------------------------------------------------------------------------- operate

    def ask(self, role: str = "File administrators", actor: Actor | None = None, **draft: Any) -> Request:
        draft = {"justification": "patch the server", **draft}
        return self.services.requests.submit(actor or self.alice(), role, Draft(**draft))

    def approve(self, request: Request, name: str = "grace") -> Request:
        return self.services.requests.decide(self.sign_in(name, mfa=True), request.id, Decision.APPROVE)

    def work(self) -> None:
        """Let the worker do what is due, a moment at a time, until it settles (or 30 s have gone by)."""
        for _ in range(300):
            self.runner.run_due()
            if not any(r.state in {State.PROCESSING, State.CLOSING} for r in self.open()):
                return
            self.clock.move(milliseconds=100)

    def open(self) -> tuple[Request, ...]:
        with self.store.read() as uow:
            return uow.requests.in_states(frozenset(State) - {State.CLOSED})

    def get(self, request: Request) -> Request:
        with self.store.read() as uow:
            return uow.requests.get(request.id)

    # --------------------------------------------------------------------------------------------------------- the truth

    def opens_share(self, user: PamUser, group: Sid | None = None, *, at: str = "") -> bool:
        """Whether a ticket bought now at PRIV opens the CORP share."""
        now = self.clock.now()
        if not self.priv.can_buy_ticket(user.priv.sid, now, at=at):
            return False
        ticket = self.priv.buy_ticket(user.priv.sid, now, at=at)
        return self.corp.admits(ticket, group or self.share.ref.sid, now)

    def events(self, kind: str = "") -> list[str]:
        with self.store.read() as uow:
            return [record.kind for record in uow.audit.read(AuditQuery(kind=kind, limit=0))]
