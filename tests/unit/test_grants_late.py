"""A node that was asleep while it wrote to the directory, and wakes when others have ended what it opens: services/late.py, step by step."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from bastide.domain.errors import LostLease, StoreUnavailable
from bastide.domain.ids import RequestId
from bastide.domain.requests import Request, State
from bastide.services.cases import Case
from bastide.services.late import Late
from bastide.services.pace import ACCOUNT
from bastide.services.ports import Work
from bastide.workers.jobs import LEASE
from tests.support.grants import SHORT
from tests.support.world import World

pytest_plugins = ["tests.support.grants"]


@pytest.fixture
def asked(world: World) -> Request:
    world.ready(ttl=SHORT)
    return world.ask(ttl=timedelta(minutes=30))


def asleep(world: World, meanwhile: Callable[[], None]) -> Iterator[None]:
    """At its first write in PRIV the node falls asleep for longer than its lease; then it goes on as if nothing had been."""

    def fall_asleep(_number: int, _what: str) -> None:
        world.priv.before_write = lambda _number, _what: None
        world.clock.move(seconds=LEASE.total_seconds() + 1)
        meanwhile()

    world.priv.before_write = fall_asleep
    works = world.store.claim([ACCOUNT], owner="sleeper:1", lease=LEASE, limit=10, now=world.clock.now())
    assert works
    with pytest.raises(LostLease):
        world.services.grants.run_accounts(works)
    yield


def others_end(world: World, request: Request) -> Callable[[], None]:
    """Another node finishes the activation, somebody uses the kill switch, and it is ended."""

    def act() -> None:
        world.runner = world.new_runner("other:1")
        world.work()
        assert world.get(request).state is State.ACTIVE
        world.services.requests.kill(world.dave, "exercise", request=request.id)
        world.work()
        assert world.get(request).state is State.CLOSED

    return act


def test_what_a_late_write_opened_is_ended_again(world: World, asked: Request) -> None:
    """(1), (2), (3)."""
    (user,) = world.services.accounts.users(world.dave)
    next(asleep(world, others_end(world, asked)))
    assert world.get(asked).state is State.CLOSING, "in the same breath"
    assert world.opens_share(user) or world.priv.can_buy_ticket(user.priv.sid, world.clock.now()), (
        "it did harm"
    )
    world.work()
    ended = world.get(asked)
    assert ended.state is State.CLOSED
    assert ended.true_end is not None
    assert ended.true_end >= world.clock.now()
    assert not world.opens_share(user)
    assert not world.priv.can_buy_ticket(user.priv.sid, world.clock.now())
    kinds = world.events()
    assert kinds.count("request.late-write") == 1
    assert kinds.count("request.closed") == 2


def test_a_database_that_does_not_answer_does_not_make_it_forget(
    world: World, asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(1)."""
    write = world.store.write

    def gone() -> None:
        raise StoreUnavailable("not now")

    def then_gone() -> None:
        others_end(world, asked)()
        monkeypatch.setattr(world.store, "write", gone)

    works_on = world.services.grants.run_accounts
    with pytest.raises(StoreUnavailable):
        next(asleep(world, then_gone))
    assert world.get(asked).state is State.CLOSED
    monkeypatch.setattr(world.store, "write", write)
    works_on([])
    assert world.get(asked).state is State.CLOSING
    world.work()
    assert world.get(asked).state is State.CLOSED


def test_what_still_goes_on_is_written_and_read_back_once_more(world: World, asked: Request) -> None:
    """(2)."""

    def others_activate() -> None:
        world.runner = world.new_runner("other:1")
        world.work()
        assert world.get(asked).state is State.ACTIVE

    next(asleep(world, others_activate))
    active = world.get(asked)
    assert active.state is State.ACTIVE
    assert active.extend_to == active.ends_at
    world.work()
    world.runner.run_due()
    after = world.get(asked)
    assert (after.state, after.extend_to, after.ends_at) == (State.ACTIVE, None, active.ends_at)
    assert "request.late-write" not in world.events()


def test_who_slept_so_long_that_it_gives_up_ends_it_again_too(world: World, asked: Request) -> None:
    """(1). Its own verdict, that the activation came too late, does not undo what it wrote before."""

    def sleep_long() -> None:
        others_end(world, asked)()
        world.clock.move(minutes=16)

    (user,) = world.services.accounts.users(world.dave)
    next(asleep(world, sleep_long))
    assert world.get(asked).state is State.CLOSING
    world.work()
    assert world.get(asked).state is State.CLOSED
    assert not world.opens_share(user)
    assert not world.priv.can_buy_ticket(user.priv.sid, world.clock.now())


def test_what_was_written_for_a_database_that_lost_it_is_compared(world: World) -> None:
    """(2). Its own node's mark may have moved on by then, and the comparison of the others be over."""
    (alice,) = world.prepare("alice")
    work = Work(ACCOUNT, alice.id, 1, 1, 0, world.clock.now())
    late = Late(store=world.store, now=world.clock.now)
    with pytest.raises(LostLease), late.watched([Case(work, alice, [], opens={RequestId("lost")})]):
        raise LostLease("another node has it")
    late.mend()
    late.mend()
    assert world.events().count("recovery.began") == 1
    with world.store.read() as uow:
        assert "reconcile" in [row["kind"] for row in uow.work.listing()]
