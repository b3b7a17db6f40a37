"""Which master keys sealed what a database holds. Only looked at: nothing is made, and nothing is opened."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import msgspec
from sqlalchemy import LargeBinary, Table, func, select, type_coerce

from bastide.store import password_tables, reset_tables, tables
from bastide.store.engine import MEMORY, is_sqlite, open_database, sqlite_path
from bastide.store.keys import AeadSealer
from bastide.store.session import Session
from bastide.store.transactions import transaction
from bastide.store.vault import KEYS

_BUSY = timedelta(seconds=10)
_SIZE = 500
_COLUMNS = (password_tables.management_agent_secrets.c.sealed, KEYS.c.sealed)


class _Factor(msgspec.Struct):
    """What concerns us of one."""

    secret_encrypted: bytes


class _Doc(msgspec.Struct):
    """What concerns us of a security key, or of what a person registered for a reset."""

    sealed: bytes


def _of_factor(doc: str) -> bytes:
    return msgspec.json.decode(doc, type=_Factor).secret_encrypted


def _of_doc(doc: str) -> bytes:
    return msgspec.json.decode(doc, type=_Doc).sealed


_DOCS: Mapping[Table, Callable[[str], bytes]] = {
    tables.factors: _of_factor,
    tables.security_keys: _of_doc,
    reset_tables.registrations: _of_doc,
}


def sealed_by(url: str) -> Counter[str]:
    """How many values each master key has sealed in the database or vault at `url`, by the key's id in hexadecimal. Of a database that is not there yet: none.

    Raises StoreUnavailable, StoreBusy, StoreError.
    """
    if is_sqlite(url) and (sqlite_path(url) == MEMORY or not Path(sqlite_path(url)).exists()):
        return Counter()
    database = open_database(url, busy=_BUSY, pool=1, read_only=True)
    try:
        with transaction(database, write=False) as session:
            return Counter(_ids(session))
    finally:
        database.close()


def waiting(url: str) -> int | None:
    """How many keys the vault at `url` holds; None: it was not made yet. Raises as `sealed_by`."""
    if is_sqlite(url) and not Path(sqlite_path(url)).exists():
        return None
    database = open_database(url, busy=_BUSY, pool=1, read_only=True)
    try:
        with transaction(database, write=False) as session:
            if KEYS.name not in session.tables():
                return None
            return int(session.run(select(func.count()).select_from(KEYS)).scalar_one())
    finally:
        database.close()


def _ids(session: Session) -> Iterator[str]:
    names = session.tables()
    for column in _COLUMNS:
        if column.table.name in names:
            head = type_coerce(func.substr(column, 1, AeadSealer.HEAD), LargeBinary)
            for row in session.run(select(head.label("head"), func.count().label("number")).group_by(head)):
                yield from [AeadSealer.key_of(bytes(row.head))] * row.number if row.head else ()
    for table, sealed in _DOCS.items():
        if table.name in names:
            for row in session.stream(select(table.c.doc), {}, _SIZE):
                yield AeadSealer.key_of(sealed(row.doc))
