"""kill -9 at every step of activation and end: nothing is lost, nothing is granted twice, no grant gets longer.

A process dies at a commit (before it, or right after it) or at a write to the directory (before it). What it left is what is in the database
and in the directory; another node takes over when the lease is over.
"""

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from bastide.domain.requests import Request, State
from bastide.domain.roles import Ttl
from bastide.store.unit_of_work import SqlUnitOfWork
from tests.support.world import World

TTL = timedelta(minutes=30)
LEASE = timedelta(minutes=2)
ROLE_TTL = Ttl(TTL, timedelta(minutes=5), timedelta(hours=1))


class Killed(BaseException):
    """No handler of the product may catch it: a killed process runs no handler."""


class Fuse:
    """Counts steps and burns through at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.burnt = False

    def step(self, what: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.burnt = True
            raise Killed(what)


def _arm(world: World, fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = SqlUnitOfWork.commit

    def dying_commit(self: SqlUnitOfWork) -> None:
        fuse.step("before commit")
        commit(self)
        fuse.step("after commit")

    monkeypatch.setattr(SqlUnitOfWork, "commit", dying_commit)
    world.priv.before_write = lambda _number, what: fuse.step(f"priv {what}")
    world.corp.before_write = lambda _number, what: fuse.step(f"corp {what}")


def _unsettled(request: Request, now: datetime) -> bool:
    over = request.state is State.ACTIVE and request.ends_at is not None and request.ends_at <= now
    return over or request.state in {State.PROCESSING, State.CLOSING}


def _work(world: World, probe: Callable[[], bool]) -> list[datetime]:
    """Work until all is settled; another node takes over from a killed one. The moments at which access was seen to be open."""
    opened = []
    for _ in range(200):
        try:
            world.runner.run_due()
        except Killed:
            world.runner = world.new_runner("node-2")
            if probe():
                opened.append(world.clock.now())
            world.clock.moment += LEASE
        if probe():
            opened.append(world.clock.now())
        if not any(_unsettled(r, world.clock.now()) for r in world.open()):
            return opened
        world.clock.move(milliseconds=200)
    raise AssertionError("it never settles")


def _steps(run: Callable[[int], bool]) -> int:
    """Run with the fuse at 1, 2, 3... until a run ends unharmed; how many were killed."""
    for at in itertools.count(1):
        if not run(at):
            return at - 1
    raise AssertionError


def test_killed_at_each_step_of_activation() -> None:
    assert _steps(_activation) >= 10


def _activation(at: int) -> bool:
    world, fuse = World(), Fuse(at)
    try:
        role = world.ready(ttl=ROLE_TTL)
        alice = world.services.accounts.users(world.dave)[0]
        request = world.ask(role.name)
        with pytest.MonkeyPatch.context() as patch:
            _arm(world, fuse, patch)
            opened = _work(world, lambda: world.opens_share(alice))
        world.priv.before_write = world.corp.before_write = lambda _number, _what: None
        active = world.get(request)
        assert active.state is State.ACTIVE
        assert world.opens_share(alice)
        assert world.events().count("request.active") == 1
        assert active.ends_at is not None
        assert active.ends_at <= min(opened) + TTL, "a crash never lengthens a grant"
        world.clock.moment = active.ends_at
        world.work()
        assert world.get(request).state is State.EXPIRED
        assert not world.opens_share(alice)
        world.services.audit.verify(world.frank)
    finally:
        world.close()
    return fuse.burnt


@pytest.mark.parametrize("early", [False, True], ids=["by time", "by hand"])
def test_killed_at_each_step_of_the_end(*, early: bool) -> None:
    assert _steps(lambda at: _end(at, early=early)) >= 10


def _end(at: int, *, early: bool) -> bool:
    world, fuse = World(), Fuse(at)
    try:
        role = world.ready(ttl=ROLE_TTL)
        alice = world.services.accounts.users(world.dave)[0]
        group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
        request = world.ask(role.name)
        world.work()
        if early:
            world.services.requests.close(world.alice(), request.id)
        else:
            world.clock.moment = world.get(request).ends_at or world.clock.now()
        with pytest.MonkeyPatch.context() as patch:
            _arm(world, fuse, patch)
            _work(world, lambda: False)
        ended, now = world.get(request), world.clock.now()
        assert ended.state is (State.CLOSED if early else State.EXPIRED)
        assert not world.opens_share(alice)
        assert not world.priv.replica("privdc").members_of(group.priv.guid, now)
        assert not world.corp.replica("corpdc").members_of(group.corp.guid, now)
        assert world.events().count(f"request.{ended.state.value.lower()}") == 1
        assert world.events().count("request.active") == 1
        world.services.audit.verify(world.frank)
    finally:
        world.close()
    return fuse.burnt
