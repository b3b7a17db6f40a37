"""A file system that is really full, under the database of password synchronization: nothing is half taken in, nothing waits longer than a lease when there is room again."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bastide.clock import SystemClock
from bastide.domain.errors import StoreUnavailable
from bastide.domain.passwords import State
from bastide.services.pace import PASSWORD
from bastide.services.passwords.deliver import BATCH
from bastide.services.passwords.lanes import WORKERS
from bastide.store import migrations
from bastide.wire import Verdict
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.inside import filled, small_disk
from tests.support.sync_world import LEASE, SyncWorld

FULL = "disk of the database is full"
SYSTEMS = ("crm", "files")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, "4m"):
        yield folder


@pytest.fixture
def world(disk: Path, tmp_path: Path) -> Iterator[SyncWorld]:
    """The vault lies on another disk, as installed."""
    url = f"sqlite:///{disk}/bastide.db"
    migrations.upgrade(url)
    made = SyncWorld(url=url, vault_url=f"sqlite:///{tmp_path}/vault.db")
    made.ready()
    yield made
    made.close()


def passwords(world: SyncWorld) -> set[str]:
    return {world.password("alice", space) for space in SYSTEMS}


def test_a_change_that_does_not_fit_is_taken_whole_when_there_is_room(world: SyncWorld, disk: Path) -> None:
    told = world.notification("alice", "Sesam-1")
    staged = len(world.audit("password.staged"))
    with filled(disk):
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=FULL):
                world.passwords.accept.notification(world.caller(), told)
        world.work()
        assert (world.deliveries(), len(world.audit("password.staged"))) == ([], staged)
    assert world.passwords.switchboard.status(world.dave).restored is False
    assert world.passwords.accept.notification(world.caller(), told).verdict is Verdict.ACCEPTED
    world.work()
    assert passwords(world) == {"Sesam-1"}
    assert [world.served(space) for space in SYSTEMS] == [1, 1]


@pytest.mark.parametrize("left", [0, 4096, 16384])
def test_what_was_set_and_could_not_be_written_down_is_set_again_after_the_lease(
    world: SyncWorld, disk: Path, left: int
) -> None:
    """The disk fills up between claim and result: `policy` is asked while the password is being set."""
    filling = filled(disk, left=left)

    def fill(_password: str) -> str:
        world.systems.systems["crm"].policy = lambda _: ""
        filling.__enter__()
        return ""

    world.systems.systems["crm"].policy = fill
    world.tell("alice", "Sesam-2")
    with pytest.raises(StoreUnavailable, match=FULL):
        world.work()
    filling.__exit__(None, None, None)
    world.clock.move(seconds=LEASE.total_seconds())
    world.work()
    assert passwords(world) == {"Sesam-2"}
    assert {one.state for one in world.deliveries()} == {State.DELIVERED}


def test_workers_that_met_the_end_of_the_disk_go_on_by_themselves(disk: Path, tmp_path: Path) -> None:
    """With threads, as a server runs them, asleep or in the middle of something when the room comes back: nobody wakes them but the change itself."""
    url = f"sqlite:///{disk}/bastide.db"
    migrations.upgrade(url)
    clock: Any = SystemClock()  # as SyncWorld wants one that can be moved
    world = SyncWorld(url=url, vault_url=f"sqlite:///{tmp_path}/vault.db", clock=clock)
    world.ready()
    jobs = (Job((PASSWORD,), world.passwords.deliver.run, BATCH, timedelta(seconds=1)),) * WORKERS
    runner = Runner(store=world.store, jobs=jobs, owner="node", clock=clock)
    runner.start()
    try:
        for number, left in enumerate((0, 8192, 32768, 65536)):
            told = world.notification("alice", f"Sesam-{number}")
            with filled(disk, left=left):
                with suppress(StoreUnavailable):  # some fit, and their results do not
                    world.passwords.accept.notification(world.caller(), told)
                time.sleep(0.2)
            assert world.passwords.accept.notification(world.caller(), told).verdict is Verdict.ACCEPTED
            deadline = time.monotonic() + 10
            while passwords(world) != {f"Sesam-{number}"}:
                assert time.monotonic() < deadline, (left, world.deliveries(State.PENDING))
                time.sleep(0.01)
    finally:
        runner.stop()
        world.close()
