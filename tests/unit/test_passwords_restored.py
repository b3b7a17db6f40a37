"""A database and a vault that do not belong together: restored, new, or one node's own."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.errors import StoreUnavailable
from bastide.domain.passwords import State
from bastide.services.events import by_worker
from bastide.services.pace import MARK
from bastide.store.unit_of_work import SqlStore
from bastide.store.vault import SqlVault
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.stores import with_schema
from tests.support.sync_world import LEASE, SyncWorld


class Machine:
    """A database file, a vault file, and what runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "bastide.db"
        with_schema(self.database)
        self.running: list[SyncWorld] = []

    def start(self, *, enabled: bool = False, vault: str = "vault.db") -> SyncWorld:
        clock = self.running[0].clock if self.running else None
        url, vault_url = f"sqlite:///{self.database}", f"sqlite:///{self.folder / vault}"
        world = SyncWorld(url=url, vault_url=vault_url, enabled=enabled, clock=clock)
        self.running.append(world)
        return world

    def stop(self) -> None:
        for world in self.running:
            world.close()

    def back_up(self) -> None:
        self.stop()
        shutil.copy(self.database, self.folder / "backup.db")

    def restore(self) -> None:
        self.stop()
        for leftover in (self.database, *self.folder.glob("bastide.db-*")):
            leftover.unlink()
        shutil.copy(self.folder / "backup.db", self.database)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.stop()


def test_a_restored_database_beside_a_new_vault_is_noticed(machine: Machine) -> None:
    first = machine.start(enabled=True)
    first.ready("alice")
    first.tell("alice", "old")
    machine.back_up()
    machine.restore()
    (machine.folder / "vault.db").unlink()
    restored = machine.start()
    restored.passwords.switchboard.plant()
    assert restored.events.numbers() == [6916]
    status = restored.passwords.switchboard.status(restored.dave)
    assert (status.enabled, status.restored, status.waiting) == (False, True, 2)
    assert '"other_vault":true' in restored.audit("passwords.restored")[0].data
    restored.passwords.switchboard.enable(restored.dave)
    assert restored.vault.mark() == restored.head()
    assert not restored.passwords.switchboard.status(restored.dave).restored


def test_a_database_that_is_on_without_a_mark_is_a_restored_one(machine: Machine) -> None:
    """Killed between the commit and the mark, or a vault whose content was lost."""
    world = machine.start(enabled=True)
    with world.store.write() as uow:
        uow.switch.belong(SqlVault("sqlite://", world.sealer).identity())
        uow.commit()
    assert world.passwords.switchboard.off_if_restored()
    vault = SqlVault("sqlite://", world.sealer)
    with world.store.write() as uow:
        uow.switch.set(enabled=True)
        uow.switch.belong(vault.identity())
        uow.commit()
    world.adapters = replace(world.adapters, vault=vault)
    world.passwords = world.assemble()
    assert vault.mark() is None
    assert world.passwords.switchboard.off_if_restored()
    assert not world.passwords.switchboard.status(world.dave).enabled


def test_a_restore_does_not_undo_that_it_was_switched_off(machine: Machine) -> None:
    first = machine.start(enabled=True)
    first.ready("alice")
    machine.back_up()
    first = machine.start()
    first.passwords.switchboard.disable(first.dave)
    machine.restore()
    restored = machine.start()
    restored.passwords.switchboard.plant()
    assert restored.events.numbers() == [6916]
    assert not restored.passwords.switchboard.status(restored.dave).enabled


def test_off_is_off_although_the_vault_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SyncWorld()

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(SqlVault, "set_mark", away)
    world.passwords.switchboard.disable(world.dave)
    assert world.events.numbers() == [6910, 6911]


def test_a_node_with_a_vault_of_its_own_destroys_nothing(machine: Machine) -> None:
    first = machine.start(enabled=True)
    first.ready("alice", "bob")
    first.tell("alice", "one")
    second = machine.start(vault="own.db")
    second.systems, second.random = first.systems, first.random
    second.passwords = second.assemble()
    second.runner = second.new_runner("node-2")
    with pytest.raises(StoreUnavailable, match="not the one of this database"):
        second.tell("bob", "two", reference="two")
    assert not second.vault.references()
    second.work()
    assert second.events.numbers() == [6916]
    assert len(second.deliveries(State.PENDING)) == 2, "nothing ended as key-gone"
    assert not second.passwords.switchboard.status(second.dave).enabled
    first.passwords.switchboard.enable(first.dave)
    first.work()
    assert first.password("alice", "crm") == "one"


def test_the_mark_follows_the_audit(machine: Machine) -> None:
    """A restore that lost nothing but a changed join or agent is noticed, too."""
    world = machine.start(enabled=True)
    world.ready("alice")
    machine.back_up()
    world = machine.start()
    world.store.close()
    world.store = SqlStore(f"sqlite:///{machine.database}", followers={MARK: timedelta()})
    world.passwords = world.assemble()
    with world.store.write() as uow:
        uow.audit.append(by_worker("ma.changed", world.clock.now()))
        uow.commit()
    follow(world)
    marked = world.vault.mark()
    assert marked == world.head()
    machine.restore()
    restored = machine.start()
    with restored.store.write() as uow:
        for _ in range(10):
            uow.audit.append(by_worker("role.changed", restored.clock.now()))
        uow.commit()
    restored.passwords.switchboard.follow([])
    assert restored.events.numbers() == [6916]
    restored.passwords.switchboard.follow([])
    assert restored.vault.mark() == marked
    assert restored.passwords.switchboard.status(restored.dave).restored


def follow(world: SyncWorld) -> None:
    switchboard = world.passwords.switchboard
    job = Job((MARK,), lambda works, _: switchboard.follow(works), 1, LEASE)
    assert Runner(store=world.store, jobs=(job,), owner="n", clock=world.clock).run_due() == 1


def test_the_first_vault_is_no_loss_and_a_second_one_is(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    first = machine.start(enabled=True)
    first.passwords.switchboard.plant()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    machine.stop()
    (machine.folder / "vault.db").unlink()
    machine.start().passwords.switchboard.plant()
    assert "what was sealed with that one cannot be opened any more" in caplog.text
