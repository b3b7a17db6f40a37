"""Agents, joined people and changes of theirs, put into database and queue by the product's own classes."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pysequoia import Cert, encrypt

from bastide import wire
from bastide.audit.event_log import MemoryEventLog
from bastide.clock import SystemClock
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
from bastide.domain.passwords import Receipt
from bastide.domain.people import Actor, Forest, Right
from bastide.services.passwords.accept import Accept
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.lookup import secret_context
from bastide.services.passwords.switch import Switchboard
from bastide.services.ports import Store
from bastide.store import keys
from bastide.store.md4 import Md4NtHasher
from bastide.store.openpgp import PRIVATE, load_opener
from bastide.store.unit_of_work import SqlStore
from bastide.store.vault import AesEnvelope, SqlVault
from bastide_agent.capture import ticks
from bastide_agent.events import JsonLog
from bastide_agent.spool import Change, Spool
from bastide_lab import plan
from benchmarks.objects import Reference
from benchmarks.sync_stage import SyncStage

SOURCE, TARGET = MaId("corp"), MaId("people")
_QUEUE_LIMIT = 1 << 28
_SID = "S-1-5-21-1-2-3-{}"


@dataclass(frozen=True, slots=True)
class Person:
    """Of CORP, as a notification names it."""

    name: str
    guid: str
    sid: str


def register(store: SqlStore, sync: SyncStage) -> dict[str, Person]:
    """CORP is the source, slapd its target, and everybody of slapd is joined. Synchronization is on."""
    people = dict(_people(sync.changers, sync.anchors))
    sealer = keys.load_sealer([sync.stage.work / "master.key"])
    source = PasswordSource(domain=plan.CORP.dns, enabled=True, targets=(TARGET,), daily_limit=0)
    target = ManagementAgent(
        id=TARGET,
        name="people",
        connector="ldap",
        settings={
            "host": sync.slapd.host,
            "port": sync.slapd.tls_port,
            "base": sync.slapd_order["base"],
            "bind_name": sync.slapd_order["service"],
            "ca": str(sync.stage.lab.ca),
        },
        passwords=PasswordManagement(enabled=True, retry_limit=1000, retry_interval=timedelta(seconds=10)),
    )
    with store.write() as uow:
        uow.agents.add(target)
        uow.agents.set_secret(TARGET, sealer.seal(sync.slapd.password.encode(), secret_context(TARGET)))
        uow.agents.add(
            ManagementAgent(id=SOURCE, name="corp", connector="active-directory", settings={}, source=source)
        )
        uow.metaverse.put([MvObject(id=MvId(name), type="person") for name in people])
        uow.space.put([_cs(SOURCE, one.name, one.guid) for one in people.values()])
        uow.space.put([_cs(TARGET, name, sync.anchors[name], sync.slapd_order["base"]) for name in people])
        uow.commit()
    _enable(store, sync)
    return people


def _enable(store: SqlStore, sync: SyncStage) -> None:
    """As an administrator does: a vault that nobody enabled with its database counts as one of another database."""
    vault = SqlVault(sync.vault, keys.load_sealer([sync.stage.work / "master.key"]))
    eraser = Eraser(store=store, vault=vault)
    now = SystemClock().now
    administrator = Actor(
        Sid("S-1-5-21-1-2-3-500"),
        "PRIV\\bench",
        Forest.PRIV,
        frozenset(),
        frozenset({Right.ADMINISTER}),
        "kerberos",
    )
    Switchboard(store=store, vault=vault, eraser=eraser, events=MemoryEventLog(), now=now).enable(
        administrator
    )
    vault.close()


def _people(changers: Mapping[str, Reference], anchors: Iterable[str]) -> Iterable[tuple[str, Person]]:
    for number, name in enumerate(anchors):
        real = changers.get(name)
        guid = real["guid"] if real else str(uuid.uuid4())
        yield name, Person(name, guid, real["sid"] if real else _SID.format(10_000 + number))


def _cs(ma: MaId, name: str, anchor: str, base: str = "") -> CsObject:
    return CsObject(
        id=CsId(f"{ma}-{name}"),
        ma=ma,
        anchor=anchor,
        dn=f"uid={name},{base}" if base else f"CN={name}",
        type="user",
        attributes={},
        link=Link.JOINED,
        mv=MvId(name),
        because="benchmark",
    )


class Crowd:
    """Changes of many at once, each the newest of its person: as the agent would say them, or as it keeps them."""

    def __init__(self, sync: SyncStage, people: Mapping[str, Person]) -> None:
        self._sync = sync
        self._people = people
        self._clock = SystemClock()
        self._revision = 1

    def changes(self, names: Sequence[str], password: str) -> list[Change]:
        """One ciphertext for all: everybody took the same password."""
        self._revision += 1
        secret = encrypt(password.encode("utf-16-le"), [Cert.from_bytes(self._sync.certificate)], armor=False)
        digest = Md4NtHasher().nt_hash(password)
        now = ticks(self._clock.now())
        made = []
        for name in names:
            reference = str(uuid.uuid4())
            made.append(
                Change(
                    reference=reference,
                    user_guid=self._people[name].guid,
                    user_sid=self._people[name].sid,
                    account=name,
                    changed_at=now,
                    revision=self._revision,
                    origin=str(uuid.UUID(int=7)),
                    secret=secret,
                    check=wire.check_of(reference, digest),
                )
            )
        return made

    def plant(self, store: Store, names: Sequence[str], password: str) -> None:
        """Into the server's database in one commit, by the use case that takes in what agents say. Raises RuntimeError if one was not taken."""
        sealer, random = keys.load_sealer([self._sync.stage.work / "master.key"]), keys.SystemRandom()
        vault = SqlVault(self._sync.vault, sealer)
        accept = Accept(
            store=store,
            vault=vault,
            envelope=AesEnvelope(random),
            opener=load_opener([self._sync.keys / PRIVATE]),
            hasher=Md4NtHasher(),
            events=MemoryEventLog(0),
            random=random,
            now=self._clock.now,
        )
        caller = Caller(plan.CORP.dns, "CORPDC$", plan.CORPDC.fqdn)
        told = [one.notification(1) for one in self.changes(names, password)]
        answers = accept.notifications(caller, told)
        vault.close()
        if any(answer.receipt is not Receipt.STAGED for answer in answers):
            raise RuntimeError("a planted change was not taken in")

    def queue(self, directory: Path, names: Sequence[str], password: str) -> None:
        """Into the agent's queue, while the agent is down."""
        spool = Spool(directory, JsonLog(self._clock), limit=_QUEUE_LIMIT, aside=lambda: "bench")
        found = [(one, [self._sync.target]) for one in self.changes(names, password)]
        spool.add(found, ticks(self._clock.now()))
        spool.close()
