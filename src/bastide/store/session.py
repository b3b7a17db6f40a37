"""One transaction's connection, and its only way to run a statement."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, Row

from bastide.domain.errors import StoreError
from bastide.store.failures import Redact, translated

_OVER = "this unit of work is over; start another one"
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Session:
    """Runs statements with translated errors until it is closed. Not for two threads at once."""

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
        if not self._open:
            raise StoreError(_OVER)
        with translated(self._redact):
            return self._connection.execute(statement, parameters)

    def stream(self, statement: Executable, parameters: Mapping[str, Any], size: int) -> Iterator[Row[Any]]:
        """Row by row, fetching `size` at a time (a server-side cursor on PostgreSQL)."""
        if not self._open:
            raise StoreError(_OVER)
        options = {"yield_per": size}
        with (
            translated(self._redact),
            self._connection.execute(statement, parameters, execution_options=options) as rows,
        ):
            yield from rows

    def close(self) -> None:
        """Refuse what follows."""
        self._open = False
