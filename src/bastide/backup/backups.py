"""What people do with backups: make one, prove one, put one back.

Making one, in order:
  (1) One snapshot of the database is sealed to the public keys of the settings, and lies in the folder whole or not at all.
  (2) It is read back and compared. Then the audit says so (backup.made): the check of backups looks there, not into the folder.
  (3) The oldest of this node go, beyond as many as are kept.

Putting one back, in order:
  (4) Into an empty database of the same schema, all of it or nothing.
  (5) The chain of what came is verified, to the record that the backup names as its end. Then it is committed, and the audit says so (database.restored).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bastide.backup import dump, folder, sealed
from bastide.backup.dump import Content, Header
from bastide.backup.folder import Sink, Written
from bastide.domain.audit import GENESIS, verify
from bastide.domain.errors import StoreError, StoreUnavailable
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
class Made:
    """A backup that was made, and those that went for it."""

    written: Written
    header: Header
    removed: tuple[Path, ...]


def make(
    url: str, *, to: Path, recipients: Sequence[str], keep: int, node: str, version: str, now: datetime
) -> Made:
    """Raises InvalidInput, StoreError."""
    keys = sealed.recipients(recipients)
    migrations.check(url)
    database = open_database(url, busy=_BUSY, pool=1)
    try:
        with transaction(database, write=False) as session:
            head = SqlAuditLog(session).head()
            header = Header(dump.FORMAT, tables.SCHEMA, version, node, now, head)

            def fill(target: Sink) -> None:
                sealed.seal(dump.frames(session, header), target, keys)

            written = folder.write(to, folder.name_of(node, now), fill)  # (1)
    finally:
        database.close()
    data = {"sha256": written.sha256, "size": written.size, "seq": head[0], "node": node}
    _into_audit("backup.made", url, written.path, data, now)  # (2)
    return Made(written, header, folder.prune(to, node, keep, new=written.path))  # (3)


def prove(file: Path, key: Path) -> Content:
    """Put it back into a database of its own, which is thrown away. Raises StoreError, Conflict."""
    with TemporaryDirectory(prefix="bastide-restore-") as scratch:
        url = f"sqlite:///{scratch}/proof.db"
        migrations.upgrade(url)
        return _filled(url, file, key)


def restore(url: str, file: Path, key: Path, now: datetime) -> Content:
    """Raises StoreError, Conflict."""
    migrations.check(url)
    content = _filled(url, file, key)  # (4)
    header = content.header
    data = {"made_at": header.made_at.isoformat(), "node": header.node, "seq": header.head[0]}
    _into_audit("database.restored", url, file, data, now)  # (5)
    return content


def _filled(url: str, file: Path, key: Path) -> Content:
    keys = sealed.identities(key)
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreUnavailable(f"{file} cannot be read: {error.strerror}", remedy="name a backup") from None
    database = open_database(url, busy=_BUSY, pool=1)
    try:
        with os.fdopen(fd, "rb") as source, transaction(database, write=True) as session:
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


def _into_audit(kind: str, url: str, file: Path, data: Mapping[str, object], now: datetime) -> None:
    """In a commit of its own."""
    with closing(SqlStore(url)) as store, store.write() as uow:
        uow.audit.append(by_worker(kind, now, subject_name=file.name, data=data))
        uow.commit()
