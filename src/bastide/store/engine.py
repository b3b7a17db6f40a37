"""Engines for the two databases, and who may write when.

SQLite: WAL, synchronous=FULL, BEGIN IMMEDIATE for writers (a transaction that reads first and writes later fails at once when another
writer was faster). PostgreSQL: the DSN goes to libpq as it is, so several hosts, service files and password files work.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import conninfo
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool, StaticPool

from bastide.domain.errors import StoreBusy, StoreError, StoreUnavailable
from bastide.store.failures import Redact
from bastide.store.wakeup import Bell, FifoBell, Listening, NotifyBell
from bastide.store.work import CHANNEL

MEMORY = ":memory:"
_WRITES = "bastide_writes"
#: A dead peer is noticed within half a minute, and a node that is cut off in the middle of a transaction holds its locks no longer than that.
_LIBPQ_DEFAULTS: Mapping[str, str] = {
    "application_name": "bastide",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "target_session_attrs": "read-write",
}
_SETTINGS = "SELECT set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', '30s', false)"


@dataclass(frozen=True, slots=True)
class Database:
    """An engine, and what goes with it. `writing` and `reading` share its pool."""

    engine: Engine
    writing: Engine
    reading: Engine
    bell: Bell
    gate: "Gate"
    redact: Redact

    def close(self) -> None:
        """End all connections."""
        self.bell.close()
        self.engine.dispose()


class Gate:
    """Lets the threads of one process write one after the other, without SQLite's polling between them.

    A database in memory has a single connection: there readers take turns too, and units of work cannot be nested.
    """

    def __init__(self, busy: timedelta, *, writers: bool, readers: bool) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._busy = busy.total_seconds()
        self._writers, self._readers = writers, readers

    @contextmanager
    def passing(self, *, write: bool) -> Iterator[None]:
        """Raises StoreBusy after the busy time, at once for a unit of work inside another one of the same thread."""
        if not (self._writers if write else self._readers):
            yield
            return
        if self._owner == threading.get_ident():
            raise StoreBusy("this thread has a unit of work open already", remedy="end it first")
        if not self._lock.acquire(timeout=self._busy):
            raise StoreBusy("the database is locked", remedy="try again")
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = 0
            self._lock.release()


def open_database(url: str, *, busy: timedelta, pool: int) -> Database:
    """`sqlite://` (in memory), `sqlite:///path` (the file must exist) or a libpq URI. Raises StoreError for another URL."""
    if url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        return _postgres(url, busy, pool)
    return _sqlite(sqlite_path(url), busy, pool)


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite database."""
    return url.startswith("sqlite:")


def sqlite_path(url: str) -> str:
    """The file of a `sqlite:` URL, or MEMORY. Raises StoreError; the URL is not repeated, for it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() != "sqlite":
        raise StoreError(
            "the database URL is not one that Bastide knows",
            remedy="use sqlite:////path/to/bastide.db or postgresql://user@host/name",
        )
    return parsed.database or MEMORY


def _sqlite(path: str, busy: timedelta, pool: int) -> Database:
    memory = path == MEMORY
    name = "file::memory:" if memory else f"file:{quote(str(Path(path).absolute()))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            name,
            uri=True,
            timeout=busy.total_seconds(),
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    options: dict[str, Any] = (
        {"poolclass": StaticPool}
        if memory
        else {"poolclass": QueuePool, "pool_size": pool, "max_overflow": 2 * pool}
    )
    engine = create_engine("sqlite://", creator=connect, hide_parameters=True, **options)
    event.listen(engine, "begin", _begin)
    return Database(
        engine=engine,
        writing=engine.execution_options(**{_WRITES: True}),
        reading=engine,
        bell=Bell() if memory else FifoBell(Path(path).absolute()),
        gate=Gate(busy, writers=True, readers=memory),
        redact=str,
    )


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgres(url: str, busy: timedelta, pool: int) -> Database:
    dsn, redact = _dsn(url.replace("postgresql+psycopg://", "postgresql://", 1))
    lock_timeout = f"{int(busy.total_seconds() * 1000)}ms"

    def connect() -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(dsn, autocommit=True)
        except psycopg.Error as error:
            # From None: what libpq says of a connection may repeat parts of the DSN.
            said = redact(str(error).splitlines()[0])
            raise StoreUnavailable(
                f"the database cannot be reached: {said}", remedy="look at the database server and the DSN"
            ) from None
        connection.execute(_SETTINGS, (lock_timeout,))
        connection.autocommit = False
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=pool,
        max_overflow=2 * pool,
        pool_timeout=busy.total_seconds(),
    )
    return Database(
        engine=engine,
        writing=engine,
        reading=engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        bell=NotifyBell(lambda: _Notifications(connect)),
        gate=Gate(busy, writers=False, readers=False),
        redact=redact,
    )


def _dsn(url: str) -> tuple[str, Redact]:
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # From None: libpq repeats the URL it does not understand.
        raise StoreError(
            "the PostgreSQL URL cannot be read",
            remedy="use postgresql://user@host/name; encode special characters",
        ) from None
    password = str(given.get("password") or "")

    def redact(said: str) -> str:
        return said.replace(password, "***") if password else said

    return conninfo.make_conninfo(**{**_LIBPQ_DEFAULTS, **given}), redact


class _Notifications(Listening):
    """A connection on which LISTEN is in force."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        try:
            self._connection = connect()
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {CHANNEL}")
        except StoreUnavailable as error:
            raise OSError(error.message) from None
        except psycopg.Error as error:
            raise OSError(type(error).__name__) from None

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._connection.fileno()

    def take(self) -> bool:
        """Take what has come, without waiting. Raises OSError if the connection broke."""
        try:
            return bool(list(self._connection.notifies(timeout=0)))
        except psycopg.Error as error:
            raise OSError(type(error).__name__) from None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
