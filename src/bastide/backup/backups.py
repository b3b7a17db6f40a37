"""What people do with backups: make one, prove one, put one back.

Making one, in order:
  (1) One snapshot of the database is sealed to the public keys of the settings, and lies in its place whole or not at all.
  (2) It is read back and compared. Then the audit says so (backup.made): the check of backups looks there, not into the place.
  (3) The oldest of this node go, beyond as many as are kept.

Putting one back, in order:
  (4) Into an empty database of the same schema, all of it or nothing.
  (5) The chain of what came is verified, to the record that the backup names as its end. Then it is committed, and the audit says so (database.restored), and
      that nothing is granted before the directory was compared with it (services/recovery.py).
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic

from bastide.backup import dump, sealed
from bastide.backup.dump import Content, Header
from bastide.backup.place import B, Backup, Place, Sink, Written, name_of
from bastide.domain.audit import GENESIS, verify
from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.services import recovery
from bastide.services.events import by_worker
from bastide.services.ports import AuditQuery
from bastide.store import migrations, tables
from bastide.store.audit_log import SqlAuditLog
from bastide.store.engine import open_database
from bastide.store.session import Session
from bastide.store.transactions import transaction
from bastide.store.unit_of_work import SqlStore

_BUSY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Made(Generic[B]):
    """A backup that was made, and those that went for it."""

    written: Written[B]
    header: Header
    removed: tuple[B, ...]


def make(
    url: str,
    *,
    to: Place[B],
    recipients: Sequence[str],
    keep: int,
    node: str,
    version: str,
    now: datetime,
) -> Made[B]:
    """Raises InvalidInput, StoreError."""
    keys = sealed.recipients(recipients)
    migrations.check(url)
    database = open_database(url, busy=_BUSY, pool=1)
    headers: list[Header] = []

    def fill(target: Sink) -> None:
        """The snapshot ends with it: a share may take long after that."""
        with transaction(database, write=False) as session:
            head = SqlAuditLog(session).head()
            headers.append(Header(dump.FORMAT, tables.SCHEMA, version, node, now, head))
            sealed.seal(dump.frames(session, headers[0]), target, keys)

    try:
        written = to.write(name_of(node, now), fill)  # (1)
    finally:
        database.close()
    (header,) = headers
    data = {
        "sha256": written.sha256,
        "size": written.size,
        "seq": header.head[0],
        "node": node,
        "path": str(written.path),
    }
    _into_audit("backup.made", url, written.path, data, now)  # (2)
    return Made(written, header, to.prune(node, keep, new=written.path.name))  # (3)


def prove(file: Backup, key: Path) -> Content:
    """Put it back into a database of its own, which is thrown away. Raises StoreError, Conflict."""
    with TemporaryDirectory(prefix="bastide-restore-") as scratch:
        url = f"sqlite:///{scratch}/proof.db"
        migrations.upgrade(url)
        return _filled(url, file, key)


def restore(url: str, file: Backup, key: Path, now: datetime) -> Content:
    """Raises StoreError, Conflict."""
    migrations.check(url)
    content = _filled(url, file, key)  # (4)
    header = content.header
    data = {"made_at": header.made_at.isoformat(), "node": header.node, "seq": header.head[0]}
    _into_audit("database.restored", url, file, data, now, compare=True)  # (5)
    return content


def _filled(url: str, file: Backup, key: Path) -> Content:
    keys = sealed.identities(key)
    try:
        source = file.open("rb")
    except OSError as error:
        raise StoreUnavailable(f"{file} cannot be read: {error.strerror}", remedy="name a backup") from None
    database = open_database(url, busy=_BUSY, pool=1)
    try:
        with source, transaction(database, write=True) as session:
            with sealed.opened(source, keys) as clear:
                content = dump.restore(session, clear)
            _verify(session, content)
            session.commit()
    finally:
        database.close()
    return content


def _verify(session: Session, content: Content) -> None:
    """Raises AuditBroken, StoreError."""
    audit = SqlAuditLog(session)
    last = (0, GENESIS)
    try:
        with closing(audit.read(AuditQuery(limit=0))) as records:
            for record in verify(records):
                last = (record.seq, record.hash)
    except (ValueError, OverflowError):
        raise StoreError(
            "the backup is damaged: an audit record cannot be read", remedy="take another one"
        ) from None
    if not last == content.header.head == audit.head():
        raise StoreError(
            "the backup is damaged: its audit chain ends elsewhere than it says", remedy="take another one"
        )


def _into_audit(
    kind: str, url: str, file: Backup, data: Mapping[str, object], now: datetime, *, compare: bool = False
) -> None:
    """In a commit of its own. `compare`: nothing is granted before the directory was compared with what came."""
    with closing(SqlStore(url)) as store, store.write() as uow:
        uow.audit.append(by_worker(kind, now, subject_name=file.name, data=data))
        if compare:
            recovery.begin(uow, now, cause="restored from a backup")
        uow.commit()
