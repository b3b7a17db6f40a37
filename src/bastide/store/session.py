"""One transaction's connection, and its only way to run a statement."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect, Executable, Row, inspect
from sqlalchemy.sql.compiler import SQLCompiler

from bastide.domain.errors import BastideError, StoreError
from bastide.store.failures import Redact, translated

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Session:
    """Runs statements with translated errors until it is closed. Not for two threads at once.

    An error closes it: PostgreSQL answers a COMMIT after a failed statement with a silent ROLLBACK, and half a batch must not count either.
    """

    def __init__(self, connection: Connection, redact: Redact) -> None:
        self._connection = connection
        self._redact = redact
        self._open = True

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    def run(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        """Execute; with a sequence of parameters once for each. Raises StoreBusy, StoreUnavailable, Conflict."""
        with self._at_work():
            if parameters is None or isinstance(parameters, Mapping):
                return self._connection.execute(statement, parameters)
            return self._run_many(statement, parameters)

    def _run_many(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> CursorResult[Any]:
        """By the driver itself: SQLAlchemy looks at every value of every row, which was a sixth of a large commit, and finds nothing to convert."""
        text, fixed = _as_text(statement, self._connection.dialect, tuple(rows[0]))
        return self._connection.exec_driver_sql(
            text, [{**fixed, **row} for row in rows] if fixed else [*rows]
        )

    def stream(
        self, statement: Executable, parameters: Mapping[str, Any], size: int
    ) -> Generator[Row[Any], None, None]:
        """Row by row, fetching `size` at a time (a server-side cursor on PostgreSQL)."""
        options = {"yield_per": size}
        with (
            self._at_work(),
            self._connection.execute(statement, parameters, execution_options=options) as rows,
        ):
            yield from rows

    def tables(self) -> Sequence[str]:
        """The names of all tables that are there."""
        with self._at_work():
            return inspect(self._connection).get_table_names()

    def commit(self) -> None:
        """Commit, and close. Raises StoreBusy, StoreUnavailable, StoreError if something failed before."""
        with self._at_work():
            self._connection.commit()
        self.close()

    def close(self) -> None:
        """Refuse what follows."""
        self._open = False

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        if not self._open:
            raise StoreError("this unit of work is over, or something in it failed; start another one")
        try:
            with translated(self._redact):
                yield
        except BastideError:
            self.close()
            raise


@lru_cache(maxsize=256)
def _as_text(
    statement: ClauseElement, dialect: Dialect, names: tuple[str, ...]
) -> tuple[str, Mapping[str, Any]]:
    """The statement as the driver takes it with rows of these names, and the values that are the same for each of them. Raises ValueError if one has no value."""
    compiled = statement.compile(dialect=dialect, column_keys=names)
    fixed = {name: value for name, value in compiled.params.items() if name not in names}
    missing = [name for name in fixed if cast("SQLCompiler", compiled).binds[name].required]
    if missing:
        raise ValueError(f"rows without {', '.join(missing)}")
    return str(compiled), fixed
