"""What a database says of itself, for health checks. Opened for reading; nothing is changed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, text

from bastide.domain.errors import StoreUnavailable
from bastide.store import migrations
from bastide.store.engine import is_sqlite, open_database, sqlite_path
from bastide.store.failures import translated

_BUSY = timedelta(seconds=5)
#: `quick_check` stops after so many complaints.
_COMPLAINTS = 5


@dataclass(frozen=True, slots=True)
class SqliteFacts:
    """One file. `complaints`: of `PRAGMA quick_check`; none: it is whole. `log`: bytes of the write-ahead log."""

    path: str
    journal: str
    complaints: tuple[str, ...]
    log: int


@dataclass(frozen=True, slots=True)
class StandbyFacts:
    """As pg_stat_replication of the primary shows it; empty where the role may not see it (pg_monitor). `behind`: bytes not yet replayed."""

    name: str
    state: str
    sync: str
    behind: int | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One PostgreSQL server of the DSN. `problem`: why it cannot be asked; then nothing else is known."""

    host: str
    port: int
    problem: str = ""
    version: str = ""
    writable: bool = False
    timeline: int = 0
    #: synchronous_standby_names; empty: commits wait for nobody.
    synchronous: str = ""
    standbys: tuple[StandbyFacts, ...] = ()
    #: Of a standby: how long ago the newest transaction was made that it has replayed.
    lag: timedelta | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """`fit`: of its schema and this program (None: not known, for `problem`). `options`: of the DSN, without its password."""

    version: str
    fit: migrations.Fit | None
    sqlite: SqliteFacts | None = None
    servers: tuple[ServerFacts, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    #: Why no server can be written to; then `version` and `fit` are not known.
    problem: str = ""


def inspect(url: str) -> DatabaseFacts:
    """Raises StoreError, StoreUnavailable, StoreBusy."""
    return _of_file(url, sqlite_path(url)) if is_sqlite(url) else _of_servers(url)


def _of_file(url: str, path: str) -> DatabaseFacts:
    if not Path(path).exists():
        raise StoreUnavailable(f"there is no database {path}", remedy="`bastide db upgrade` makes it")
    with _reading(url) as connection:
        complaints = _complaints(connection)
        log = Path(f"{path}-wal")
        facts = SqliteFacts(
            path,
            str(connection.execute(text("PRAGMA journal_mode")).scalar_one()).lower(),
            complaints,
            log.stat().st_size if log.exists() else 0,
        )
        version = str(connection.execute(text("SELECT sqlite_version()")).scalar_one())
        return DatabaseFacts(version, migrations.fit_of(connection), sqlite=facts)


def _complaints(connection: Connection) -> tuple[str, ...]:
    """A page may be so broken that the question itself fails: that is the answer."""
    try:
        with translated(str):
            found = connection.execute(text(f"PRAGMA quick_check({_COMPLAINTS})")).scalars().all()
    except StoreUnavailable as error:
        return (error.message,)
    return tuple(str(one) for one in found if one != "ok")


def _of_servers(url: str) -> DatabaseFacts:
    """The servers are asked in any case: with none that can be written to, they are what is to be looked at."""
    from bastide.store.inspect_postgres import options_of, servers_of  # noqa: PLC0415  # psycopg is an extra

    servers, options = servers_of(url), options_of(url)
    try:
        with _reading(url) as connection:
            version = str(connection.execute(text("SHOW server_version")).scalar_one())
            fit = migrations.fit_of(connection)
    except StoreUnavailable as error:
        return DatabaseFacts("", None, servers=servers, options=options, problem=error.message)
    return DatabaseFacts(version, fit, servers=servers, options=options)


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    database = open_database(url, busy=_BUSY, pool=1, read_only=True)
    try:
        with translated(database.redact), database.reading.connect() as connection:
            yield connection
    finally:
        database.close()
