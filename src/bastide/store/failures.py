"""The one door for errors of the database: drivers speak in many tongues, Bastide in StoreBusy, StoreUnavailable and Conflict.

A message holds the first line of what the driver said, with the password of the connection taken out. Values of statements are never part
of it (`hide_parameters` on the engine).
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from bastide.domain.errors import BastideError, Conflict, StoreBusy, StoreError, StoreUnavailable

Redact = Callable[[str], str]

_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_GONE = {
    sqlite3.SQLITE_FULL: ("the disk of the database is full", "free some space; nothing was lost"),
    sqlite3.SQLITE_IOERR: ("the disk of the database fails", "look at the kernel log and the file system"),
    sqlite3.SQLITE_CANTOPEN: (
        "the database cannot be opened",
        "is its file system mounted? `bastide db upgrade` makes a new database",
    ),
    sqlite3.SQLITE_READONLY: (
        "the database is read-only",
        "look at the owner and mode of the file, and how it is mounted",
    ),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "restore it from a backup"),
    sqlite3.SQLITE_NOTADB: ("the file is not a database", "look at the path, or restore it from a backup"),
    sqlite3.SQLITE_PERM: ("the database may not be opened", "look at the owner and mode of the file"),
}
_NO_SCHEMA = "the database is not set up for this version of Bastide"
_UPGRADE = "run `bastide db upgrade`"

#: SQLSTATE: serialization failure, deadlock, lock not available, too many connections, cannot connect now (starting up).
_PG_BUSY = frozenset({"40001", "40P01", "55P03", "53300", "57P03"})
_PG_GONE = {
    "53100": ("the disk of the database is full", "free some space; nothing was lost"),
    "25006": (
        "the database is read-only: a standby, or set so",
        "name every node in the DSN, with target_session_attrs=read-write",
    ),
    "25P03": ("the database ended an idle transaction", "look for a stalled process, then try again"),
    "42P01": (_NO_SCHEMA, _UPGRADE),
    "42703": (_NO_SCHEMA, _UPGRADE),
}


@contextmanager
def translated(redact: Redact) -> Iterator[None]:
    """Let only errors of the tree in domain/errors.py out."""
    try:
        yield
    except exc.TimeoutError as error:
        raise StoreBusy("no connection to the database is free", remedy="try again") from error
    except exc.DBAPIError as error:
        raise meaning(error, redact) from error
    except sqlite3.Error as error:
        raise _sqlite(error, redact) from error


def meaning(error: exc.DBAPIError, redact: Redact) -> BastideError:
    """What a driver's error means to Bastide."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite(cause, redact)
    state = str(getattr(cause, "sqlstate", None) or "")
    if state.startswith("23"):
        return Conflict("the database refused a value that must be unique or belong to something")
    if state in _PG_BUSY:
        return StoreBusy("the database is busy", remedy="try again")
    if state in _PG_GONE:
        message, remedy = _PG_GONE[state]
        return StoreUnavailable(message, remedy=remedy)
    said = _first_line(cause, redact)
    if isinstance(error, exc.OperationalError | exc.InterfaceError) or error.connection_invalidated:
        return StoreUnavailable(
            f"the database cannot be reached: {said}",
            remedy="look at the database server and database.url; whether the last commit counts is unknown",
        )
    return StoreError(f"the database refused a statement: {said}")


def _sqlite(error: sqlite3.Error, redact: Redact) -> BastideError:
    extended = getattr(error, "sqlite_errorcode", 0) or 0
    code, said = extended & 0xFF, _first_line(error, redact)
    if code in _SQLITE_BUSY:
        return StoreBusy("the database is locked", remedy="try again")
    if code in _SQLITE_GONE:
        message, remedy = _SQLITE_GONE[code]
        return StoreUnavailable(f"{message} ({said})", remedy=remedy)
    if "no such table" in said or "no such column" in said:
        return StoreUnavailable(_NO_SCHEMA, remedy=_UPGRADE)
    if code == sqlite3.SQLITE_CONSTRAINT and extended != sqlite3.SQLITE_CONSTRAINT_TRIGGER:
        return Conflict("the database refused a value that must be unique or belong to something")
    return StoreError(f"the database refused a statement: {said}")


def _first_line(error: object, redact: Redact) -> str:
    return redact((str(error).strip().splitlines() or [type(error).__name__])[0])
