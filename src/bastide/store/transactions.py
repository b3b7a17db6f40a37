"""A transaction on either database, behind the gate and the one door for its errors."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bastide.store.database import Database
from bastide.store.failures import translated
from bastide.store.session import Session


@contextmanager
def transaction(database: Database, *, write: bool) -> Iterator[Session]:
    """Begun, and undone at the end unless it was committed."""
    engine = database.writing if write else database.reading
    with database.gate.passing(write=write):
        with translated(database.redact):
            connection = engine.connect()
        try:
            with translated(database.redact):
                connection.begin()
            session = Session(connection, database.redact)
            yield session
            session.close()
        finally:
            _release(connection)


def _release(connection: Connection) -> None:
    """Roll back and give back. A connection that is lost has rolled back already, and must not hide the error that is on its way."""
    with suppress(DBAPIError):
        connection.close()
    if not connection.closed:
        connection.invalidate()
        connection.close()
