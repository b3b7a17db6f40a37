"""The vault: the data keys of password changes, in a database of its own that no backup may hold.

The rules this module keeps:
  (1) A key is on disk when `put` returns, and gone when `destroy` returns. SQLite: deleted content is overwritten (secure_delete), and the
      rollback journal, which holds old pages, is cut to nothing with each commit (TRUNCATE; a write-ahead log would keep them).
  (2) Keys are sealed with the master key, to their reference: a stolen vault alone opens nothing, and a row moved to another change neither.
  (3) No repr, message or log holds a key.

What a file system or a disk keeps of overwritten blocks is out of reach: put the vault on memory-backed or encrypted storage if that matters.
PostgreSQL keeps deleted rows until the next VACUUM and in its write-ahead log: a vault there needs a cluster whose log is not archived; rule
(2) is what protects it then.
"""

import logging
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    select,
    text,
)

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.services.ports import Random, Sealer
from bastide.store.engine import MEMORY, is_sqlite, open_database, sqlite_path
from bastide.store.failures import translated
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts
from bastide.store.transactions import transaction

_log = logging.getLogger(__name__)
_BUSY = timedelta(seconds=10)
_NONCE = 12
_metadata = MetaData()

KEYS = Table(
    "vault_keys",
    _metadata,
    Column("reference", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
#: One row: the audit record that the database must have.
_marks = Table(
    "vault_mark",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    CheckConstraint("id = 1", name="vault_mark_one_row"),
)
#: One row: the id of this vault.
_identity = Table(
    "vault_identity",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("vault", String(64), nullable=False),
    CheckConstraint("id = 1", name="vault_identity_one_row"),
)
_PUT = upserts(KEYS, ["reference"])
_RESET_MARK = upserts(_marks, ["id"])
_PUT_MARK = upserts(_marks, ["id"], only_if=lambda new: _marks.c.seq < new.seq)
_IDENTITY = select(_identity.c.vault)
_GET = select(KEYS.c.reference, KEYS.c.sealed).where(one_of(KEYS.c.reference, "ids"))
_ALL = select(KEYS.c.reference)
_DESTROY = delete(KEYS).where(one_of(KEYS.c.reference, "ids"))
#: Two nodes that make the tables together take turns ("bastide vault").
_TURN = text("SELECT pg_advisory_xact_lock(7233171)")
_MARK = select(_marks.c.seq, _marks.c.hash)


class SqlVault:
    """The vault at `url`: `sqlite://` (in memory, for tests), `sqlite:////path` (made if it is missing, mode 0600) or a PostgreSQL URI. Opened
    when it is first used.
    """

    def __init__(self, url: str, sealer: Sealer) -> None:
        self._sealer = sealer
        self._url = url
        self._database = open_database(url, busy=_BUSY, pool=4, erase=True)
        self._ready = False
        self._preparing = threading.Lock()

    def __repr__(self) -> str:
        return f"SqlVault({self._database.engine.dialect.name})"

    def close(self) -> None:
        """End all connections."""
        self._database.close()

    def put(self, keys: Mapping[str, bytes], mark: tuple[int, str] | None = None) -> None:
        """By reference, and the mark, if it is a later one, in the same commit. Replaces earlier keys of the same references, which nobody got an
        answer about.
        """
        rows = [
            {"reference": reference, "sealed": self._sealer.seal(key, _context(reference))}
            for reference, key in sorted(keys.items())
        ]
        with self._transaction(write=True) as session:
            if rows:
                session.run(_PUT[session.dialect], rows)
            if mark is not None:
                session.run(_PUT_MARK[session.dialect], {"id": 1, "seq": mark[0], "hash": mark[1]})
            session.commit()

    def get(self, references: Collection[str]) -> Mapping[str, bytes]:
        """Those that are still there, and open: one that was tampered with is as good as gone."""
        found: dict[str, bytes] = {}
        with self._transaction(write=False) as session:
            for row in session.run(_GET, {"ids": sorted(set(references))}).all():
                with suppress(StoreError):
                    found[row.reference] = self._sealer.open(bytes(row.sealed), _context(row.reference))
        return found

    def destroy(self, references: Collection[str]) -> None:
        """Gone already is fine."""
        with self._transaction(write=True) as session:
            session.run(_DESTROY, {"ids": sorted(set(references))})
            session.commit()

    def references(self) -> frozenset[str]:
        """Of all keys."""
        with self._transaction(write=False) as session:
            return frozenset(row.reference for row in session.run(_ALL))

    def mark(self) -> tuple[int, str] | None:
        """The audit record that the database must have; None: nothing is known."""
        with self._transaction(write=False) as session:
            row = session.run(_MARK).first()
        return None if row is None else (int(row.seq), str(row.hash))

    def set_mark(self, seq: int, hash: str) -> None:  # noqa: A002  # the port's word
        """Unless there is a later one: two workers may come in any order."""
        with self._transaction(write=True) as session:
            session.run(_PUT_MARK[session.dialect], {"id": 1, "seq": seq, "hash": hash})
            session.commit()

    def reset_mark(self, seq: int, hash: str) -> None:  # noqa: A002  # the port's word
        """Whatever there was: an administrator has said that this database is the right one."""
        with self._transaction(write=True) as session:
            session.run(_RESET_MARK[session.dialect], {"id": 1, "seq": seq, "hash": hash})
            session.commit()

    def identity(self) -> str:
        """The id that this vault got by chance when it was made. A database belongs to one vault."""
        with self._transaction(write=False) as session:
            return str(session.run(_IDENTITY).scalar_one())

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Session]:
        self._prepare()
        with transaction(self._database, write=write) as session:
            yield session

    def _prepare(self) -> None:
        """Make what is missing, once. Two threads, or two nodes, may do so together."""
        with self._preparing:
            if not self._ready:
                self._make()
                self._ready = True

    def _make(self) -> None:
        if is_sqlite(self._url) and (path := sqlite_path(self._url)) != MEMORY:
            _make_file(path)
        with (
            self._database.gate.passing(write=True),
            translated(self._database.redact),
            self._database.writing.begin() as connection,
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(_TURN)
            _metadata.create_all(connection)
            if connection.execute(_IDENTITY).first() is None:
                connection.execute(_identity.insert().values(id=1, vault=str(uuid4())))


def _make_file(path: str) -> None:
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            _log.info("the vault %s was made", path)
    except OSError as error:
        raise StoreUnavailable(
            f"the vault cannot be made: {error}", remedy="make its directory, owned by the service's user"
        ) from error


def _context(reference: str) -> str:
    return f"vault\n{reference}"


class AesEnvelope:
    """AES-256-GCM with a data key that is used for one change only. Sealed: nonce (12 bytes), ciphertext with tag."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def seal(self, key: bytes, plain: bytes, context: str) -> bytes:
        """Seal to a context, which `open` must name again."""
        nonce = self._random.token(_NONCE)
        return nonce + AESGCM(key).encrypt(nonce, plain, context.encode())

    def open(self, key: bytes, sealed: bytes, context: str) -> bytes:
        """Raises StoreError if the text was changed, belongs to another row or to another key."""
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context.encode())
        except (InvalidTag, ValueError):
            raise StoreError(
                "a sealed password was changed, or belongs to another delivery",
                remedy="look for tampering; change the password again",
            ) from None
