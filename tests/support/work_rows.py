"""Rows of durable work, as the contract tests plan, claim and give them back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from bastide.services.ports import Work
from bastide.store import tables
from bastide.store.unit_of_work import SqlStore

KIND = "account"
LEASE = timedelta(seconds=30)
SHORT = timedelta(milliseconds=1500)
SOON = timedelta(milliseconds=300)
HOUR = timedelta(hours=1)
A_SECOND_AGO = timedelta(seconds=-1)


def now() -> datetime:
    return datetime.now(UTC)


def poke(store: SqlStore, key: str = "1", due: timedelta = A_SECOND_AGO, kind: str = KIND) -> datetime:
    at = now() + due
    with store.write() as uow:
        uow.work.poke(kind, key, at)
        uow.commit()
    return at


def claim(
    store: SqlStore,
    owner: str = "one",
    lease: timedelta = LEASE,
    limit: int = 10,
    kinds: Sequence[str] = (KIND,),
) -> tuple[Work, ...]:
    return store.claim(kinds, owner=owner, lease=lease, limit=limit, now=now())


def claim_one(store: SqlStore, owner: str = "one", lease: timedelta = LEASE) -> Work:
    (work,) = claim(store, owner, lease)
    return work


def finish(store: SqlStore, work: Work, next_due: datetime | None = None) -> None:
    with store.write() as uow:
        uow.work.finish(work, next_due)
        uow.commit()


def retry(store: SqlStore, work: Work, due: datetime, error: str = "no answer") -> None:
    with store.write() as uow:
        uow.work.retry(work, due, error)
        uow.commit()


def row(store: SqlStore, key: str = "1") -> dict[str, object]:
    with store.read() as uow:
        return next(dict(found) for found in uow.work.listing() if found["key"] == key)


def let_pass(store: SqlStore, span: timedelta) -> None:
    """Leases are as near to their end as after so long a wait, without it."""
    ready = tables.work.c.ready
    with store.engine.begin() as connection:
        connection.execute(
            update(tables.work)
            .where(tables.work.c.owner.is_not(None))
            .values(ready=ready - span // timedelta(microseconds=1))
        )
