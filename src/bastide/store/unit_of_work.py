"""The store: one transaction at a time, with its repositories, over SQLite or PostgreSQL.

The rules this module keeps:
  (1) A unit of work that is left without `commit` changes nothing.
  (2) One writer at a time, on both databases: SQLite's write lock, or on PostgreSQL the row that holds the end of the audit chain. So what
      a use case reads before it decides cannot change under it. Claims and leases do not wait for it.
  (3) Pokes and audit records are written last, in that order, in the same commit; the wake-up follows the commit.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Self, TypeVar

from sqlalchemy import Engine

from bastide.domain.errors import StoreError
from bastide.services.alerts.ports import Alerts
from bastide.services.break_glass.ports import Envelopes
from bastide.services.figures import Figures
from bastide.services.help_desk.ports import Verifications
from bastide.services.intake.ports import Observed
from bastide.services.journal_rows import LogWishes, Traces
from bastide.services.monitor.ports import Monitored
from bastide.services.passwords.ports import Agents, Changes, ConnectorSpace, Contacts, Metaverse, Switch
from bastide.services.ports import AuditLog, Groups, Requests, Roles, UnitOfWork, Users, Work, WorkRows
from bastide.services.proposals import Proposals
from bastide.services.registry import Registry
from bastide.services.reset.ports import ResetRows
from bastide.services.reviews.ports import Reviews
from bastide.services.signin import Factors
from bastide.store import nodes
from bastide.store import work as durable
from bastide.store.alerts import SqlAlerts
from bastide.store.audit_log import LOCKED_HEAD, SqlAuditLog
from bastide.store.codec import micros
from bastide.store.contacts import SqlContacts
from bastide.store.database import Database
from bastide.store.engine import MEMORY, is_sqlite, open_database, sqlite_path
from bastide.store.envelopes import SqlEnvelopes
from bastide.store.factors import SqlFactors
from bastide.store.figures import SqlFigures
from bastide.store.help_desk import SqlVerifications
from bastide.store.journal import SqlLogWishes, SqlTraces
from bastide.store.monitored import SqlMonitored
from bastide.store.nodes import SqlRegistry
from bastide.store.objects import SqlGroups, SqlRoles, SqlUsers
from bastide.store.observed import SqlObserved
from bastide.store.passwords import SqlChanges, SqlSwitch
from bastide.store.proposals import SqlProposals
from bastide.store.requests import SqlRequests
from bastide.store.reset import SqlResetRows
from bastide.store.reviews import SqlReviews
from bastide.store.session import Session
from bastide.store.spaces import SqlAgents, SqlConnectorSpace, SqlMetaverse
from bastide.store.transactions import transaction
from bastide.store.work import NOBODY, Claimer, SqlWorkRows

BUSY = timedelta(seconds=10)
POOL = 8
#: The key of the work that follows the audit.
FOLLOWER_KEY = "audit"
R = TypeVar("R")


class SqlUnitOfWork:
    """One transaction. Raises StoreBusy, StoreUnavailable."""

    users: Users
    groups: Groups
    roles: Roles
    requests: Requests
    work: WorkRows
    audit: AuditLog
    factors: Factors
    agents: Agents
    space: ConnectorSpace
    metaverse: Metaverse
    changes: Changes
    switch: Switch
    contacts: Contacts
    figures: Figures
    proposals: Proposals
    envelopes: Envelopes
    nodes: Registry
    wishes: LogWishes
    traces: Traces
    monitored: Monitored
    alerts: Alerts
    observed: Observed
    resets: ResetRows
    reviews: Reviews
    verifications: Verifications

    def __init__(
        self, database: Database, *, write: bool, followers: Mapping[str, timedelta], partition: str
    ) -> None:
        self._database = database
        self._partition = partition
        self._followers = followers
        self._write = write
        self._leave = ExitStack()

    def __enter__(self) -> Self:
        """Begin. A writer waits here until it is its turn."""
        with ExitStack() as entered:
            session = entered.enter_context(transaction(self._database, write=self._write))
            head = None
            if self._write:
                row = session.run(LOCKED_HEAD).one()
                head = (row.seq, row.hash)
            self._equip(session, head)
            self._leave = entered.pop_all()
        return self

    def _equip(self, session: Session, head: tuple[int, str] | None) -> None:
        self.users = SqlUsers(session)
        self.groups = SqlGroups(session)
        self.roles = SqlRoles(session)
        self.requests = SqlRequests(session)
        self.factors = SqlFactors(session)
        self.agents = SqlAgents(session)
        self.space = SqlConnectorSpace(session)
        self.metaverse = SqlMetaverse(session)
        self.changes = SqlChanges(session)
        self.switch = SqlSwitch(session)
        self.contacts = SqlContacts(session)
        self.figures = SqlFigures(session)
        self.proposals = SqlProposals(session)
        self.envelopes = SqlEnvelopes(session)
        self.nodes = SqlRegistry(session)
        self.wishes = SqlLogWishes(session)
        self.traces = SqlTraces(session)
        self.monitored = SqlMonitored(session)
        self.alerts = SqlAlerts(session)
        self.observed = SqlObserved(session)
        self.resets = SqlResetRows(session)
        self.reviews = SqlReviews(session)
        self.verifications = SqlVerifications(session)
        self.work = self._work = SqlWorkRows(session, self._partition)
        self.audit = self._audit = SqlAuditLog(session, head)
        self._session = session

    def __exit__(self, *error: object) -> None:
        """Undo what was not committed."""
        self._leave.close()

    def commit(self) -> None:
        """Make it so, once. After an error from here nobody knows whether it counts; StoreUnavailable says so."""
        if not self._write:
            raise StoreError("a unit of work that reads cannot commit")
        self._poke_followers()
        poked = self._work.flush()
        self._audit.flush()
        self._session.commit()
        if self._work.woken:
            self._database.bell.ring()
        if poked or self._work.woken:
            self._database.bell.announce(poked)

    def _poke_followers(self) -> None:
        """What follows the audit (signing, export) is due some time after a record: nobody has to look for it."""
        if (newest := self._audit.newest()) is not None:
            for kind, after in self._followers.items():
                self._work.poke(kind, FOLLOWER_KEY, newest + after)


class SqlStore:
    """The database at `url`: `sqlite://` (in memory, filled with the schema), `sqlite:////path` or a PostgreSQL URI.

    `claimer`: for which partition work is planned and claimed here, and in which node's name. `followers`: kinds of work that are due that long after an audit record was committed. `busy`: how long to wait for others before StoreBusy. `read_only`: see open_database. Call `close` at the end. `now` arguments count on SQLite only: PostgreSQL's own
    clock decides about leases, because nodes disagree about the time.
    """

    def __init__(
        self,
        url: str,
        *,
        busy: timedelta = BUSY,
        pool: int = POOL,
        followers: Mapping[str, timedelta] | None = None,
        read_only: bool = False,
        claimer: Claimer = NOBODY,
    ) -> None:
        self._followers = followers or {}
        self._claimer = claimer
        self._database = open_database(url, busy=busy, pool=pool, read_only=read_only)
        if is_sqlite(url) and sqlite_path(url) == MEMORY:
            from bastide.store.migrations import fill_memory  # noqa: PLC0415  # Alembic costs 10 MB of memory

            fill_memory(self._database.engine)

    def __repr__(self) -> str:
        return f"SqlStore({self.engine.dialect.name})"

    @property
    def engine(self) -> Engine:
        """For health checks and migrations; use cases take `write` and `read`."""
        return self._database.engine

    def close(self) -> None:
        """End all connections and wake who waits."""
        self._database.close()

    def write(self) -> UnitOfWork:
        """A transaction that may change things; one at a time."""
        return self._unit(write=True, followers=self._followers)

    def read(self) -> UnitOfWork:
        """A consistent view; `commit` is refused."""
        return self._unit(write=False, followers={})

    def _unit(self, *, write: bool, followers: Mapping[str, timedelta]) -> UnitOfWork:
        partition = self._claimer.partition
        return SqlUnitOfWork(self._database, write=write, followers=followers, partition=partition)

    def claim(
        self, kinds: Collection[str], *, owner: str, lease: timedelta, limit: int, now: datetime
    ) -> tuple[Work, ...]:
        """Due rows of this store's partition, or everybody's, now leased to `owner`, in a commit of its own. Nobody else gets them before the lease is
        over. None for a node that is drained, or whose name another process has.
        """
        self._listen(kinds)
        return self._alone(
            lambda session: durable.claim(
                session, self._claimer, kinds, owner=owner, lease=lease, limit=limit, now=now
            )
        )

    def renew(self, works: Collection[Work], *, owner: str, lease: timedelta, now: datetime) -> None:
        """Prolong leases. Raises LostLease if any is gone; then none is prolonged."""
        self._alone(lambda session: durable.renew(session, works, owner=owner, lease=lease, now=now))

    def next_due(self, kinds: Collection[str]) -> datetime | None:
        """When the next unclaimed row is due or a lease ends; None: nothing is planned that `claim` would give."""
        self._listen(kinds)
        with transaction(self._database, write=False) as session:
            due = durable.next_due(session, self._claimer, kinds)
        self._database.bell.expect(None if due is None else micros(due))
        return due

    def beat(self, now: datetime) -> bool:
        """Say that the node of this store is alive, in one statement that wakes nobody; whether it is registered with this process."""
        seat = self._claimer.seat
        if seat is None:
            return False
        alive = self._alone(lambda session: nodes.beat(session, seat, now))
        self._database.bell.disregard()
        return alive

    def wait(self, timeout: float | None) -> bool:
        """Sleep until somebody pokes a row, anywhere, since this thread's last `claim`, `next_due` or `wait`, or `timeout` seconds are over.

        Whether somebody may have poked one. A poke in this process counts if it is of the kinds that were looked for, and sooner than what
        `next_due` said.
        """
        self._database.bell.listen()
        return self._database.bell.wait(timeout)

    def wake(self) -> None:
        """Wake every waiting thread of this process (to stop, or after a change of clock)."""
        self._database.bell.ring()

    def _listen(self, kinds: Collection[str]) -> None:
        """Before looking at the table: a poke after the look ends the next wait."""
        self._database.bell.listen()
        self._database.bell.mark(kinds)

    def _alone(self, act: Callable[[Session], R]) -> R:
        """In a commit of its own, without the writers' turn on PostgreSQL."""
        with transaction(self._database, write=True) as session:
            done = act(session)
            session.commit()
            return done
