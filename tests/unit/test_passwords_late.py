"""A worker that stalls for longer than its lease: what it may not begin, what it wrote too late, and what is kept until then. A test for each
number of services/passwords/late.py, and for the lease that a job is given.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import LostLease, StoreUnavailable
from bastide.domain.passwords import Code, State
from bastide.services.pace import PASSWORD
from bastide.services.passwords.late import HOLD
from bastide.services.passwords.ports import NewPassword, Result
from bastide.services.ports import Work
from bastide.store.unit_of_work import SqlStore
from bastide.targets.memory import MemoryTarget
from bastide.workers.runner import HeldLease
from tests.support.sync_world import LEASE, SyncWorld, guid_of


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice")
    return made


def claim(world: SyncWorld, owner: str = "stalled") -> tuple[Work, ...]:
    return world.store.claim((PASSWORD,), owner=owner, lease=LEASE, limit=1000, now=world.clock.now())


def stall(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None], times: int = 1) -> None:
    """In the middle of a write: `meanwhile` happens, and then the write arrives."""
    plain, left = MemoryTarget.set, [times]

    def late(target: MemoryTarget, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        if left[0]:
            left[0] -= 1
            meanwhile()
        return plain(target, passwords)

    monkeypatch.setattr(MemoryTarget, "set", late)


def taken_over(world: SyncWorld) -> None:
    """The lease goes by, a newer change comes, another node serves it."""
    world.clock.move(seconds=60)
    world.tell("alice", "NEW")
    world.new_runner("node-2").run_due()
    assert world.password("alice", "crm") == "NEW"


def test_an_older_password_that_was_written_too_late_is_overwritten_again(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tell("alice", "OLD")
    works = claim(world)
    stall(monkeypatch, lambda: taken_over(world))
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    world.work()
    assert world.password("alice", "crm") == world.password("alice", "files") == "NEW"
    (said,) = world.audit("password.overwritten")
    assert '"again":true' in said.data
    assert (6901, "overwritten") in [(number, data.get("Result")) for number, data in world.events.written]
    world.clock.move(seconds=HOLD.total_seconds())
    world.work()
    assert not world.vault.references()
    assert not any(one.sealed for one in world.deliveries())
    assert {one.state for one in world.deliveries()} == {State.DELIVERED, State.FAILED}


def test_a_late_write_while_the_newer_one_is_on_its_way(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is committed before the other node's delivery is: that commit sees it."""
    world.tell("alice", "OLD")
    claim(world)
    (old,) = [one for one in world.deliveries() if one.ma == "ma-crm"]
    world.clock.move(seconds=60)
    world.tell("alice", "NEW")
    plain, first = MemoryTarget.set, [True]

    def overtaken(target: MemoryTarget, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        done = plain(target, passwords)
        if first.pop() if first else False:
            world.systems.systems["crm"].account(guid_of("crm alice")).password = "OLD"
            world.passwords.deliver._late.wrote(old, None, world.clock.now())
        return done

    monkeypatch.setattr(MemoryTarget, "set", overtaken)
    world.new_runner("node-2").run_due()
    assert '"again":true' in world.audit("password.overwritten")[0].data
    assert world.password("alice", "crm") == world.password("alice", "files") == "NEW"
    assert not world.deliveries(State.PENDING)


def test_without_its_key_a_person_is_told(world: SyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tell("alice", "OLD")
    works = claim(world)

    def much_later() -> None:
        taken_over(world)
        world.clock.move(seconds=HOLD.total_seconds())
        world.work()
        assert not world.vault.references()

    stall(monkeypatch, much_later)
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    assert '"again":false' in world.audit("password.overwritten")[0].data
    details = [str(data.get("Detail")) for _, data in world.events.written]
    assert any("change the password once more" in one for one in details)


def test_what_is_told_again_later_if_the_database_is_away(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tell("alice", "OLD")
    works = claim(world)
    stall(monkeypatch, lambda: taken_over(world))
    away, plain = [True], world.passwords.deliver._late._report

    def report(*arguments: Any) -> None:
        if away[0]:
            raise StoreUnavailable("away")
        plain(*arguments)

    monkeypatch.setattr(world.passwords.deliver._late, "_report", report)
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    assert not world.audit("password.overwritten")
    assert world.password("alice", "crm") == "OLD"
    away[0] = False
    world.passwords.deliver.run([])
    world.work()
    assert world.audit("password.overwritten")
    assert world.password("alice", "crm") == "NEW"


def test_the_same_password_written_twice_is_nothing_to_tell(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tell("alice", "only")
    works = claim(world)

    def meanwhile() -> None:
        world.clock.move(seconds=60)
        world.new_runner("node-2").run_due()

    stall(monkeypatch, meanwhile)
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    assert not world.audit("password.overwritten")
    assert world.password("alice", "crm") == "only"


def test_only_what_is_taken_over_is_held(world: SyncWorld) -> None:
    world.tell("alice", "first")
    world.work()
    assert not world.vault.references()
    world.clock.move(seconds=1)
    world.tell("alice", "second")
    claim(world)
    world.clock.move(seconds=11)
    world.systems.systems["crm"].faults.down = True
    world.work()
    assert len([one for one in world.deliveries(State.DELIVERED) if one.sealed]) == 1
    world.systems.systems["crm"].faults.down = False
    world.clock.move(seconds=60)
    world.tell("alice", "third")
    world.work()
    held = {one.stamp.changed_at for one in world.deliveries(State.DELIVERED) if one.sealed}
    assert len(held) == 2, "what replaces a held one is held as long"
    world.passwords.switchboard.disable(world.dave)
    world.work()
    world.clock.move(hours=2)
    world.work()
    world.passwords.switchboard.enable(world.dave)
    world.work()
    assert not world.vault.references()
    assert world.password("alice", "crm") == world.password("alice", "files") == "third"


def test_a_node_stops_before_the_part_that_is_not_surely_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it had sent by then is settled."""
    world = SyncWorld()
    world.add_target("crm")
    world.add_source("corp", "crm")
    for number in range(150):
        world.add_user(f"user{number}", "corp", "crm")
        world.tell(f"user{number}", "secret")

    def renew(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(SqlStore, "renew", renew)
    stall(monkeypatch, lambda: world.clock.move(seconds=6))
    with pytest.raises(LostLease):
        world.work()
    assert world.served("crm") == 100
    assert len(world.deliveries(State.DELIVERED)) == 100
    monkeypatch.undo()
    world.clock.move(seconds=11)
    world.work()
    assert world.served("crm") == 150


def test_a_slow_target_is_settled_after_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SyncWorld()
    world.add_target("crm")
    world.add_source("corp", "crm")
    for number in range(150):
        world.add_user(f"user{number}", "corp", "crm")
        world.tell(f"user{number}", "secret")
    seen: list[int] = []

    def slow() -> None:
        seen.append(len(world.deliveries(State.DELIVERED)))
        world.clock.move(seconds=2)

    stall(monkeypatch, slow, times=2)
    world.work()
    assert seen == [0, 100]
    assert not world.deliveries(State.PENDING)


def test_the_rows_that_are_still_ours_are_settled(world: SyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_user("bob", "corp", "crm", "files")
    world.tell("alice", "one")
    world.tell("bob", "two")
    works = claim(world)

    def one_is_lost() -> None:
        world.clock.move(seconds=11)
        world.store.claim((PASSWORD,), owner="node-2", lease=LEASE, limit=1, now=world.clock.now())

    stall(monkeypatch, one_is_lost)
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    assert len(world.deliveries(State.DELIVERED)) == 1, "of two rows of one target"
    assert {one.code for one in world.deliveries(State.PENDING)} == {None}


def test_the_lease_of_a_job(world: SyncWorld) -> None:
    world.tell("alice", "secret")
    began = world.clock.monotonic()
    lease = HeldLease(world.store, claim(world, "n"), "n", LEASE, world.clock, began)
    lease.require()
    world.clock.move(seconds=6)
    lease.require()
    world.clock.move(seconds=4)
    lease.renew()
    world.clock.move(seconds=11)
    with pytest.raises(LostLease):
        lease.require()
    world.clock.move(seconds=-6)
    with pytest.raises(LostLease):
        lease.require()


def test_a_final_answer_wrote_nothing(world: SyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tell("alice", "OLD")
    works = claim(world)

    def refused() -> None:
        taken_over(world)
        world.systems.systems["crm"].policy = lambda _: "too short"
        world.systems.systems["files"].policy = lambda _: "too short"

    stall(monkeypatch, refused)
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    assert not world.audit("password.overwritten")
    assert {one.code for one in world.deliveries(State.DELIVERED)} == {Code.SUCCESS}


def test_hold_is_longer_than_any_lease() -> None:
    assert HOLD > timedelta(minutes=10) > LEASE
