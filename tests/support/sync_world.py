"""Password synchronization in memory: two domains and a few targets, the real use cases, store, vault and runner, under a clock that the test
moves. Users are made here directly, joined; how that comes about is the imports' business.
"""

from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from bastide.audit.event_log import MemoryEventLog
from bastide.domain.audit import GENESIS, Record
from bastide.domain.errors import StoreError
from bastide.domain.ids import Sid
from bastide.domain.management_agents import (
    CsId,
    CsObject,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.passwords import Delivery, State
from bastide.domain.people import Actor, Forest, Right
from bastide.services.pace import PASSWORD
from bastide.services.passwords.accept import Told
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.deliver import BATCH
from bastide.services.passwords.ports import PasswordDates, Vault
from bastide.services.ports import AuditQuery
from bastide.store.md4 import Md4NtHasher
from bastide.store.unit_of_work import SqlStore
from bastide.store.vault import AesEnvelope, SqlVault
from bastide.targets.memory import MemorySystem, MemorySystems
from bastide.wire import Notification, check_of
from bastide.wiring.passwords import PasswordAdapters, Passwords, assemble_passwords
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.world import BoundSealer, SeededRandom, TestClock

LEASE = timedelta(seconds=10)
_SPACE = UUID("6a1b1f0e-1111-4222-8333-444455556666")
_YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)
DOMAIN_SID = "S-1-5-21-1-2-3"


class ReversedOpener:
    """Twin of the OpenPGP key: turns a message round, and knows when it is damaged."""

    _HEAD = b"to bastide:"

    def open(self, messages: Sequence[bytes]) -> Generator[bytes | StoreError, None, None]:
        for message in messages:
            if message.startswith(self._HEAD):
                yield message[len(self._HEAD) :][::-1]
            else:
                yield StoreError("a message was encrypted to another OpenPGP key, or is damaged")

    @classmethod
    def seal(cls, password: str) -> bytes:
        return cls._HEAD + password.encode("utf-16-le")[::-1]


def guid_of(name: str) -> str:
    return str(uuid5(_SPACE, name))


def sid_of(name: str) -> str:
    return f"{DOMAIN_SID}-{1000 + sum(name.encode())}"


def filetime(moment: datetime) -> int:
    return (moment - _YEAR_1601) // timedelta(microseconds=1) * 10


def actor(*rights: Right, name: str = "PRIV\\dave") -> Actor:
    return Actor(
        Sid("S-1-5-21-9-9-9-1104"), name, Forest.PRIV, frozenset(), frozenset(rights or Right), "kerberos"
    )


class SyncWorld:
    """CORP is a source; `crm` and `files` are its targets."""

    def __init__(
        self,
        *,
        url: str = "sqlite://",
        vault_url: str = "sqlite://",
        vault: Vault | None = None,
        enabled: bool = True,
        threads: int = 1,
        dates: PasswordDates | None = None,
        sealer: Any = None,
        clock: TestClock | None = None,
    ) -> None:
        self.clock = clock or TestClock()
        self.random = SeededRandom()
        self.store = SqlStore(url)
        self.sealer = sealer or BoundSealer()
        self.own_vault = SqlVault(vault_url, self.sealer) if vault is None else None
        self.vault: Vault = vault or self.own_vault or SqlVault(vault_url, self.sealer)
        self.events = MemoryEventLog()
        self.systems = MemorySystems(crm=MemorySystem(), files=MemorySystem())
        self.adapters = PasswordAdapters(
            vault=self.vault,
            envelope=AesEnvelope(self.random),
            opener=ReversedOpener(),
            hasher=Md4NtHasher(),
            events=self.events,
            dates=dates,
            threads=threads,
        )
        self.passwords = self.assemble()
        self.runner = self.new_runner()
        self.dave = actor()
        self.usn = 1000
        self.revisions: dict[str, int] = {}
        if enabled:
            self.passwords.switchboard.enable(self.dave)

    def assemble(self) -> Passwords:
        """As another process would, on the same database and vault."""
        return assemble_passwords(
            self.adapters,
            store=self.store,
            systems=self.systems,
            sealer=self.sealer,
            random=self.random,
            now=self.clock.now,
        )

    def new_runner(self, owner: str = "node-1") -> Runner:
        job = Job((PASSWORD,), self.passwords.deliver.run, BATCH, LEASE)
        return Runner(store=self.store, jobs=(job,), owner=owner, clock=self.clock)

    def close(self) -> None:
        self.store.close()
        if self.own_vault is not None:
            self.own_vault.close()

    # --------------------------------------------------------------------------------------------------------- configure

    def add_target(self, name: str, **rules: Any) -> ManagementAgent:
        self.systems.systems.setdefault(name, MemorySystem())
        agent = ManagementAgent(
            id=MaId(f"ma-{name}"),
            name=name,
            connector="memory",
            settings={"system": name},
            passwords=PasswordManagement(**{"enabled": True, **rules}),
        )
        with self.store.write() as uow:
            uow.agents.add(agent)
            uow.commit()
        return agent

    def add_source(
        self, name: str = "corp", *targets: str, domain: str = "", settable: bool = False, **rules: Any
    ) -> ManagementAgent:
        self.systems.systems.setdefault(name, MemorySystem())
        agent = ManagementAgent(
            id=MaId(f"ma-{name}"),
            name=name,
            connector="memory",
            settings={"system": name},
            passwords=PasswordManagement(enabled=settable),
            source=PasswordSource(
                domain=domain or f"{name}.test",
                targets=tuple(MaId(f"ma-{target}") for target in targets),
                **{"enabled": True, **rules},
            ),
        )
        with self.store.write() as uow:
            uow.agents.add(agent)
            uow.commit()
        return agent

    def change_agent(self, name: str, change: Callable[[ManagementAgent], ManagementAgent]) -> None:
        with self.store.write() as uow:
            uow.agents.save(change(uow.agents.by_name(name)))
            uow.commit()

    def add_user(self, name: str, *spaces: str, joined: bool = True) -> None:
        """One person with an account in each of these systems; the anchor is the same GUID everywhere."""
        mv = MvId(guid_of(f"mv {name}"))
        with self.store.write() as uow:
            if joined:
                uow.metaverse.put([MvObject(id=mv, type="person")])
            uow.space.put([self.cs_object(name, space, mv if joined else None) for space in spaces])
            uow.commit()
        for space in spaces:
            self.systems.systems[space].put(guid_of(f"{space} {name}"), dn=f"CN={name},OU={space}")

    @staticmethod
    def cs_object(name: str, space: str, mv: MvId | None) -> CsObject:
        return CsObject(
            id=CsId(guid_of(f"cs {space} {name}")),
            ma=MaId(f"ma-{space}"),
            anchor=guid_of(f"{space} {name}"),
            dn=f"CN={name},OU={space}",
            type="user",
            attributes={"sAMAccountName": (name,), "objectSid": (sid_of(name),)},
            link=Link.JOINED if mv else Link.NONE,
            mv=mv,
            because="sAMAccountName = accountName" if mv else "",
        )

    def ready(self, *names: str, **rules: Any) -> None:
        """CORP with two targets, and these people everywhere."""
        self.add_target("crm", **rules)
        self.add_target("files", **rules)
        self.add_source("corp", "crm", "files")
        for name in names or ("alice",):
            self.add_user(name, "corp", "crm", "files")

    # ----------------------------------------------------------------------------------------------------------- operate

    def caller(self, domain: str = "corp") -> Caller:
        return Caller(f"{domain}.test", "DC1$", f"dc1.{domain}.test")

    def notification(self, name: str, password: str, *, domain: str = "corp", **changes: Any) -> Notification:
        """A change that was made now."""
        self.usn += 1
        guid = guid_of(f"{domain} {name}")
        key = f"{domain} {name}"
        if "revision" not in changes:
            self.revisions[key] = self.revisions.get(key, 1) + 1
        reference = str(changes.pop("reference", "") or guid_of(f"change {self.usn}"))
        fields: dict[str, Any] = {
            "reference": reference,
            "user_guid": guid,
            "user_sid": sid_of(name),
            "account": name,
            "changed_at": filetime(changes.pop("at", self.clock.now())),
            "revision": self.revisions.get(key, 2),
            "origin": guid_of(f"invocation {domain}"),
            "attempt": 1,
            "secret": ReversedOpener.seal(password),
            "check": check_of(reference, Md4NtHasher().nt_hash(password)),
        }
        return Notification(**{**fields, **changes})

    def tell(self, name: str, password: str, *, domain: str = "corp", **changes: Any) -> Told:
        told = self.notification(name, password, domain=domain, **changes)
        return self.passwords.accept.notification(self.caller(domain), told)

    def work(self) -> None:
        """Do what is due now."""
        self.runner.run_due()

    # --------------------------------------------------------------------------------------------------------- the truth

    def password(self, name: str, space: str) -> str:
        """What the account signs in with there."""
        return self.systems.systems[space].account(guid_of(f"{space} {name}")).password

    def served(self, space: str) -> int:
        """How many passwords were written there."""
        return len(self.systems.systems[space].served)

    def deliveries(self, *states: State) -> list[Delivery]:
        with self.store.read() as uow:
            found = [one for _, all_ in uow.changes.history(user="", before=None, limit=1000) for one in all_]
        return [one for one in found if not states or one.state in states]

    def audit(self, kind: str = "") -> list[Record]:
        with self.store.read() as uow:
            return list(uow.audit.read(AuditQuery(kind=kind, limit=0)))

    def head(self) -> tuple[int, str]:
        with self.store.read() as uow:
            return uow.audit.head() or (0, GENESIS)
