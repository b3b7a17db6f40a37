"""The cluster's database: one, in memory, that every node reaches over the network, with a clock of its own as PostgreSQL has.

It is what a synchronous failover makes of Patroni: what was acknowledged is there afterwards; while it fails over nobody is answered; and a commit whose answer was
lost may or may not have counted. What happens in it is told to the ledger, which judges.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from bastide.domain.errors import StoreUnavailable
from bastide.domain.requests import Request
from bastide.services.nodes import Me
from bastide.services.ports import UnitOfWork, Work
from bastide.services.registry import Seat
from bastide.store.audit_log import SqlAuditLog
from bastide.store.nodes import SqlRegistry
from bastide.store.requests import SqlRequests
from bastide.store.session import Session
from bastide.store.unit_of_work import SqlStore, SqlUnitOfWork
from bastide.store.work import Claimer, SqlWorkRows
from tests.simulation.universe import Universe


class Ledger(Protocol):
    """Who hears of what counts from now on."""

    def claimed(self, node: str, partition: str, works: Sequence[Work], until: datetime) -> None: ...
    def renewed(self, works: Collection[Work], until: datetime) -> None: ...
    def committed(self, requests: Sequence[Request], given_back: Sequence[Work]) -> None: ...


@dataclass(slots=True)
class Moods:
    """What the database does to those who use it now. `after`, `before`: how likely the answer to a commit is lost, which counted or not."""

    down: bool = False
    after: float = 0.0
    before: float = 0.0
    reaches: Callable[[str], bool] = field(default=lambda _site: True)


class SimulatedStore(SqlStore):
    """One node's connection to it. `origin` holds the data."""

    def __init__(
        self,
        origin: SqlStore,
        universe: Universe,
        ledger: Ledger,
        moods: Moods,
        me: Me,
        site: str,
    ) -> None:
        self._database = origin._database
        self._followers = origin._followers
        self._claimer = Claimer(me.partition, Seat(me.name, me.process))
        self.me = me
        self.universe = universe
        self.ledger = ledger
        self._moods = moods
        self._site = site
        #: What is claimed, for who renews it while its node is only slow.
        self.held: tuple[tuple[Work, ...], str, timedelta] | None = None

    def ask(self) -> None:
        """Raises StoreUnavailable if it does not answer."""
        if self._moods.down or not self._moods.reaches(self._site):
            raise StoreUnavailable("the database does not answer", remedy="try again")

    def commit(self, act: Callable[[], None]) -> None:
        """`act` counts, or not, and maybe nobody is told."""
        self.universe.step()
        if self.universe.turn is not None and self.universe.sometimes(self._moods.before):
            raise StoreUnavailable("the connection broke before the commit")
        act()
        if self.universe.turn is not None and self.universe.sometimes(self._moods.after):
            raise StoreUnavailable("the connection broke after the commit")
        self.universe.step()

    def claim(
        self, kinds: Collection[str], *, owner: str, lease: timedelta, limit: int, now: datetime
    ) -> tuple[Work, ...]:
        self.universe.step()
        self.ask()
        now = self.universe.now  # (5) of store/work.py: by the database's clock
        works = super().claim(kinds, owner=owner, lease=lease, limit=limit, now=now)
        self.ledger.claimed(self.me.name, self.me.partition, works, now + lease)
        self.held = (works, owner, lease)
        self.universe.step()
        return works

    def renew(self, works: Collection[Work], *, owner: str, lease: timedelta, now: datetime) -> None:  # noqa: ARG002  # the database's clock counts
        self.ask()
        super().renew(works, owner=owner, lease=lease, now=self.universe.now)
        self.ledger.renewed(works, self.universe.now + lease)

    def beat(self, now: datetime) -> bool:  # noqa: ARG002  # the database's clock counts
        self.ask()
        return super().beat(self.universe.now)

    def _unit(self, *, write: bool, followers: Any) -> UnitOfWork:
        self.universe.step()
        self.ask()
        return SimulatedUnit(self, write=write, followers=followers)


class SimulatedUnit(SqlUnitOfWork):
    """One transaction; the ledger hears of it when it counts."""

    def __init__(self, store: SimulatedStore, *, write: bool, followers: Any) -> None:
        super().__init__(
            store._database, write=write, followers=followers, partition=store._claimer.partition
        )
        self._store = store

    def __enter__(self) -> Self:
        entered = super().__enter__()
        if self._store.universe.turn is not None:
            self._store.universe.turn.enter()
        return entered

    def __exit__(self, *error: object) -> None:
        if self._store.universe.turn is not None:
            self._store.universe.turn.leave()
        super().__exit__(*error)

    def _equip(self, session: Session, head: tuple[int, str] | None) -> None:
        super()._equip(session, head)
        self.nodes = _Registry(session, self._store.universe)
        self.requests = self._saved = _Requests(session)
        self.work = self._work = self._given = _WorkRows(session, self._partition)
        self.audit = self._audit = SqlAuditLog(session, head)

    def commit(self) -> None:
        self._store.commit(self._count)

    def _count(self) -> None:
        super().commit()
        self._store.ledger.committed(self._saved.saved, self._given.given)


class _Registry(SqlRegistry):
    """PostgreSQL's clock judges heartbeats."""

    def __init__(self, session: Session, universe: Universe) -> None:
        super().__init__(session)
        self._universe = universe

    def time(self, now: datetime) -> datetime:  # noqa: ARG002  # as PostgreSQL does
        return self._universe.now


class _Requests(SqlRequests):
    """Remembers what it was given to keep."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.saved: list[Request] = []

    def add(self, request: Request) -> None:
        super().add(request)
        self.saved.append(request)

    def save(self, request: Request) -> Request:
        after = super().save(request)
        self.saved.append(after)
        return after

    def save_many(self, requests: Collection[Request]) -> None:
        super().save_many(requests)
        self.saved.extend(requests)


class _WorkRows(SqlWorkRows):
    """Remembers what was given back."""

    def __init__(self, session: Session, partition: str) -> None:
        super().__init__(session, partition)
        self.given: list[Work] = []

    def finish_many(self, done: Sequence[tuple[Work, datetime | None]]) -> None:
        super().finish_many(done)
        self.given.extend(work for work, _ in done)

    def retry(self, work: Work, due: datetime, error: str) -> None:
        super().retry(work, due, error)
        self.given.append(work)
