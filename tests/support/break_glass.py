"""A node with one emergency account in memory: the real use cases on a store in memory, under a clock that the test moves."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

from bastide.directory.memory_emergency import (
    MemoryEmergencyDirectory,
    MemoryEmergencyDomain,
    MemoryEmergencyReader,
    MemoryProof,
)
from bastide.domain.audit import Record
from bastide.domain.break_glass import Envelope, Receipt, Trace, password_of
from bastide.domain.health import Finding
from bastide.domain.ids import Sid
from bastide.services.break_glass.accounts import EmergencyAccounts
from bastide.services.break_glass.seal import Prepared, Sealing
from bastide.services.break_glass.watch import Watch
from bastide.services.pace import BREAK_GLASS
from bastide.services.ports import AuditQuery
from bastide.store.shares import WordShares
from bastide.store.unit_of_work import SqlStore
from tests.support.world import QuickHasher, SeededRandom, TestClock

PRIV = "priv.bastide.test"
NAME = "breakglass1"
CUSTODIANS = ("Ann", "Ben", "Cy")
ROOT = "root (ann)"
DRILL_AFTER = timedelta(days=180)


@dataclass
class EmergencyNode:
    """`sees`: whether the service account is shown sign-ins."""

    store: SqlStore = field(default_factory=lambda: SqlStore("sqlite://"))
    clock: TestClock = field(default_factory=TestClock)
    sees: bool = True
    may: bool = True

    def __post_init__(self) -> None:
        self.domain = MemoryEmergencyDomain(PRIV, self.clock.now)
        self.account: Sid = self.domain.add(NAME, Trace())
        self.sharing, self.random, self.hasher = WordShares(), SeededRandom(), QuickHasher()
        self.reader = MemoryEmergencyReader(self.domain, sees=self.sees)
        self.directory = MemoryEmergencyDirectory(self.domain, may=self.may)
        self.readers = {PRIV: self.reader}
        self.watch = Watch(store=self.store, readers=self.readers, now=self.clock.now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @property
    def sealing(self) -> Sealing:
        return Sealing(
            store=self.store,
            directory=self.directory,
            watcher=self.readers.get(self.directory.domain),
            proof=MemoryProof(self.domain),
            sharing=self.sharing,
            hasher=self.hasher,
            random=self.random,
            now=self.clock.now,
            wait=lambda seconds: self.clock.move(seconds=seconds),
        )

    @property
    def accounts(self) -> EmergencyAccounts:
        return EmergencyAccounts(
            store=self.store,
            readers=self.readers,
            sharing=self.sharing,
            hasher=self.hasher,
            now=self.clock.now,
            drill_after=DRILL_AFTER,
        )

    def prepare(self, custodians: Sequence[str] = CUSTODIANS, threshold: int = 2) -> Prepared:
        self.clock.move(seconds=1)
        return self.sealing.prepare(self.sealing.plan(NAME, tuple(custodians), threshold))

    def seal(self) -> Prepared:
        """Sealed, handed out, recorded; a minute ago."""
        prepared = self.prepare()
        self.sealing.record(prepared)
        self.clock.move(minutes=1)
        return prepared

    def password(self, prepared: Prepared) -> str:
        """As two custodians would make it."""
        return password_of(self.sharing.combine(prepared.words[:2]))

    def sign_in(self, password: str, *, at: str = "") -> None:
        self.domain.sign_in(NAME, password, at=at)

    def look(self) -> None:
        """One run of the worker."""
        works = self.store.claim(
            {BREAK_GLASS}, owner="n1", lease=timedelta(seconds=10), limit=1, now=self.clock.now()
        )
        self.watch.run(works)

    def envelope(self) -> Envelope:
        (found,) = self.accounts.all()
        return found

    def receipt(self, envelope: Envelope, **said: Any) -> Receipt:
        fields: dict[str, Any] = {
            "id": self.random.uuid(),
            "number": envelope.number,
            "account": envelope.principal,
            "opened_at": self.clock.now(),
            "by": "root (ben)",
            "host": "jump1",
            "reason": "PRIV is down",
            "shares": (0, 2),
            "how": "shown",
        }
        return Receipt(**{**fields, **said})

    def events(self, kind: str = "") -> list[Record]:
        query = AuditQuery(kind=kind, limit=0)
        with self.store.read() as uow, closing(uow.audit.read(query)) as records:
            return [one for one in records if one.kind.startswith("break-glass")]


def errors(found: Iterable[Finding]) -> list[str]:
    """What is wrong, in words."""
    return [one.text for one in found if one.severity.is_error]
