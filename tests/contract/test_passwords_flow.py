"""The way of a password on each kind of store: taken in once however many nodes are told of it, delivered by several workers, erased."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bastide.domain.passwords import Receipt, State
from bastide.services.pace import PASSWORD
from bastide.services.passwords.late import HOLD
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.stores import url_for
from tests.support.sync_world import LEASE, SyncWorld

pytest_plugins = ["tests.support.postgres"]
POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)
PEOPLE = tuple(f"user{number:02}" for number in range(24))


@pytest.fixture(params=["sqlite", "memory", POSTGRES])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncWorld]:
    vault = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'vault.db'}"
    made = SyncWorld(url=url_for(request.param, tmp_path, request), vault_url=vault, threads=4)
    made.ready(*PEOPLE)
    yield made
    made.close()


def test_two_nodes_are_told_of_one_change_at_the_same_moment(world: SyncWorld) -> None:
    nodes = [world.assemble() for _ in range(4)]
    told = [world.notification(name, f"pw of {name}") for name in PEOPLE[:6]]
    barrier = threading.Barrier(len(nodes))

    def tell(number: int) -> list[Receipt | None]:
        barrier.wait()
        return [nodes[number].accept.notification(world.caller(), one).receipt for one in told]

    with ThreadPoolExecutor(len(nodes)) as pool:
        answers = list(pool.map(tell, range(len(nodes))))
    for receipts in zip(*answers, strict=True):
        assert sorted(receipts, key=str) == [Receipt.DUPLICATE] * 3 + [Receipt.STAGED]
    world.work()
    assert world.served("crm") == world.served("files") == 6
    assert not world.vault.references()


def test_several_workers_deliver_each_password_once(world: SyncWorld) -> None:
    for name in PEOPLE:
        assert world.tell(name, f"pw of {name}").receipt is Receipt.STAGED
    jobs = (Job((PASSWORD,), world.passwords.deliver.run, 5, LEASE),) * 4
    runner = Runner(store=world.store, jobs=jobs, owner="node", clock=world.clock)
    runner.start()
    try:
        for _ in range(600):
            if not world.deliveries(State.PENDING):
                break
            threading.Event().wait(0.05)
            world.clock.move(milliseconds=50)
    finally:
        runner.stop()
    for name in PEOPLE:
        assert world.password(name, "crm") == world.password(name, "files") == f"pw of {name}"
    assert world.served("crm") == world.served("files") == len(PEOPLE)
    assert len(world.audit("password.delivered")) == 2 * len(PEOPLE)
    assert not world.vault.references()


def test_new_changes_while_workers_deliver_end_with_the_newest(world: SyncWorld) -> None:
    jobs = (Job((PASSWORD,), world.passwords.deliver.run, 3, LEASE),) * 3
    runner = Runner(store=world.store, jobs=jobs, owner="node", clock=world.clock)
    runner.start()
    try:
        for number in range(12):
            world.clock.move(seconds=1)
            world.tell("user00", f"pw {number}")
        for _ in range(600):
            if not world.deliveries(State.PENDING):
                break
            threading.Event().wait(0.05)
            world.clock.move(milliseconds=50)  # else a lease that a slow worker lost never ends
    finally:
        runner.stop()
    assert world.password("user00", "crm") == world.password("user00", "files") == "pw 11"
    history = world.systems.systems["crm"].account(world.systems.systems["crm"].served[-1]).history
    numbers = [int(one.removeprefix("pw ")) for one in history if one]
    assert numbers == sorted(numbers), "no old one over a new one"
    # The clock jumps faster than a slow worker renews its lease; what was taken over from it is held for that long.
    world.clock.move(seconds=HOLD.total_seconds())
    world.work()
    assert not world.vault.references()


def test_the_queue_is_cleared_while_a_worker_delivers(world: SyncWorld) -> None:
    """What was cleared stays cleared if the target did not take it, and is delivered if it did."""
    crm = world.systems.systems["crm"]
    inside, go = threading.Event(), threading.Event()
    plain = crm.open

    def hang(secret: str) -> None:
        inside.set()
        assert go.wait(20)
        plain(secret)

    crm.open = hang  # type: ignore[method-assign]
    world.systems.systems["files"].faults.down = True
    world.tell("user00", "pw")
    worker = threading.Thread(target=world.work)
    worker.start()
    assert inside.wait(10)
    assert world.passwords.queue.clear(world.dave) == 1
    go.set()
    worker.join()
    states = {str(one.ma): one.state for one in world.deliveries()}
    assert states["ma-files"] is State.CLEARED
    assert states["ma-crm"] in {State.CLEARED, State.DELIVERED}
    assert (world.served("crm") == 1) is (states["ma-crm"] is State.DELIVERED)
    assert not any(one.sealed for one in world.deliveries())
    assert not world.vault.references()
