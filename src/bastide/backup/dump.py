"""A database as a stream of frames, from one snapshot, the same for SQLite and PostgreSQL; and back into an empty one.

    header, then for each table its name and columns and its rows, then a footer: how many rows each table has, and the SHA-256 of all frames before it

A frame is MessagePack behind its length in four bytes; a row is an array, all others are maps. Without the footer, or with one that does not fit,
nothing counts.

What only means something to the processes of the moment is left out: sessions, challenges of security keys, the list of nodes.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import msgspec
from sqlalchemy import Table, delete, func, insert, select

from bastide.domain.errors import Conflict, StoreError
from bastide.store import password_tables, tables
from bastide.store.session import Session

FORMAT = 1
_LENGTH = struct.Struct(">I")
#: Of one frame, in bytes: a row holds a document at most.
_LARGEST = 64 * 1024 * 1024
_CHUNK = 500
_PASSING = frozenset({tables.sessions.name, tables.challenges.name, tables.nodes.name})
#: With a row from the start.
_BORN_WITH_ONE = (tables.audit_head, tables.schema_floor, password_tables.password_switch)
_DAMAGED = "take another one; what is damaged is never restored in part"


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
    for value in (header, *_contents(session, rows)):
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
    return Content(header, reader.fill(session))


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

    def header(self) -> Header:
        """The first of them."""
        first = self._next()
        if not isinstance(first, Header) or first.format != FORMAT:
            raise StoreError("this is no backup that this version of Bastide can read", remedy=_DAMAGED)
        return first

    def fill(self, session: Session) -> Mapping[str, int]:
        """The tables, up to the footer."""
        known = {str(table.name): table for table in kept()}
        rows: Counter[str] = Counter()
        waiting: list[dict[str, Any]] = []
        table: Table | None = None
        columns: tuple[str, ...] = ()
        while True:
            before = self._digest.digest()
            value = self._next()
            if isinstance(value, list) and table is not None and len(value) == len(columns):
                waiting.append(dict(zip(columns, value, strict=True)))
                rows[str(table.name)] += 1
            if waiting and (len(waiting) == _CHUNK or not isinstance(value, list)):
                session.run(insert(_of(table)), waiting)
                waiting = []
            if isinstance(value, _Footer):
                return _ended(value, rows, before, self._source)
            if isinstance(value, _Start):
                table, columns = known.get(value.name), value.columns
                rows[str(_of(table).name)] += 0
            elif not isinstance(value, list) or table is None or len(value) != len(columns):
                raise StoreError("the backup is damaged: a row without a table", remedy=_DAMAGED)

    def _next(self) -> Any:
        """Raises StoreError for what is no frame."""
        head = self._source.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _LARGEST + 1
        body = self._source.read(length) if length <= _LARGEST else b""
        if len(body) != length:
            raise StoreError("the backup is damaged: it ends too early", remedy=_DAMAGED)
        self._digest.update(head + body)
        try:
            value = msgspec.msgpack.decode(body)
            return value if isinstance(value, list) else msgspec.convert(value, Header | _Start | _Footer)
        except msgspec.MsgspecError:
            raise StoreError("the backup is damaged: a frame cannot be read", remedy=_DAMAGED) from None


def _of(table: Table | None) -> Table:
    if table is None:
        raise StoreError("the backup is damaged: a table that nobody knows", remedy=_DAMAGED)
    return table


def _ended(footer: _Footer, rows: Counter[str], digest: bytes, source: IO[bytes]) -> Mapping[str, int]:
    if footer.digest != digest or footer.rows != dict(rows) or source.read(1):
        raise StoreError("the backup is damaged: its end does not fit what came before", remedy=_DAMAGED)
    return footer.rows
