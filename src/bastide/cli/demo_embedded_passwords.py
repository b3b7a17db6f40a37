"""The second act of the embedded demo: one person changes the password once, and three systems in memory take it.

The controller and its agent are played here: what they send is what real ones send, an OpenPGP message to the server's certificate. Taking in, joins,
delivery, proof and explanation are those of the service.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pysequoia import Cert, encrypt

from bastide.audit.event_log import MemoryEventLog
from bastide.cli.exits import Stop
from bastide.clock import SystemClock
from bastide.directory.memory_forest import MemoryForest
from bastide.domain.management_agents import (
    Flow,
    ImportRules,
    JoinRule,
    MaId,
    ManagementAgent,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.people import Actor
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.management_agents import AgentDraft
from bastide.services.ports import Random, Sealer
from bastide.store.md4 import Md4NtHasher
from bastide.store.openpgp import PRIVATE, PUBLIC, generate_openpgp, load_opener
from bastide.store.vault import AesEnvelope, SqlVault
from bastide.targets.memory import KIND, MemorySystem, MemorySystems
from bastide.wire import Notification, Verdict, check_of, reference_of
from bastide.wiring import Services
from bastide.wiring.passwords import PasswordAdapters, Passwords

#: The names of the agents, and what bob is called there.
ACCOUNTS = {"openldap": "uid=bbaker,ou=people", "postgresql": "bob.baker", "mariadb": "baker_b"}
TARGETS = tuple(ACCOUNTS)
SOURCE, CONTROLLER = "corp", "corpdc"
PERSON, MAIL = "bob", "bob@corp.bastide.test"
OLD, NEW = "each system had its own", "One-For-All-7391"
_YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_INVOCATION = "7a3c1f58-0d3e-4c55-9a6b-5b0f6c1d2e90"
_USN = 4711
_PATIENCE = 10.0


class Synchronization:
    """What the service is given for it: systems in memory, the real vault, envelope and OpenPGP key."""

    def __init__(self, directory: Path, corp: MemoryForest, sealer: Sealer, random: Random) -> None:
        self.corp = corp
        self.sid = corp.add_person(PERSON, password=OLD).ref.sid
        self.guid = corp.account(self.sid).person.ref.guid
        self.systems = MemorySystems(**{name: MemorySystem() for name in (SOURCE, *TARGETS)})
        self.systems.systems[SOURCE].put(self.guid, dn="CN=bob,CN=Users", sAMAccountName=PERSON, mail=MAIL)
        for name, dn in ACCOUNTS.items():
            self.systems.systems[name].put(f"{name}-17", dn=dn, mail=MAIL, password=OLD)
        generate_openpgp(directory)
        self.certificate = Cert.from_bytes((directory / PUBLIC).read_bytes())
        self.vault = SqlVault("sqlite://", sealer)
        self.adapters = PasswordAdapters(
            vault=self.vault,
            envelope=AesEnvelope(random),
            opener=load_opener([directory / PRIVATE]),
            hasher=Md4NtHasher(),
            events=MemoryEventLog(),
        )

    def opens(self, name: str, password: str) -> bool:
        """Whether bob gets into a system with it."""
        return self.systems.systems[name].opens(f"{name}-17", password)

    def close(self) -> None:
        """The vault's key went with its memory."""
        self.vault.close()


class SecondAct:
    """Its scenes. `dave` signs the administrator in; `now` is the clock of the service."""

    def __init__(
        self,
        sync: Synchronization,
        services: Services,
        dave: Callable[[], Actor],
        now: Callable[[], datetime],
    ) -> None:
        self._sync = sync
        self._services = services
        self._dave = dave
        self._now = now

    @property
    def _passwords(self) -> Passwords:
        if self._services.passwords is None:
            raise Stop("there is no password synchronization here")
        return self._services.passwords

    def connect(self) -> str:
        """Targets first, because the source names them."""
        dave, agents = self._dave(), self._services.management_agents
        join = ImportRules(joins=(JoinRule((("mail", "mail"),)),))
        people = ImportRules(project="person", flows=(Flow("mail", "mail"),))
        source = PasswordSource(domain=self._sync.corp.dns_name)
        for name in TARGETS:
            agents.add(dave, AgentDraft(_agent(name, join)))
        agents.add(dave, AgentDraft(_agent(SOURCE, people, source), TARGETS))
        for name in (SOURCE, *TARGETS):
            self._services.imports.run_now(dave, name)
        found = [self._services.spaces.show(dave, dn, agent=name).object for name, dn in ACCOUNTS.items()]
        if len({one.mv for one in found}) > 1 or not found[0].mv:
            raise Stop("bob's accounts are not joined")
        return f"{', '.join(one.dn for one in found)} are one person, by {found[0].because}: mail = mail"

    def enable(self) -> str:
        dave = self._dave()
        for name in TARGETS:
            self._services.management_agents.switch(dave, name, target=True)
        self._services.management_agents.switch(dave, SOURCE, source=True)
        self._passwords.switchboard.enable(dave)
        return "off until somebody says so: targets, then the source, then all of it"

    def change(self) -> str:
        """In CORP; the agent on its controller tells the server, and workers do the rest."""
        clock = SystemClock()
        self._sync.corp.set_password(self._sync.sid, NEW)
        began = clock.monotonic()
        caller = Caller(
            self._sync.corp.dns_name, f"{CONTROLLER.upper()}$", f"{CONTROLLER}.{self._sync.corp.dns_name}"
        )
        told = self._passwords.accept.notification(caller, self._notification())
        if told.verdict is not Verdict.ACCEPTED:
            raise Stop(f"the server did not take it: {told.reason}")
        took: dict[str, float] = {}
        while len(took) < len(TARGETS):
            if clock.monotonic() - began > _PATIENCE:
                raise Stop(f"not everywhere: {', '.join(took)}")
            self._services.store.wait(0.001)
            opened = [name for name in TARGETS if name not in took and self._sync.opens(name, NEW)]
            took |= {name: (clock.monotonic() - began) * 1000 for name in opened}
        if any(self._sync.opens(name, OLD) for name in TARGETS):
            raise Stop("an old password still opens")
        said = ", ".join(f"{name} after {milliseconds:.0f} ms" for name, milliseconds in took.items())
        return f"{said}; the old ones open nothing"

    def explain(self) -> str:
        story = self._passwords.explain.user(self._dave(), PERSON).stories[0]
        if not story.summary.endswith("3 of 3 targets."):
            raise Stop(story.summary)
        return "\n".join((story.summary, *story.targets))

    def erased(self) -> str:
        """A worker destroys the key after the last delivery was written."""
        clock = SystemClock()
        deadline = clock.monotonic() + _PATIENCE
        while self._sync.vault.references():
            if clock.monotonic() > deadline:
                raise Stop("the key of the password is still there")
            self._services.store.wait(0.001)
        return "its key was destroyed with the last delivery: neither the server nor a backup of its database can open it again"

    def _notification(self) -> Notification:
        """As an agent makes it: ciphertext, and a check that is made from the NT hash and is not the hash."""
        reference = reference_of(self._sync.guid, _INVOCATION, _USN)
        return Notification(
            reference=reference,
            user_guid=self._sync.guid,
            user_sid=self._sync.sid,
            account=PERSON,
            changed_at=(self._now() - _YEAR_1601) // timedelta(microseconds=1) * 10,
            revision=2,
            origin=_INVOCATION,
            attempt=1,
            secret=encrypt(NEW.encode("utf-16-le"), [self._sync.certificate], armor=False),
            check=check_of(reference, Md4NtHasher().nt_hash(NEW)),
        )


def _agent(name: str, rules: ImportRules, source: PasswordSource | None = None) -> ManagementAgent:
    return ManagementAgent(
        id=MaId(""),
        name=name,
        connector=KIND,
        settings={"system": name},
        rules=rules,
        passwords=PasswordManagement(verify=True),
        source=source,
    )
