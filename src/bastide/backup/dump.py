"""A database as a stream of frames, from one snapshot, the same for SQLite and PostgreSQL; and back into an empty one.

    header, then for each table its name and columns and its rows, then a footer: how many rows each table has, and the SHA-256 of all frames before it

A frame is MessagePack behind its length in four bytes; a row is an array, all others are maps. Without the footer, or with one that does not fit,
nothing counts.

What only means something to the processes of the moment is left out: sessions, challenges of security keys, the list of nodes, what is asked of
their logs and traced.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import IO, Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, Table, delete, func, insert, select

from bastide.domain.errors import Conflict, StoreError
from bastide.store import password_tables, tables
from bastide.store.session import Session

FORMAT = 1
_LENGTH = struct.Struct(">I")
#: Of one frame, in bytes: a row holds a document at most.
_LARGEST = 64 * 1024 * 1024
_CHUNK = 500
_PASSING = frozenset(
    one.name
    for one in (
        tables.sessions,
        tables.challenges,
        tables.nodes,
        tables.log_wishes,
        tables.log_answers,
        tables.traces,
    )
)
#: With a row from the start.
_BORN_WITH_ONE = (tables.audit_head, tables.schema_floor, password_tables.password_switch)
_DAMAGED = "take another one; what is damaged is never restored in part"
#: Of rows that wait to be written, in bytes: a file that nobody signed may hold nothing but large ones.
_HEAP = 16 * 1024 * 1024
#: A number as both databases take it.
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="header"):
    """Where it is from. `head`: the end of the audit chain, number and hash."""

    format: int
    schema: str
    version: str
    node: str
    made_at: datetime
    head: tuple[int, str]


class _Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="table"):
    name: str
    columns: tuple[str, ...]


class _Footer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="footer"):
    rows: dict[str, int]
    digest: bytes


_FRAMES: msgspec.msgpack.Decoder[Header | _Start | _Footer] = msgspec.msgpack.Decoder(
    Header | _Start | _Footer
)
#: What an array begins with.
_ARRAYS = frozenset(bytes([first]) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))


@dataclass(frozen=True, slots=True)
class Content:
    """What a backup holds: `rows` of each table."""

    header: Header
    rows: Mapping[str, int]


def kept() -> tuple[Table, ...]:
    """The tables of a backup, those that others refer to first."""
    return tuple(one for one in tables.metadata.sorted_tables if one.name not in _PASSING)


def frames(session: Session, header: Header) -> Iterator[bytes]:
    """The whole database as this transaction sees it. Raises StoreError."""
    digest, rows = hashlib.sha256(), Counter[str]()
    for value in chain((header,), _contents(session, rows)):
        frame = _frame(value)
        digest.update(frame)
        yield frame
    yield _frame(_Footer(dict(rows), digest.digest()))


def _contents(session: Session, rows: Counter[str]) -> Iterator[object]:
    for table in kept():
        name = str(table.name)
        rows[name] = 0
        yield _Start(name, tuple(str(column.name) for column in table.columns))
        for row in session.stream(select(table), {}, _CHUNK):
            rows[name] += 1
            yield [*row]


def _frame(value: object) -> bytes:
    encoded = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(encoded)) + encoded


def restore(session: Session, source: IO[bytes]) -> Content:
    """Put all of it into an empty database of the same schema; the commit is the caller's, and only for what came to its end.

    Raises Conflict if the database is not empty or has another schema, StoreError for a damaged backup.
    """
    _require_empty(session)
    reader = _Reader(source)
    header = reader.header()
    if header.schema != tables.SCHEMA:
        raise Conflict(
            f"the backup has schema {header.schema} (Bastide {header.version}), this program {tables.SCHEMA}",
            remedy=f"restore it with Bastide {header.version}, then upgrade",
        )
    for table in _BORN_WITH_ONE:
        session.run(delete(table))
    rows = reader.fill(session)
    _count_on(session)
    return Content(header, rows)


def _count_on(session: Session) -> None:
    """PostgreSQL numbers rows by sequences, which know nothing of rows that came with their number: the next one would be refused."""
    if session.dialect != "postgresql":
        return
    for table in kept():
        if (column := table.autoincrement_column) is not None:
            sequence = func.pg_get_serial_sequence(str(table.name), str(column.name))
            last = func.max(column)
            session.run(select(func.setval(sequence, func.coalesce(last, 1), last.is_not(None))))


def _require_empty(session: Session) -> None:
    for table in kept():
        if table in _BORN_WITH_ONE:
            continue
        if session.run(select(func.count()).select_from(table)).scalar_one():
            raise Conflict(
                f"the database is not empty: there are rows in {table.name}",
                remedy="restore into a new one: set database.url, then `bastide db upgrade`",
            )


class _Reader:
    """Frames from a stream."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        self._length = 0

    def header(self) -> Header:
        """The first of them."""
        first = self._next()
        if not isinstance(first, Header) or first.format != FORMAT:
            raise StoreError("this is no backup that this version of Bastide can read", remedy=_DAMAGED)
        return first

    def fill(self, session: Session) -> Mapping[str, int]:
        """The tables, up to the footer."""
        rows: Counter[str] = Counter()
        waiting: list[dict[str, Any]] = []
        into: _Into | None = None
        size = 0
        while True:
            before = self._digest.digest()
            value = self._next(into)
            if into and isinstance(value, tuple):
                waiting.append(dict(zip(into.columns, value, strict=True)))
                rows[into.name] += 1
                size += self._length
            if into and waiting and (len(waiting) == _CHUNK or size > _HEAP or not isinstance(value, tuple)):
                session.run(into.insert, waiting)
                waiting, size = [], 0
            if isinstance(value, _Footer):
                return _ended(value, rows, before, self._source)
            if isinstance(value, _Start):
                into = _Into(value)
                rows[into.name] += 0
            elif isinstance(value, Header):
                raise StoreError("the backup is damaged: it begins twice", remedy=_DAMAGED)

    def _next(self, into: "_Into | None" = None) -> "Header | _Start | _Footer | tuple[Any, ...]":
        """`into`: the table that rows are of. Raises StoreError for what is no frame."""
        head = self._source.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _LARGEST + 1
        body = self._source.read(length) if length <= _LARGEST else b""
        if len(body) != length:
            raise StoreError("the backup is damaged: it ends too early", remedy=_DAMAGED)
        self._length = length
        self._digest.update(head + body)
        try:
            if body[:1] in _ARRAYS and into is not None:
                return into.rows.decode(body)
            return _FRAMES.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            where = f" in {into.name}" if into else ""
            raise StoreError(
                f"the backup is damaged: a frame{where} cannot be read", remedy=_DAMAGED
            ) from None


class _Into:
    """A table that rows go into. SQLite takes any value for any column, so what comes must be what belongs there."""

    def __init__(self, start: _Start) -> None:
        """Raises StoreError."""
        table = next((one for one in kept() if one.name == start.name), None)
        if table is None:
            raise StoreError("the backup is damaged: a table that nobody knows", remedy=_DAMAGED)
        self.name = str(table.name)
        self.columns = tuple(str(column.name) for column in table.columns)
        if start.columns != self.columns:
            raise StoreError(f"the backup is damaged: {self.name} has other columns", remedy=_DAMAGED)
        self.insert = insert(table)
        self.rows: msgspec.msgpack.Decoder[tuple[Any, ...]] = msgspec.msgpack.Decoder(
            tuple[tuple(map(_kind, table.columns))]  # type: ignore[misc]  # known only here
        )


def _kind(column: ColumnElement[Any]) -> Any:
    """Whether it may be missing the database itself says."""
    plain = column.type.python_type
    return (_Number if plain is int else plain) | None


def _ended(footer: _Footer, rows: Counter[str], digest: bytes, source: IO[bytes]) -> Mapping[str, int]:
    whole = footer.rows.keys() == {table.name for table in kept()}
    whole = whole and all(footer.rows[str(table.name)] == 1 for table in _BORN_WITH_ONE)
    if not whole or footer.digest != digest or footer.rows != dict(rows) or source.read(1):
        raise StoreError("the backup is damaged: its end does not fit what came before", remedy=_DAMAGED)
    return footer.rows
