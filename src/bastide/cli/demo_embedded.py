"""Both jobs on two forests in memory and SQLite in a temporary directory; use cases, workers, second factors and audit are the real ones.

Time is the machine's own, except that it jumps where a person would wait: for the next code of the authenticator, and for the end of a
grant, whose least length is 60 s. Every jump is printed.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyotp

from bastide.authn import Realm, RightsTable
from bastide.cli.console import Screen
from bastide.cli.demo_embedded_passwords import SecondAct, Synchronization
from bastide.cli.exits import Stop
from bastide.cli.text import when
from bastide.clock import Clock, SystemClock
from bastide.directory.memory import MemoryDirectory, MemoryPreparer
from bastide.directory.memory_census import MemoryCensus
from bastide.directory.memory_forest import MemoryForest
from bastide.domain.errors import NotAuthorized
from bastide.domain.ids import RoleId, Sid
from bastide.domain.people import Actor, Forest, PamUser, Right
from bastide.domain.policy import Draft
from bastide.domain.requests import Decision, Request, State
from bastide.domain.roles import Carrier, Role, Scope, Ttl
from bastide.services.accounts import Preparation
from bastide.services.audit import Wanted
from bastide.services.roles import RoleDraft, StageDraft
from bastide.services.signin import Accepted
from bastide.store import keys, migrations
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import Adapters, Services, assemble
from bastide.wiring.oversight import OversightAdapters
from bastide.workers import jobs
from bastide.workers.runner import Runner

ROLE = "File administrator"
LENGTH = timedelta(minutes=5)
_PATIENCE = 10.0
_TICK = 0.005


class JumpingClock:
    """The machine's clock, and what was jumped."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return self._base.now() + self._ahead

    def monotonic(self) -> float:
        return self._base.monotonic() + self._ahead.total_seconds()

    def jump(self, span: timedelta) -> None:
        self._ahead += span


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the time-line. `seconds` is real time, without jumps."""

    text: str
    seconds: float
    outcome: str


class Timeline:
    """Measures each step and prints it when it is done."""

    def __init__(self, screen: Screen | None, clock: Clock) -> None:
        self.steps: list[Step] = []
        self._screen = screen
        self._clock = clock

    def do(self, text: str, action: Callable[[], str]) -> None:
        """Run a step; what it returns is its outcome."""
        started = self._clock.monotonic()
        outcome = action()
        step = Step(text, round(self._clock.monotonic() - started, 4), outcome)
        self.steps.append(step)
        if self._screen is not None:
            self._screen.line(f"{step.seconds * 1000:8.1f} ms  {text}")
            for line in outcome.splitlines():
                self._screen.line(f"             {line}", "green")

    def say(self, text: str) -> None:
        if self._screen is not None:
            self._screen.line(f"             {text}", "dim")


def play(screen: Screen | None) -> list[dict[str, object]]:
    """Play it; prints to the screen where there is one. Raises Stop if a step does not go as it must."""
    clock = JumpingClock(SystemClock())
    with tempfile.TemporaryDirectory(prefix="bastide-demo-") as directory:
        timeline = Timeline(screen, SystemClock())
        timeline.say(
            "Two forests in memory, SQLite in a temporary directory. The clock jumps where a person would wait."
        )
        with _stage(Path(directory), clock) as stage:
            Play(stage, timeline).all()
    return [{"step": step.text, "seconds": step.seconds, "outcome": step.outcome} for step in timeline.steps]


class StandInTickets:
    """A SPNEGO token is the principal's name: a ticket of PRIV without the cryptography."""

    def __init__(self, forest: MemoryForest) -> None:
        self._forest = forest

    def accept(self, token: bytes) -> Accepted:
        principal = token.decode()
        name, _, realm = principal.partition("@")
        person = MemoryDirectory(self._forest).find_person(name)
        return Accepted(principal, realm, person.ref.sid.rid, b"")


@dataclass(frozen=True, slots=True)
class Stage:
    """What the play needs: the service, the forests behind it, and the clock."""

    services: Services
    runner: Runner
    corp: MemoryForest
    priv: MemoryForest
    clock: JumpingClock
    sync: Synchronization

    def act(self, name: str, right: Right, forest: Forest = Forest.PRIV) -> Actor:
        """Sign in as the API does, from CORP with the password and from PRIV with a ticket. Raises Stop if the right is not there."""
        authn = self.services.authn
        if forest is Forest.CORP:
            actor = authn.password(f"CORP\\{name}", _password(name))
        else:
            actor, _ = authn.negotiate(f"{name}@{self.priv.dns_name.upper()}".encode())
        if right not in actor.rights | actor.withheld:
            raise Stop(f"{name} has not the right to {right.value}")
        return actor


class Play:
    """The main job, scene by scene."""

    def __init__(self, stage: Stage, timeline: Timeline) -> None:
        self._s = stage
        self._t = timeline
        self._secrets: dict[str, str] = {}

    def all(self) -> None:
        do = self._t.do
        do("an administrator prepares alice, the group FileAdmins and a role", self.prepare)
        do("alice and grace set up their authenticators", self.set_up_factors)
        do("alice tries the share before she asked", self.refused_before)
        do("alice asks, with her CORP password alone", self.ask_without_factor)
        do("alice asks, with her CORP password and a code", self.ask)
        do("alice tries to approve her own request", self.approve_own)
        do("grace approves, with a code", self.approve)
        do("the worker opens the access and reads it back", self.opened)
        do("alice opens the share with a fresh ticket for her PRIV account", self.use)
        do("the grant ends", self.ended)
        do("alice tries the share with a fresh ticket", self.refused_after)
        do("alice tries with the ticket she kept", self.kept_ticket)
        two = SecondAct(
            self._s.sync,
            self._s.services,
            lambda: self._s.act("adm.dave", Right.ADMINISTER),
            self._s.clock.now,
        )
        self._t.say("Second act: one password for every system. They are in memory too.")
        do("an administrator connects three systems, and imports who is there", two.connect)
        do("an administrator switches synchronization on", two.enable)
        do("bob changes the password once, in CORP", two.change)
        do("who can still read bob's password?", two.erased)
        do("an administrator asks what became of it", two.explain)
        do("the service signs the end of the audit, as it does by itself every few minutes", self.sign)
        do("an auditor verifies the audit of both acts", self.verify)

    # ---------------------------------------------------------------------------------------------------------- scenes

    def prepare(self) -> str:
        s, dave = self._s.services, self._s.act("adm.dave", Right.ADMINISTER)
        user = s.accounts.add_user(dave, "alice")
        s.accounts.set_password(dave, user.name, _password(user.name))
        group = s.accounts.add_group(dave, "FileAdmins", Carrier.FOREIGN_PRINCIPAL)
        settings = Role(
            id=RoleId(""),
            name=ROLE,
            privileges=(),
            candidates=(),
            created_at=self._s.clock.now(),
            ttl=Ttl(default=LENGTH),
        )
        stage = StageDraft("approval", ("PRIV\\apr.grace", "CORP\\alice"))
        s.roles.add(dave, RoleDraft(settings, (group.name,), ("CORP\\alice",), (stage,)))
        cap = int(user.ticket_cap.total_seconds() / 60)
        return f"{user.name} is dormant, its tickets live {cap} minutes at most; {ROLE!r} needs an approval by grace or alice"

    def set_up_factors(self) -> str:
        s = self._s.services
        invitation = s.factors.invite(self._s.act("adm.dave", Right.ADMINISTER), "priv.alice")
        people = (
            ("alice", self._s.act("alice", Right.USE, Forest.CORP), invitation),
            ("apr.grace", self._s.act("apr.grace", Right.APPROVE), ""),
        )
        for name, actor, invited in people:
            enrolment = s.factors.enrol(actor, invited)
            self._secrets[name] = parse_qs(urlsplit(enrolment.uri).query)["secret"][0]
            s.factors.confirm(actor, self._code(name))
        return "alice by an invitation, because a CORP password alone must not be enough; grace from PRIV"

    def refused_before(self) -> str:
        self._must_refuse(self._opens_share())
        return "refused: her PRIV account is dormant and buys no ticket"

    def ask_without_factor(self) -> str:
        request = self._ask(self._s.act("alice", Right.USE, Forest.CORP))
        if request.state is not State.PENDING_MFA:
            raise Stop(f"the request is {request.state.value}")
        self._s.services.requests.close(self._s.act("alice", Right.USE, Forest.CORP), request.id)
        return "it goes nowhere without a second factor; she withdraws it"

    def ask(self) -> str:
        request = self._ask(self._with_code("alice", Right.USE, Forest.CORP))
        return f"the request is {request.state.value}"

    def approve_own(self) -> str:
        try:
            self._s.services.requests.decide(
                self._with_code("alice", Right.APPROVE, Forest.CORP), self._request().id, Decision.APPROVE
            )
        except NotAuthorized as refusal:
            return f"refused, though she is an approver: {refusal.message}"
        raise Stop("alice approved her own request")

    def approve(self) -> str:
        grace = self._with_code("apr.grace", Right.APPROVE)
        request = self._s.services.requests.decide(grace, self._request().id, Decision.APPROVE, "agreed")
        return f"the request is {request.state.value}"

    def opened(self) -> str:
        request = self._until(State.ACTIVE)
        return f"Active until {when(request.ends_at)}; true end of access {when(request.true_end)}"

    def use(self) -> str:
        if not self._opens_share():
            raise Stop("the share did not open")
        return "the share opens"

    def ended(self) -> str:
        self._kept = self._s.priv.buy_ticket(self._alice().priv.sid, self._s.clock.now())
        self._jump(LENGTH + timedelta(seconds=1), "to the end of the grant")
        request = self._until(State.EXPIRED)
        return f"{request.state.value}: its absence was read back from every controller and from CORP"

    def refused_after(self) -> str:
        self._must_refuse(self._opens_share())
        return "refused"

    def kept_ticket(self) -> str:
        """The group is gone from CORP too, so even a ticket from before does not open; it may live until the true end, and no longer."""
        now, share = self._s.clock.now(), self._share()
        opens = self._s.corp.admits(self._kept, share, now)
        end = self._request().true_end
        self._jump((end or now) - now + timedelta(seconds=1), "past the true end of access")
        self._must_refuse(self._s.corp.admits(self._kept, share, self._s.clock.now()))
        before = "still opens" if opens else "refused already, because the link at CORP is gone"
        return f"{before}; after the true end ({when(end)}) nothing of it is left"

    def sign(self) -> str:
        checkpoint = self._s.services.audit.checkpoint()
        if checkpoint is None:
            raise Stop("there was nothing to sign")
        return f"record {checkpoint.seq} and all before it: none can be changed or left out unseen"

    def verify(self) -> str:
        frank = self._s.act("aud.frank", Right.AUDIT)
        verdict = self._s.services.audit.verify(frank)
        held = self._s.services.audit.who_had(frank, Wanted(person="priv.alice"))
        if not 0 < verdict.signed <= verdict.seq:
            raise Stop("the audit is not signed")
        spans = "; ".join(f"{h.person} had {h.group} until {when(h.until)}" for h in held)
        return f"whole: {verdict.seq} records, signed up to record {verdict.signed}. {spans}"

    # --------------------------------------------------------------------------------------------------------- helpers

    def _ask(self, actor: Actor) -> Request:
        return self._s.services.requests.submit(actor, ROLE, Draft(justification="restore a file, INC-42"))

    def _with_code(self, name: str, right: Right, forest: Forest = Forest.PRIV) -> Actor:
        """A code works once: go to the next one. Then sign in as the API does."""
        self._jump(timedelta(seconds=30), "to the next code of the authenticator")
        actor = self._s.act(name, right, forest)
        return actor.proved(self._s.services.factors.prove(actor, self._code(name)))

    def _code(self, name: str) -> str:
        return pyotp.TOTP(self._secrets[name]).at(self._s.clock.now())

    def _request(self) -> Request:
        alice = self._s.act("alice", Right.USE, Forest.CORP)
        requests = self._s.services.requests.mine(alice)
        return max(requests, key=lambda request: request.created_at)

    def _until(self, state: State) -> Request:
        """Wait for the workers, which run in threads as in the service. Raises Stop if it takes too long."""
        wait, base = self._s.services.store.wait, SystemClock()
        deadline = base.monotonic() + _PATIENCE
        while (request := self._request()).state is not state:
            if base.monotonic() > deadline:
                raise Stop(f"the request is still {request.state.value}")
            wait(_TICK)
        return request

    def _jump(self, span: timedelta, why: str) -> None:
        self._s.clock.jump(span)
        self._s.services.store.wake()
        self._t.say(f"(the clock jumps {int(span.total_seconds())} s, {why})")

    def _alice(self) -> PamUser:
        with self._s.services.store.read() as uow:
            return uow.users.by_name("priv.alice")

    def _share(self) -> Sid:
        return MemoryDirectory(self._s.corp).find_group("FileAdmins").ref.sid

    def _opens_share(self) -> bool:
        """With a ticket bought now at PRIV, at a share that only FileAdmins may read."""
        now, sid = self._s.clock.now(), self._alice().priv.sid
        if not self._s.priv.can_buy_ticket(sid, now):
            return False
        return self._s.corp.admits(self._s.priv.buy_ticket(sid, now), self._share(), now)

    @staticmethod
    def _must_refuse(opens: bool) -> None:
        if opens:
            raise Stop("the share opened, and must not have")


@contextmanager
def _stage(directory: Path, clock: JumpingClock) -> Iterator[Stage]:
    """Forests, people, database and workers; all of it gone at the end."""
    corp = MemoryForest(Forest.CORP, clock.now, controllers=("corpdc",))
    priv = MemoryForest(Forest.PRIV, clock.now, controllers=("privdc1", "privdc2"))
    corp.add_group("FileAdmins", scope=Scope.DOMAIN_LOCAL)
    alice = corp.add_person("alice", password=_password("alice"))
    leads = corp.add_group("Team Leads", members=[alice.ref.sid]).ref.sid
    teams = {"adm.dave": "Administrators", "aud.frank": "Auditors", "apr.grace": "Approvers"}
    sids = {}
    for name, team in teams.items():
        person = priv.add_person(name, password=_password(name))
        sids[team] = frozenset({priv.add_group(team, members=[person.ref.sid]).ref.sid})
    # Alice is an approver too, so that what stops her from approving her own request is the rule against it.
    sids["Approvers"] |= {leads}
    url = f"sqlite:///{directory / 'bastide.db'}"
    migrations.upgrade(url)
    with closing(SqlStore(url)) as store:
        adapters = _adapters(store, corp, priv, sids, clock, directory)
        sync = Synchronization(directory, corp, adapters.sealer, adapters.random)
        adapters = replace(adapters, systems=sync.systems, passwords=sync.adapters)
        services = assemble(adapters, _preparation())
        runner = Runner(store=store, jobs=jobs.table(services), owner="demo", clock=clock)
        services.upkeep.plant()
        runner.start()
        try:
            yield Stage(services, runner, corp, priv, clock, sync)
        finally:
            runner.stop()
            sync.close()


def _adapters(
    store: SqlStore,
    corp: MemoryForest,
    priv: MemoryForest,
    sids: Mapping[str, frozenset[Sid]],
    clock: JumpingClock,
    directory: Path,
) -> Adapters:
    """Only the directories are stand-ins: keys, hashes, randomness and database are those of the service."""
    keys.generate_key_files(directory)
    return Adapters(
        store=store,
        realms={
            world.forest: Realm(
                world.forest, world.dns_name.upper(), MemoryDirectory(world), Passwords(world)
            )
            for world in (priv, corp)
        },
        preparer=MemoryPreparer(priv),
        acceptor=StandInTickets(priv),
        rights=RightsTable(sids["Administrators"], sids["Auditors"], sids["Approvers"]),
        sealer=keys.load_sealer([directory / "master.key"]),
        signer=keys.load_signer(directory / "signing.key", []),
        hasher=keys.Argon2Hasher(),
        random=keys.SystemRandom(),
        sinks=(),
        clock=clock,
        oversight=OversightAdapters({one.dns_name.lower(): MemoryCensus(one) for one in (priv, corp)}),
    )


class Passwords:
    """Proves a password against a forest in memory."""

    def __init__(self, world: MemoryForest) -> None:
        self._world = world

    def check(self, name: str, password: str) -> int:
        """Raises NotAuthenticated."""
        return self._world.verify_password(name, password).rid


def _password(name: str) -> str:
    """Forests in memory have nothing to protect, and nothing of them is left afterwards."""
    return f"{name} in memory"


def _preparation() -> Preparation:
    return Preparation(
        users_container="OU=Users,OU=PAM Objects",
        groups_container="OU=Groups,OU=PAM Objects",
        upn_suffix="priv.bastide.test",
    )
