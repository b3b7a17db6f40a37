"""What only time ended is taken away first, and what costs nothing to leave alone is left alone."""

import threading
from collections.abc import Collection, Iterator
from datetime import timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable, LostLease
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.requests import Request, State
from bastide.domain.roles import Ttl
from bastide.services import grants
from bastide.services.grants import Grants
from bastide.services.ports import Capabilities, Work
from bastide.workers.jobs import ACCOUNTS, LEASE, Job
from bastide.workers.runner import Runner
from tests.support.world import World

PEOPLE = ("alice", "bob", "mallory")
WIDE = Ttl(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=4))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def steps(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Removals (with how many), account ends and plans, in the order in which they happen."""
    seen: list[str] = []
    remove, plan = MemoryDirectory.remove_members, Grants._plan  # where the commit stands is what is tested

    def removing(self: MemoryDirectory, group: ObjectRef, members: Collection[Sid]) -> None:
        if self.forest is Forest.PRIV:
            seen.append(f"remove {len(members)}")
        remove(self, group, members)

    def planning(self: Grants, *arguments: object) -> None:
        seen.append("plan")
        plan(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryDirectory, "remove_members", removing)
    monkeypatch.setattr(Grants, "_plan", planning)

    def writing(_number: int, what: str) -> None:
        if "accountExpires" in what:
            seen.append("end")

    world.priv.before_write = writing
    return seen


def _all_active(world: World) -> list[Request]:
    world.prepare(*PEOPLE)
    world.prepare_group()
    world.add_role(candidates=tuple(rf"CORP\{name}" for name in PEOPLE), ttl=WIDE, extension=True)
    asked = [world.ask(actor=world.sign_in(name, Forest.CORP, mfa=True)) for name in PEOPLE]
    world.work()
    return [world.get(request) for request in asked]


def _over(world: World, active: list[Request]) -> None:
    world.clock.moment = max(request.last_end() for request in active)


def _ended(world: World, active: list[Request]) -> bool:
    return {world.get(request).state for request in active} == {State.EXPIRED}


def test_all_that_is_over_leaves_in_one_go_before_anything_is_planned(
    world: World, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    active = _all_active(world)
    monkeypatch.setattr(grants, "TOGETHER", 1)
    _over(world, active)
    steps.clear()
    world.work()
    assert steps[:4] == ["remove 3", "plan", "plan", "plan"], "and not again by each part"
    assert _ended(world, active)
    kinds = world.events()
    assert kinds.count("request.closing") == kinds.count("request.expired") == len(PEOPLE)


def test_an_account_end_that_must_come_first_still_does(world: World, steps: list[str]) -> None:
    """The extension may have been written already: the account is lowered before it loses the group."""
    active = _all_active(world)[:1]
    world.services.requests.extend(world.alice(), active[0].id, timedelta(minutes=20))
    world.clock.moment = active[0].last_end()
    steps.clear()
    world.runner.run_due()
    assert steps[0] == "remove 2", "the two others do not wait"
    mine = steps[1:]
    assert mine.index("plan") < mine.index("end") < mine.index("remove 1")


def test_an_account_that_begins_something_else_loses_nothing_on_the_way(
    world: World, steps: list[str]
) -> None:
    active = _all_active(world)
    world.ask(start_at=active[0].last_end())
    _over(world, active)
    steps.clear()
    world.work()
    assert "remove 3" not in steps
    alice = world.services.accounts.user(world.dave, "priv.alice")
    assert world.opens_share(alice)
    assert _ended(world, active)


def test_what_the_directory_refuses_at_first_is_left_to_the_ordinary_steps(
    world: World, steps: list[str]
) -> None:
    active = _all_active(world)
    _over(world, active)
    steps.clear()
    refused: list[str] = []

    def refuse_once(_number: int, what: str) -> None:
        if not refused:
            refused.append(what)
            raise DirectoryDenied("insufficient access rights")

    world.priv.before_write = refuse_once
    world.work()
    assert steps[:3] == ["remove 3", "plan", "remove 3"]
    assert _ended(world, active)


def test_with_no_controller_in_reach_nothing_is_said_to_be_over(world: World) -> None:
    active = _all_active(world)
    _over(world, active)
    world.priv.cut("privdc")
    world.runner.run_due()
    assert {world.get(request).state for request in active} == {State.CLOSING}
    world.priv.heal("privdc")
    world.work()
    assert _ended(world, active)


def test_a_part_that_was_lost_to_another_node_does_not_hold_up_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = _all_active(world)
    monkeypatch.setattr(grants, "TOGETHER", 1)
    _over(world, active)
    now = world.clock.now()
    works = world.store.claim(["account"], owner="slow", lease=LEASE, limit=ACCOUNTS, now=now)
    stolen = works[0]
    with world.store.write() as uow:
        uow.work.finish(stolen, now)
        uow.commit()
    with pytest.raises(LostLease):
        world.services.grants.run_accounts(works)
    with world.store.read() as uow:
        owners = {row["key"]: row["owner"] for row in uow.work.listing() if row["kind"] == "account"}
    assert set(owners.values()) == {None}
    world.work()
    assert _ended(world, active)


# ----------------------------------------------------------------------------------------------------------------- links


def test_a_link_in_use_is_not_written_again_for_the_next_grant(world: World) -> None:
    writes: list[str] = []
    world.corp.before_write = lambda _number, what: writes.append(what)
    _all_active(world)
    world.clock.move(seconds=2)
    world.runner.run_due()
    assert len(writes) == 1
    assert world.events().count("link.present") == 1


def test_a_link_that_somebody_took_away_comes_back_for_the_next_grant(world: World) -> None:
    _all_active(world)
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.services.forests[Forest.CORP].remove_members(group.corp, [group.priv.sid])
    request = world.ask(actor=world.sign_in("bob", Forest.CORP, mfa=True), ttl=timedelta(hours=1))
    world.work()
    world.clock.move(seconds=1)
    world.work()
    assert world.get(request).state is State.ACTIVE
    bob = world.services.accounts.user(world.dave, "priv.bob")
    assert world.opens_share(bob)
    assert world.events().count("link.present") == 2


# --------------------------------------------------------------------------------------------------------------- warm up


@pytest.mark.parametrize(
    "trouble", [DirectoryUnavailable("no controller answers"), RuntimeError("unforeseen")]
)
def test_a_job_warms_up_before_its_first_claim_and_lives_without(world: World, trouble: Exception) -> None:
    order: list[str] = []
    claimed = threading.Event()

    def warm_up() -> None:
        order.append("warm up")
        raise trouble

    def run(works: object, _: object) -> None:
        assert works
        order.append("run")
        claimed.set()
        raise LostLease("seen enough")

    with world.store.write() as uow:
        uow.work.poke("test", "1", world.clock.now())
        uow.commit()
    job = Job(("test",), run, 1, LEASE, warm_up)
    runner = Runner(store=world.store, jobs=(job,), owner="node-1", clock=world.clock)
    runner.start()
    assert claimed.wait(10)
    runner.stop()
    assert order == ["warm up", "run"]


def test_what_the_directory_can_do_is_known_before_the_first_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    capabilities = MemoryDirectory.capabilities

    def counted(self: MemoryDirectory) -> Capabilities:
        asked.append("asked")
        return capabilities(self)

    monkeypatch.setattr(MemoryDirectory, "capabilities", counted)
    world.services.grants.warm_up()
    assert asked == ["asked"]


def test_work_is_not_handed_out_twice(world: World) -> None:
    """A gone user's row goes back once, though the rows are read twice."""
    with world.store.write() as uow:
        uow.work.poke("account", "nobody", world.clock.now())
        uow.commit()
    works: tuple[Work, ...] = world.store.claim(
        ["account"], owner="node-1", lease=LEASE, limit=ACCOUNTS, now=world.clock.now()
    )
    world.services.grants.run_accounts(works)
    assert world.runner.run_due() == 0
