"""Engines for the two databases.

SQLite: WAL, synchronous=FULL, BEGIN IMMEDIATE for writers (a transaction that reads first and writes later fails at once when another
writer was faster). A file must exist: an empty one in place of a file system that is not mounted would be a silent loss of everything.

With `erase`, what is deleted leaves no trace in the file or beside it: secure_delete, and a rollback journal that each commit cuts to nothing.
"""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool, StaticPool

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.extras import install
from bastide.store.database import Database, Gate
from bastide.store.wakeup import Bell, FifoBell

MEMORY = ":memory:"
_WRITES = "bastide_writes"
#: KiB for each connection, of which there may be dozens: the kernel holds the file's pages for all of them.
_CACHE = "cache_size=-512"
_KEEP = ("journal_mode=WAL",)
_LOOK = ("query_only=ON",)
_ERASE = ("secure_delete=ON", "journal_mode=TRUNCATE")
_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", _CACHE)
_POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg://")


def open_database(
    url: str,
    *,
    busy: timedelta,
    pool: int,
    erase: bool = False,
    read_only: bool = False,
    patient: bool = False,
) -> Database:
    """`sqlite://` (in memory), `sqlite:///path` (the file must exist) or a libpq URI. Raises StoreError for another URL. `read_only`: what a
    SQLite file says is left as it is, its journal mode too; but a commit that a killed process left unfinished is taken back, as by everybody who opens
    it: who only may read (`mode=ro`) could not, and would find the file read-only until somebody else has done it. `patient`: a server may take as long for
    an answer as it will.

    Raises ModuleNotFoundError without psycopg, StoreUnavailable if psycopg finds no libpq: it says so with an ImportError without a name.
    """
    if url.startswith(_POSTGRES):
        try:
            from bastide.store import postgres  # noqa: PLC0415  # psycopg is an extra
        except ModuleNotFoundError:
            raise
        except ImportError as error:
            raise StoreUnavailable(
                "PostgreSQL's client library (libpq) cannot be loaded",
                remedy=f"`{install('postgres')}`, which brings one, or `apt-get install libpq5`",
            ) from error
        return postgres.open_postgres(url, busy, pool, patient=patient)
    return _sqlite(sqlite_path(url), busy, pool, erase=erase, read_only=read_only)


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


def _sqlite(path: str, busy: timedelta, pool: int, *, erase: bool, read_only: bool) -> Database:
    memory = path == MEMORY
    name = "file::memory:" if memory else f"file:{quote(str(Path(path).absolute()))}?mode=rw"
    journal = _LOOK if read_only else _ERASE if erase else _KEEP

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            name,
            uri=True,
            timeout=busy.total_seconds(),
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        for pragma in (*journal, *_PRAGMAS):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    options: dict[str, Any] = (
        {"poolclass": StaticPool}
        if memory
        else {"poolclass": QueuePool, "pool_size": pool, "max_overflow": 2 * pool}
    )
    engine = create_engine("sqlite://", creator=connect, hide_parameters=True, paramstyle="named", **options)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "reset", _roll_back)
    return Database(
        engine=engine,
        writing=engine.execution_options(**{_WRITES: True}),
        reading=engine,
        bell=Bell() if memory or erase or read_only else FifoBell(Path(path).absolute()),
        gate=Gate(busy, writers=True, readers=memory or erase),
        redact=str,
    )


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _roll_back(connection: sqlite3.Connection, *_: object) -> None:
    """Before a connection is kept for the next who comes. After a COMMIT that failed SQLAlchemy does not, as if the transaction were over; with a rollback journal a busy
    one is not: it would hold its lock for ever, and nobody could read or write any more.
    """
    connection.rollback()
