"""A database put back behind Bastide's back, on two real forests: what it does not know of is taken away, and only then anything is granted."""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.domain.errors import Conflict
from bastide.domain.requests import State
from bastide.services.ports import AuditQuery
from bastide.services.recovery import reconciling
from bastide.store.mark import FileMark
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import assemble
from tests.support.directory_lab import DirectoryLab
from tests.support.patience import PATIENCE
from tests.support.samba_world import SambaWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab


class RestoredSamba(SambaWorld):
    """With the mark in a file, as a node has it."""

    def __init__(self, forests: DirectoryLab, work: Path) -> None:
        super().__init__(forests, work, prefix="rc.")
        self.file, self._kept, self._mark = work / "bastide.db", work / "kept.db", FileMark(work / "mark")
        self._assemble()

    def _assemble(self) -> None:
        self.services = assemble(replace(self._adapters(), mark=self._mark), self._preparation())

    def keep(self) -> None:
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(self._kept)) as copy:
            source.backup(copy)

    def put_back(self) -> None:
        self.stop()
        self.services.recovery.follow()  # the last heartbeat of the node
        self.store.close()
        for name in ("bastide.db", "bastide.db-wal", "bastide.db-shm"):
            self.file.with_name(name).unlink(missing_ok=True)
        self.file.write_bytes(self._kept.read_bytes())
        self.store = SqlStore(f"sqlite:///{self.file}")
        self._assemble()
        self.services.recovery.plant()

    def compares(self) -> bool:
        with self.store.read() as uow:
            return reconciling(uow) is not None


@pytest.fixture(scope="module")
def world(directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestoredSamba]:
    made = RestoredSamba(directory_lab, tmp_path_factory.mktemp("rc"))
    made.start()
    yield made
    made.close()


def test_what_was_granted_after_the_backup_is_taken_away_and_only_then_granted_anew(
    world: RestoredSamba,
) -> None:
    password = f"{secrets.token_urlsafe(12)}!1aA"
    alice = world.prepare("alice", password)
    role = world.prepare_role("Files, restored", "FileAdmins", ("alice",))
    world.keep()
    world.wait_for(world.ask("alice", role.name), State.ACTIVE)
    assert world.opens_share(alice, password) == "open"
    world.put_back()
    assert world.compares()
    assert world.opens_share(alice, password) == "open", "the directory knows nothing of a restore"
    with pytest.raises(Conflict, match="being compared"):
        world.ask("alice", role.name)
    world.start()
    deadline = time.monotonic() + PATIENCE
    while world.compares():
        assert time.monotonic() < deadline, "it is still being compared"
        time.sleep(0.2)
    assert world.opens_share(alice, password) != "open"
    with world.store.read() as uow:
        removed = [
            json.loads(r.data) for r in uow.audit.read(AuditQuery(kind="recovery.member-removed", limit=0))
        ]
    assert [one["group"] for one in removed] == ["RC-FileAdmins"]
    again = world.wait_for(world.ask("alice", role.name), State.ACTIVE)
    assert world.opens_share(alice, password) == "open"
    world.services.requests.kill(world.dave, "exercise", request=again.id)
    world.wait_for(again, State.CLOSED)
    world.services.audit.verify_chain()
