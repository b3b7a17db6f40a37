"""Which master keys sealed what a database holds. Only looked at: nothing is made, and nothing is opened."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
from sqlalchemy import LargeBinary, func, select, type_coerce

from bastide.store import password_tables, tables
from bastide.store.engine import MEMORY, is_sqlite, open_database, sqlite_path
from bastide.store.keys import AeadSealer
from bastide.store.session import Session
from bastide.store.transactions import transaction
from bastide.store.vault import KEYS

_BUSY = timedelta(seconds=10)
_SIZE = 500
_COLUMNS = (password_tables.management_agent_secrets.c.sealed, KEYS.c.sealed)
_FACTORS = select(tables.factors.c.doc)
_SECURITY_KEYS = select(tables.security_keys.c.doc)


class _Factor(msgspec.Struct):
    """What concerns us of one."""

    secret_encrypted: bytes


class _SecurityKey(msgspec.Struct):
    """What concerns us of one."""

    sealed: bytes


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
    if tables.factors.name in names:
        for row in session.stream(_FACTORS, {}, _SIZE):
            yield AeadSealer.key_of(msgspec.json.decode(row.doc, type=_Factor).secret_encrypted)
    if tables.security_keys.name in names:
        for row in session.stream(_SECURITY_KEYS, {}, _SIZE):
            yield AeadSealer.key_of(msgspec.json.decode(row.doc, type=_SecurityKey).sealed)
