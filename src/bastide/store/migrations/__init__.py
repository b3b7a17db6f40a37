"""The schema and its history, without an alembic.ini: `upgrade`, `current`, `newest`, `check`.

Expand, then contract: a version that only adds lets programs of earlier ones go on beside it, so that nodes are upgraded one after the other. The
database itself says how far that goes: its floor is the oldest schema whose programs it carries (table schema_floor; before 0005 there is none).
A version is a number of four digits, so that versions compare as text.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, select, text
from sqlalchemy.pool import StaticPool

from bastide.domain.errors import StoreUnavailable
from bastide.domain.nodes import fits
from bastide.store import tables
from bastide.store.engine import MEMORY, is_sqlite, open_database, sqlite_path
from bastide.store.failures import translated

_HERE = Path(__file__).parent
_BUSY = timedelta(seconds=60)
#: Two nodes that are upgraded together take turns ("bastide", in hexadecimal).
_TURN = text("SELECT pg_advisory_xact_lock(x'62617374696465'::bigint)")


@dataclass(frozen=True, slots=True)
class Fit:
    """`found`: the version of the database (None: it is empty). `needed`: this program's. `floor`: the oldest whose programs can work on it; empty: it
    does not say, and only its own can.
    """

    found: str | None
    needed: str
    floor: str

    @property
    def good(self) -> bool:
        return fits(self.found, self.needed, self.floor)


def upgrade(url: str) -> str:
    """Bring the database to the newest version, all or nothing, making a missing SQLite file (mode 0600). Returns the version. One that is newer already,
    and carries this program, is left as it is: a node of the earlier version restarts during a rolling upgrade.

    Raises StoreUnavailable, StoreBusy.
    """
    if is_sqlite(url):
        _make_file(sqlite_path(url))
    with _connected(url, write=True) as connection:
        fit = fit_of(connection)
        if fit.good and fit.found is not None:
            return fit.found
        run(connection)
        connection.commit()
    return newest()


def current(url: str) -> str | None:
    """The version of the database; None: it is empty. Raises StoreUnavailable."""
    with _connected(url, write=False) as connection:
        return version_of(connection)


def newest() -> str:
    """The version this program needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def check(url: str) -> Fit:
    """What fits what. Raises StoreUnavailable unless the database has the version this program needs, or a newer one that only added to it."""
    with _connected(url, write=False) as connection:
        fit = fit_of(connection)
    require(fit)
    return fit


def require(fit: Fit) -> None:
    """Raise StoreUnavailable unless this program can work on it."""
    if not fit.good:
        carries = f" and carries programs from {fit.floor} on" if fit.floor else ""
        raise StoreUnavailable(
            f"the database has version {fit.found or 'none'}{carries}, this program needs {fit.needed}",
            remedy="run `bastide db upgrade`, or start the program that fits the database",
        )


def fit_of(connection: Connection) -> Fit:
    """As `check`, on a connection, without a judgement."""
    floor = ""
    if inspect(connection).has_table(tables.schema_floor.name):
        floor = connection.execute(select(tables.schema_floor.c.version)).scalar_one()
    return Fit(version_of(connection), newest(), floor)


def run(connection: Connection) -> None:
    """Upgrade on a connection; the commit is the caller's."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def version_of(connection: Connection) -> str | None:
    """As `current`, on a connection."""
    return MigrationContext.configure(connection).get_current_revision()


def fill_memory(engine: Engine) -> None:
    """Put the schema into a database in memory; copied from one made once, because tests need many."""
    raw = engine.raw_connection()
    try:
        connection = raw.driver_connection
        if not isinstance(connection, sqlite3.Connection):
            raise TypeError("not a SQLite database")
        connection.deserialize(_template())
    finally:
        raw.close()


@cache
def _template() -> bytes:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as raw:
        engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        with engine.connect() as connection:
            run(connection)
            connection.commit()
        return raw.serialize()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _make_file(path: str) -> None:
    if path == MEMORY:
        raise StoreUnavailable(
            "a database in memory has its schema from the start and is gone with its process"
        )
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"the database cannot be made: {error}", remedy="make its directory, owned by the service's user"
        ) from error


@contextmanager
def _connected(url: str, *, write: bool) -> Iterator[Connection]:
    database = open_database(url, busy=_BUSY, pool=1, patient=True)
    try:
        with (
            translated(database.redact),
            (database.writing if write else database.reading).connect() as connection,
        ):
            if write and connection.dialect.name == "postgresql":
                connection.execute(_TURN)
            yield connection
    finally:
        database.close()
