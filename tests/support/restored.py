"""A Bastide in memory whose database is a file: kept at one moment, and put back later, while the directories go on."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from bastide.domain.roles import Role
from bastide.services.ports import AuditQuery
from bastide.services.recovery import reconciling
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import assemble
from tests.support.stores import with_schema
from tests.support.world import ADDRESS, World


class RestoredWorld(World):
    """The mark lies outside of the database: it is not put back with it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.file, self._kept = folder / "bastide.db", folder / "kept.db"
        self._url = with_schema(self.file)
        super().__init__(url=self._url, **options)

    def keep(self) -> None:
        """What any copy of the database does. A node has looked at its mark by then."""
        self.services.recovery.follow()
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(self._kept)) as copy:
            source.backup(copy)

    def grant_after_copy(self) -> Role:
        """A role, a copy of the database, and a grant of the role that the copy does not know."""
        role = self.ready()
        self.keep()
        self.ask(role.name)
        self.work()
        return role

    def put_back(self) -> None:
        """A heartbeat comes by; then the service is stopped, the older database put in place, and the service started."""
        self.services.recovery.follow()
        self.store.close()
        for name in ("bastide.db", "bastide.db-wal", "bastide.db-shm"):
            self.file.with_name(name).unlink(missing_ok=True)
        self.file.write_bytes(self._kept.read_bytes())
        self.store = SqlStore(self._url)
        self.adapters = replace(self.adapters, store=self.store)
        self.services = assemble(self.adapters, self._preparation(), address=ADDRESS)
        self.runner = self.new_runner("node-2")
        self.services.recovery.plant()

    def compare(self, seconds: int = 60) -> bool:
        """Let the workers go on for so long; whether the comparison is over."""
        for _ in range(seconds * 4):
            self.runner.run_due()
            if not self.compares():
                return True
            self.clock.move(milliseconds=250)
        return False

    def compares(self) -> bool:
        with self.store.read() as uow:
            return reconciling(uow) is not None

    def said(self, kind: str) -> list[str]:
        """The data of the records of a kind, as they were written."""
        with self.store.read() as uow:
            return [record.data for record in uow.audit.read(AuditQuery(kind=kind, limit=0))]
