"""The audit chain in the database.

Events are gathered while the unit of work runs and chained by `flush`, just before its commit: the end of the chain is then held for the
shortest time, and a rollback leaves no gap.
"""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Row, Select, bindparam, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bastide.domain.audit import Checkpoint, Event, Record, chain
from bastide.services.ports import AuditQuery
from bastide.store import tables
from bastide.store.codec import micros, moment
from bastide.store.session import Session

_CHUNK = 500
_t = tables.audit.c
_h = tables.audit_head.c
_k = tables.audit_checkpoints.c
_u = tables.audit_cursors.c

_HEAD = select(_h.seq, _h.hash)
#: On PostgreSQL the lock that makes writers take turns; SQLite drops FOR UPDATE and needs none.
LOCKED_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(tables.audit_head).values(seq=bindparam("seq"), hash=bindparam("hash"))
_INSERT = insert(tables.audit)
_INSERT_CHECKPOINT = insert(tables.audit_checkpoints)
_CHECKPOINTS = select(_k.seq, _k.hash, _k.at, _k.key, _k.signature).order_by(_k.id)
_NEWEST_CHECKPOINT = _CHECKPOINTS.order_by(None).order_by(_k.id.desc()).limit(1)
_CURSOR = select(_u.seq).where(_u.sink == bindparam("sink"))
_sqlite_cursor = sqlite_insert(tables.audit_cursors)
_postgres_cursor = postgres_insert(tables.audit_cursors)
_MOVE_CURSOR = {
    "sqlite": _sqlite_cursor.on_conflict_do_update(
        index_elements=["sink"], set_={"seq": _sqlite_cursor.excluded.seq}
    ),
    "postgresql": _postgres_cursor.on_conflict_do_update(
        index_elements=["sink"], set_={"seq": _postgres_cursor.excluded.seq}
    ),
}
_FIELDS = tuple(field.name for field in fields(Record))
_CHECKPOINT_FIELDS = tuple(field.name for field in fields(Checkpoint))
# Not `dataclasses.astuple`: its deep copies took half the time of a large commit.
_values = attrgetter(*_FIELDS)
#: A person is asked for by SID or by name.
_PERSONS = (_t.actor, _t.subject, _t.actor_name, _t.subject_name)
_READ = select(*(tables.audit.c[name] for name in _FIELDS)).where(
    _t.seq > bindparam("after", type_=BigInteger)
)

_LAST = (
    select(*(tables.audit.c[name] for name in _FIELDS))
    .where(_t.subject == bindparam("subject_"), _t.kind == bindparam("kind_"))
    .order_by(_t.seq.desc())
    .limit(1)
)


class SqlAuditLog:
    """Append, read, and what the sinks have taken. `head` is the end of the chain, where it is locked already."""

    def __init__(self, session: Session, head: tuple[int, str] | None = None) -> None:
        self._session = session
        self._head = head
        self._events: list[Event] = []

    def append(self, *events: Event) -> None:
        """Chain and store, in this commit. Raises ValueError for a time without a zone."""
        for event in events:
            micros(event.at)
        self._events.extend(events)

    def newest(self) -> datetime | None:
        """When the last of the events happened that are to be written with this commit; None: there are none."""
        return self._events[-1].at if self._events else None

    def flush(self) -> None:
        """Write what was appended so far."""
        if not self._events:
            return
        seq, previous = self._head or self._read_head()
        rows = []
        for event in self._events:
            record = _chained(event, seq + 1, previous)
            seq, previous = record.seq, record.hash
            rows.append(_row(record))
        self._session.run(_INSERT, rows)
        self._session.run(_MOVE_HEAD, {"seq": seq, "hash": previous})
        self._head = (seq, previous)
        self._events.clear()

    def read(self, query: AuditQuery) -> Generator[Record, None, None]:
        """In order, a few hundred rows in memory at a time, while the unit of work is open. A limit of 0 means all."""
        self.flush()
        statement, parameters = _filtered(query)
        return _records(self._session.stream(statement, parameters, _CHUNK))

    def last(self, kind: str, subject: str) -> Record | None:
        """The newest of a kind about a subject, by the subject's index."""
        self.flush()
        row = self._session.run(_LAST, {"kind_": kind, "subject_": subject}).first()
        return None if row is None else _record(row)

    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the last record; (0, GENESIS) if there is none."""
        self.flush()
        return self._head or self._read_head()

    def _read_head(self) -> tuple[int, str]:
        row = self._session.run(_HEAD).one()
        return row.seq, row.hash

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a signed checkpoint for good."""
        row = {name: getattr(checkpoint, name) for name in _CHECKPOINT_FIELDS}
        self._session.run(_INSERT_CHECKPOINT, {**row, "at": micros(checkpoint.at)})

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All, in the order in which they were made."""
        return tuple(_checkpoint(row) for row in self._session.run(_CHECKPOINTS))

    def newest_checkpoint(self) -> Checkpoint | None:
        """The one made last; None: there is none."""
        row = self._session.run(_NEWEST_CHECKPOINT).first()
        return None if row is None else _checkpoint(row)

    def cursor(self, sink: str) -> int:
        """The last record a sink has taken; 0 if none."""
        row = self._session.run(_CURSOR, {"sink": sink}).first()
        return 0 if row is None else int(row.seq)

    def move_cursor(self, sink: str, seq: int) -> None:
        """A sink has taken everything up to `seq`."""
        self._session.run(_MOVE_CURSOR[self._session.dialect], {"sink": sink, "seq": seq})


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(row.seq, row.hash, moment(row.at), row.key, bytes(row.signature))


def _records(rows: Generator[Row[Any], None, None]) -> Generator[Record, None, None]:
    """Closing it ends the statement."""
    with closing(rows):
        for row in rows:
            yield _record(row)


def _filtered(query: AuditQuery) -> tuple[Select[Any], dict[str, object]]:
    statement, parameters = _READ.order_by(_t.seq), dict[str, object](after=query.after_seq)
    if query.since is not None:
        statement = statement.where(_t.at >= micros(query.since))
    if query.until is not None:
        statement = statement.where(_t.at < micros(query.until))
    if query.person:
        statement = statement.where(or_(*(column == query.person for column in _PERSONS)))
    if query.kind:
        statement = statement.where(_t.kind == query.kind)
    if query.kinds:
        statement = statement.where(_t.kind.in_(sorted(query.kinds)))
    if query.request:
        statement = statement.where(_t.request == query.request)
    if query.limit:
        statement = statement.limit(query.limit)
    return statement, parameters


def _row(record: Record) -> dict[str, object]:
    row: dict[str, object] = dict(zip(_FIELDS, _values(record), strict=True))
    row["at"] = micros(record.at)
    return row


def _record(row: Row[Any]) -> Record:
    values = dict(zip(_FIELDS, row, strict=True))
    return Record(**{**values, "at": moment(row.at)})


def _chained(event: Event, seq: int, previous: str) -> Record:
    """As it will be read back: in UTC, and without what no database or UTF-8 can hold (NUL, lone surrogates)."""
    clean = Event(
        kind=_storable(event.kind),
        at=event.at.astimezone(UTC),
        actor=_storable(event.actor),
        actor_name=_storable(event.actor_name),
        subject=_storable(event.subject),
        subject_name=_storable(event.subject_name),
        request=_storable(event.request),
        data=_storable_data(event.data or {}),
    )
    return chain(clean, seq, previous)


def _storable(value: str) -> str:
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _storable_data(value: Any) -> Any:
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable_data(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [_storable_data(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [_storable_data(item) for item in value]
    return value
