"""An engine with what goes with it, and who may write when."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from bastide.domain.errors import StoreBusy
from bastide.store.failures import Redact
from bastide.store.wakeup import Bell


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
        """End all connections; one that somebody still uses, when it comes back."""
        self.bell.close()
        event.listen(self.engine.pool, "checkin", _end)
        self.engine.dispose()


def _end(_connection: object, entry: ConnectionPoolEntry) -> None:
    """SQLAlchemy would put it back into a pool that nobody has any more, where it stays open until it is collected as garbage."""
    entry.invalidate()


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
