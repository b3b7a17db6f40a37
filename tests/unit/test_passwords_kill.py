"""kill -9 at every step between a notification and the end of its key: nothing is lost, nothing is delivered twice with effect, nothing old wins.

A process dies before or after a commit of the database, before or after a write of the vault, before or after a write to a target. What it left
is in the two databases and in the targets. The agent sends again what it got no answer to; another node takes over when the lease is over.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bastide.domain.passwords import State
from bastide.services.passwords.late import HOLD
from bastide.services.passwords.ports import NewPassword
from bastide.store.unit_of_work import SqlUnitOfWork
from bastide.store.vault import SqlVault
from bastide.targets.memory import MemoryTarget
from bastide.wire import Verdict
from tests.support.sync_world import LEASE, SyncWorld


class Killed(BaseException):
    """No handler of the product may catch it: a killed process runs no handler."""


class Fuse:
    """Counts steps and burns through at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.burnt = False

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.burnt = True
            raise Killed


def _around(fuse: Fuse, act: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*arguments: Any, **named: Any) -> Any:
        fuse.step()
        done = act(*arguments, **named)
        fuse.step()
        return done

    return dying


def _arm(fuse: Fuse, patch: pytest.MonkeyPatch) -> None:
    for kind, name in (
        (SqlUnitOfWork, "commit"),
        (SqlVault, "put"),
        (SqlVault, "destroy"),
        (SqlVault, "set_mark"),
        (MemoryTarget, "set"),
    ):
        patch.setattr(kind, name, _around(fuse, getattr(kind, name)))


def _send(world: SyncWorld, *several: Any) -> None:
    """As an agent does: until there are answers."""
    while True:
        try:
            answers = world.passwords.accept.notifications(world.caller(), several)
        except Killed:
            _restart(world)
            continue
        assert all(one.verdict is Verdict.ACCEPTED for one in answers)
        return


def _restart(world: SyncWorld) -> None:
    """Another node begins, and may be killed at its start too."""
    while True:
        try:
            world.passwords = world.assemble()
            world.runner = world.new_runner(f"node-{world.random.uuid()}")
            world.passwords.switchboard.plant()
        except Killed:
            continue
        return


def _settle(world: SyncWorld) -> None:
    for _ in range(20):
        try:
            world.runner.run_due()
        except Killed:
            _restart(world)
            world.clock.moment += LEASE
            continue
        if not world.deliveries(State.PENDING):
            return
        world.clock.move(seconds=11)
    raise AssertionError("it never settles")


def _steps(run: Callable[[int], bool]) -> int:
    for at in itertools.count(1):
        if not run(at):
            return at - 1
    raise AssertionError


def test_killed_at_each_step_of_one_change() -> None:
    assert _steps(lambda at: _story(at, ["only"])) >= 14


def test_killed_at_each_step_of_two_changes() -> None:
    """The second comes before the first is delivered, or after."""
    assert _steps(lambda at: _story(at, ["first", "second"])) >= 16
    assert _steps(lambda at: _story(at, ["first", "second"], work_between=True)) >= 24


def _story(at: int, passwords: Sequence[str], *, work_between: bool = False) -> bool:
    world, fuse = SyncWorld(), Fuse(at)
    seen: dict[str, list[str]] = {"crm": [], "files": []}
    try:
        world.ready("alice", "bob")
        _watch(world, seen)
        with pytest.MonkeyPatch.context() as patch:
            _arm(fuse, patch)
            for password in passwords:
                world.clock.move(seconds=1)
                _send(world, world.notification("alice", password))
                if work_between:
                    _settle(world)
            _settle(world)
        _settle(world)
        world.clock.moment += HOLD
        world.runner.run_due()
        world.passwords.switchboard.plant()
        for target in ("crm", "files"):
            assert world.password("alice", target) == passwords[-1]
            effects = [new for old, new in itertools.pairwise(["", *seen[target]]) if new != old]
            assert effects == sorted(set(effects), key=list(passwords).index), "no old one over a new one"
        assert len(world.audit("password.staged")) == len(passwords)
        assert not world.vault.references(), "no key outlives its change"
        assert not any(one.sealed for one in world.deliveries())
        last = world.deliveries(State.DELIVERED)
        assert len({one.object for one in last}) == 2
        kinds = [record.request for record in world.audit("password.delivered")]
        assert len(kinds) == len(last), "each delivery is said to be delivered once"
    finally:
        world.close()
    return fuse.burnt


def test_killed_at_each_step_of_several_that_are_told_together() -> None:
    """Two people, one of them twice: all of the batch counts once, or nothing of it does."""
    assert _steps(_together) >= 12


def _together(at: int) -> bool:
    world, fuse = SyncWorld(), Fuse(at)
    try:
        world.ready("alice", "bob")
        several = []
        for name, password in (("alice", "first"), ("bob", "his"), ("alice", "second")):
            world.clock.move(seconds=1)
            several.append(world.notification(name, password))
        with pytest.MonkeyPatch.context() as patch:
            _arm(fuse, patch)
            _send(world, *several)
            _settle(world)
        _settle(world)
        world.clock.moment += HOLD
        world.runner.run_due()
        world.passwords.switchboard.plant()
        for target in ("crm", "files"):
            assert (world.password("alice", target), world.password("bob", target)) == ("second", "his")
        staged = [record.request for record in world.audit("password.staged")]
        assert staged == [one.reference for one in several]
        assert not world.vault.references(), "no key outlives its change"
        assert not any(one.sealed for one in world.deliveries())
    finally:
        world.close()
    return fuse.burnt


def _watch(world: SyncWorld, seen: dict[str, list[str]]) -> None:
    for name, passwords in seen.items():
        system = world.systems.systems[name]

        def write(
            anchor: str, new: NewPassword, plain: Any = system.write, log: list[str] = passwords
        ) -> Any:
            log.append(new.password)
            return plain(anchor, new)

        system.write = write  # type: ignore[method-assign]
