"""Durable work: rows that are claimed with a lease and a fencing number, and given back only by who holds the newest number.

The rules this module keeps:
  (1) One row for each (kind, key). A poke makes it due at the earlier of the two times.
  (2) A claim raises the fence and leases the row; nobody else gets it before the lease is over, and anybody may afterwards. A lease that
      has more than an hour left was taken while the clock was wrong, and counts as over.
  (3) Giving back needs the fence of the claim and can be done once; else LostLease.
  (4) A poke while the row is claimed is kept beside it: given back, the row is due at the poked time, if that is before what the worker
      says. Pokes up to the claim are what the worker sees in the state, so the claim takes them all.
  (5) Leases begin and end by the database's clock on PostgreSQL, so a node whose clock is ahead steals nothing; `now` counts on SQLite
      only, where all are on one host.
  (6) Sets of rows are written in one call, in the order of (kind, key), so that no two writers wait for each other.
  (7) A row belongs to the partition that planned it, and only that one's nodes claim it; rows of SHARED kinds belong to all, from the first poke on that
      knows of partitions. A poke from another partition
      makes a row that is planned due sooner and leaves it where it is; one that nobody plans anything for any more is the poker's.
  (8) Who claims in a node's name must be the process that is registered under it, and not be drained: the database itself says so, in the same statement.
  (9) A transaction that requires a row keeps it from others until it is over: what it writes is before or after another's work, never in the middle of it.
  (10) A row that is removed takes its fence with it. Only work whose key is never made again is removed, or else an old claim could pass for a new one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bastide.domain.errors import LostLease
from bastide.domain.nodes import DEFAULT_PARTITION
from bastide.services.pace import SHARED
from bastide.services.ports import Work
from bastide.services.registry import Planned, Seat
from bastide.store import tables
from bastide.store.codec import micros, moment
from bastide.store.session import Session
from bastide.store.wakeup import to_payload

CHANNEL = "bastide_work"
ERROR_LIMIT = 2000
_LONGEST_LEASE = timedelta(hours=1) // timedelta(microseconds=1)
_TICK = timedelta(microseconds=1)
_t = tables.work.c
_KINDS = _t.kind.in_(bindparam("kinds", expanding=True))
_HELD = and_(
    _t.kind == bindparam("kind_"),
    _t.key == bindparam("key_"),
    _t.fence == bindparam("fence_"),
    _t.owner.is_not(None),
)
#: With its lock: nobody claims it before the transaction is over. SQLite has one writer at a time and drops FOR UPDATE.
_MINE = select(_t.fence).where(_HELD).with_for_update()
_NOTIFY = text("SELECT pg_notify(:channel_, :said_)")
_EVERYBODYS = ""
_OURS = or_(_t.partition == bindparam("partition_"), _t.partition == _EVERYBODYS)
_n = tables.nodes.c
_SEATED = exists().where(
    _n.name == bindparam("node_"),
    _n.process == bindparam("process_"),
    _n.draining == false(),
    _n.left_at.is_(None),
)
_LISTING = select(
    _t.kind, _t.key, _t.ready, _t.poked, _t.attempts, _t.owner, _t.error, _t.partition
).order_by(_t.kind, _t.key)
_ADOPT = (
    update(tables.work)
    .where(_t.partition == bindparam("from_"))
    .values(partition=bindparam("into_", type_=_t.partition.type))
)
_PLANNED = (
    select(
        _t.partition,
        func.count(_t.ready).label("rows"),
        func.max(case((and_(_t.owner.is_not(None), _t.ready <= bindparam("longest_")), _t.ready))).label(
            "lease"
        ),
    )
    .where(_t.partition != _EVERYBODYS)
    .group_by(_t.partition)
)


def _poke(insert: Any) -> Executable:
    statement = insert(tables.work).values(
        kind=bindparam("kind"),
        key=bindparam("key"),
        ready=bindparam("ready"),
        pokes=1,
        fence=0,
        attempts=0,
        error="",
        partition=bindparam("partition"),
    )
    new, owned = statement.excluded.ready, statement.excluded.partition
    idle = and_(_t.owner.is_(None), _t.ready.is_(None))
    sooner = and_(_t.owner.is_(None), or_(_t.ready.is_(None), new < _t.ready))
    noted = and_(_t.owner.is_not(None), or_(_t.poked.is_(None), new < _t.poked))
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=["kind", "key"],
        set_={
            "ready": case((sooner, new), else_=_t.ready),
            "poked": case((noted, new), else_=_t.poked),
            "pokes": _t.pokes + 1,
            "partition": case((or_(idle, owned == _EVERYBODYS), owned), else_=_t.partition),
        },
    )
    return upsert


def _claim(now: ColumnElement[int], allowed: ColumnElement[bool]) -> Executable:
    """One statement. Rows that others are claiming are skipped on PostgreSQL; SQLite has one writer at a time."""
    ripe = (
        select(_t.id)
        .where(
            _KINDS,
            _OURS,
            allowed,
            or_(
                _t.ready <= now,
                and_(_t.owner.is_not(None), _t.ready > now + _LONGEST_LEASE),
            ),
        )
        .order_by(_t.ready)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
        .cte("ripe")
    )
    return (
        update(tables.work)
        .where(_t.id.in_(select(ripe.c.id)))
        .values(
            owner=bindparam("owner_"),
            fence=_t.fence + 1,
            attempts=_t.attempts + case((_t.owner.is_not(None), 1), else_=0),
            due=_t.ready,
            ready=now + bindparam("lease_", type_=BigInteger),
            poked=null(),
        )
        .returning(_t.kind, _t.key, _t.fence, _t.pokes, _t.attempts, _t.due)
    )


def _renew(now: ColumnElement[int]) -> Executable:
    return (
        update(tables.work)
        .where(_HELD, _t.owner == bindparam("owner_"))
        .values(ready=now + bindparam("lease_", type_=BigInteger))
    )


_LATER = bindparam("next_", type_=BigInteger)
_GIVEN_BACK = {
    "ready": case(
        (_t.poked.is_(None), _LATER),
        (or_(_LATER.is_(None), _t.poked < _LATER), _t.poked),
        else_=_LATER,
    ),
    "poked": null(),
    "owner": null(),
}
_FINISH = update(tables.work).where(_HELD).values(**_GIVEN_BACK, attempts=0, error="")
_RETRY = (
    update(tables.work)
    .where(_HELD)
    .values(**_GIVEN_BACK, attempts=_t.attempts + 1, error=bindparam("error_"))
)
#: A row that was given back just now and that nobody poked since its claim.
_REMOVE = delete(tables.work).where(
    _t.kind == bindparam("kind_"), _t.key == bindparam("key_"), _t.owner.is_(None), _t.ready.is_(None)
)
_FORGET = delete(tables.work).where(_t.kind == bindparam("kind_"))
NOW: Mapping[str, ColumnElement[int]] = {
    "sqlite": bindparam("now_", type_=BigInteger),
    "postgresql": literal_column(
        "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint", type_=BigInteger
    ),
}
_POKE = {"sqlite": _poke(sqlite_insert), "postgresql": _poke(postgres_insert)}
#: Whether in a node's name: (8).
_ALLOWED: Mapping[bool, ColumnElement[bool]] = {False: true(), True: _SEATED}
_CLAIM = {
    (dialect, seated): _claim(now, allowed)
    for dialect, now in NOW.items()
    for seated, allowed in _ALLOWED.items()
}
_NEXT_DUE = {
    seated: select(func.min(_t.ready)).where(_KINDS, _OURS, allowed) for seated, allowed in _ALLOWED.items()
}
_RENEW = {dialect: _renew(now) for dialect, now in NOW.items()}


@dataclass(frozen=True, slots=True)
class Claimer:
    """For which partition, and in which node's name; None: in none, as tests and tools do that are no nodes."""

    partition: str
    seat: Seat | None

    def parameters(self) -> dict[str, object]:
        """For statements that claim."""
        mine: dict[str, object] = {"partition_": self.partition}
        if self.seat is not None:
            mine |= {"node_": self.seat.node, "process_": self.seat.process}
        return mine


NOBODY = Claimer(DEFAULT_PARTITION, None)


class SqlWorkRows:
    """The rows, within a transaction. Pokes are gathered and written by `flush`, just before the commit."""

    def __init__(self, session: Session, partition: str) -> None:
        self._session = session
        self._partition = partition
        self._poked: dict[tuple[str, str], int] = {}
        #: Whoever waits is to look again.
        self.woken = False

    def poke(self, kind: str, key: str, due: datetime) -> None:
        """Due at the earlier of `due` and what it was; counts as a wake-up even while the row is claimed."""
        at = micros(due)
        self._poked[kind, key] = min(at, self._poked.get((kind, key), at))

    def poke_many(self, kind: str, keys: Mapping[str, datetime]) -> None:
        """As `poke`, for several of one kind."""
        for key, due in keys.items():
            self.poke(kind, key, due)

    def flush(self) -> Mapping[str, int]:
        """Write the pokes gathered so far. Returns the earliest moment of each kind; empty: there were none."""
        soonest: dict[str, int] = {}
        if self._poked:
            rows = [
                {
                    "kind": kind,
                    "key": key,
                    "ready": at,
                    "partition": _EVERYBODYS if kind in SHARED else self._partition,
                }
                for (kind, key), at in sorted(self._poked.items())
            ]
            self._session.run(_POKE[self._session.dialect], rows)
            for (kind, _), at in self._poked.items():
                soonest[kind] = min(at, soonest.get(kind, at))
            self._poked.clear()
        if (soonest or self.woken) and self._session.dialect == "postgresql":
            said = "" if self.woken else to_payload(soonest)
            self._session.run(_NOTIFY, {"channel_": CHANNEL, "said_": said})
        return soonest

    def finish(self, work: Work, next_due: datetime | None) -> None:
        """Give the row back, due again at `next_due` (None: when poked). A poke since the claim wins. Raises LostLease."""
        self.finish_many([(work, next_due)])

    def finish_many(self, done: Sequence[tuple[Work, datetime | None]]) -> None:
        """Several at once. Raises LostLease if any was lost."""
        rows = [
            {**_held(work), "next_": None if due is None else micros(due)}
            for work, due in sorted(done, key=lambda one: (one[0].kind, one[0].key))
        ]
        _write(self._session, _FINISH, rows)

    def retry(self, work: Work, due: datetime, error: str) -> None:
        """Give the row back after a failure: one attempt more. Raises LostLease."""
        row = {**_held(work), "next_": micros(due), "error_": error[:ERROR_LIMIT].replace("\0", "\ufffd")}
        _write(self._session, _RETRY, [row])

    def require(self, work: Work) -> None:
        """Nobody else claims the row before this transaction is over. Raises LostLease if somebody did, or it was given back."""
        if self._session.run(_MINE, _held(work)).first() is None:
            self._session.close()
            raise LostLease(f"the lease of {work.kind} {work.key} is lost: another node holds this work now")

    def remove_many(self, done: Sequence[Work]) -> None:
        """Done for good: the rows go, but for one that was poked since its claim. Raises LostLease if any was lost."""
        self.finish_many([(work, None) for work in done])
        rows = [
            {"kind_": work.kind, "key_": work.key}
            for work in sorted(done, key=lambda one: (one.kind, one.key))
        ]
        if rows:
            self._session.run(_REMOVE, rows)

    def forget(self, kind: str) -> None:
        """All rows of a kind that nobody does any more."""
        self._session.run(_FORGET, {"kind_": kind})

    def wake(self) -> None:
        """With the commit, everybody who waits looks again: who may do what has changed."""
        self.woken = True

    def adopt(self, partition: str, into: str) -> None:
        """All rows of one partition are the other's from now on. Leases that run stay."""
        self.flush()
        self._session.run(_ADOPT, {"from_": partition, "into_": into})

    def planned(self, now: datetime) -> Mapping[str, Planned]:
        """By partition. Rows that only wait for a poke do not count, nor does a lease that rule (2) takes for over."""
        self.flush()
        found = self._session.run(_PLANNED, {"longest_": micros(now) + _LONGEST_LEASE})
        return {row.partition: Planned(row.rows, _moment(row.lease)) for row in found if row.rows}

    def listing(self) -> tuple[Mapping[str, object], ...]:
        """For people: kind, key, due, attempts, owner, lease, error, partition (empty: everybody's). `due` of a claimed row is when it was poked since."""
        self.flush()
        return tuple(
            {
                "kind": row.kind,
                "key": row.key,
                "due": _moment(row.ready if row.owner is None else row.poked),
                "attempts": row.attempts,
                "owner": row.owner,
                "lease": None if row.owner is None else _moment(row.ready),
                "error": row.error,
                "partition": row.partition,
            }
            for row in self._session.run(_LISTING)
        )


def claim(
    session: Session,
    claimer: Claimer,
    kinds: Collection[str],
    *,
    owner: str,
    lease: timedelta,
    limit: int,
    now: datetime,
) -> tuple[Work, ...]:
    """Due rows, leased to `owner`, the longest overdue first."""
    parameters = {
        **claimer.parameters(),
        "kinds": sorted(kinds),
        "owner_": owner,
        "lease_": lease // _TICK,
        "limit": limit,
        "now_": micros(now),
    }
    statement = _CLAIM[session.dialect, claimer.seat is not None]
    rows = session.run(statement, _needed(session, parameters)).all()
    works = (Work(row.kind, row.key, row.fence, row.pokes, row.attempts, moment(row.due)) for row in rows)
    return tuple(sorted(works, key=lambda work: (work.due, work.kind, work.key)))


def renew(session: Session, works: Collection[Work], *, owner: str, lease: timedelta, now: datetime) -> None:
    """Prolong the leases that are still held. Raises LostLease if none is."""
    common = _needed(session, {"owner_": owner, "lease_": lease // _TICK, "now_": micros(now)})
    ordered = sorted(works, key=lambda work: (work.kind, work.key))
    rows = [{**_held(work), **common} for work in ordered]
    if rows and session.run(_RENEW[session.dialect], rows).rowcount == 0:
        raise LostLease(f"the leases of all {len(rows)} rows are lost or were given back")


def next_due(session: Session, claimer: Claimer, kinds: Collection[str]) -> datetime | None:
    """When the next row is due or a lease ends; None: nothing is planned that this one may claim."""
    parameters = {"kinds": sorted(kinds), **claimer.parameters()}
    return _moment(session.run(_NEXT_DUE[claimer.seat is not None], parameters).scalar_one())


def _write(session: Session, statement: Executable, rows: Sequence[Mapping[str, object]]) -> None:
    if rows and session.run(statement, rows).rowcount != len(rows):
        session.close()
        which = f"{rows[0]['kind_']} {rows[0]['key_']}" if len(rows) == 1 else f"one of {len(rows)} rows"
        raise LostLease(f"the lease of {which} is lost: another node holds this work now")


def _held(work: Work) -> dict[str, object]:
    return {"kind_": work.kind, "key_": work.key, "fence_": work.fence}


def _needed(session: Session, parameters: dict[str, Any]) -> dict[str, Any]:
    """Without `now_` where the database has a clock of its own."""
    if session.dialect == "postgresql":
        del parameters["now_"]
    return parameters


def _moment(value: int | None) -> datetime | None:
    return None if value is None else moment(value)
