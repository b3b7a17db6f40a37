"""Directories that are silent, hide something, or lost it: nothing begins by guess, and nothing lasts longer for it."""

from collections.abc import Collection, Mapping
from datetime import timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import Conflict, DirectoryDenied
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer
from bastide.services.ports import AccountState
from tests.support.grants import SHORT
from tests.support.world import World

pytest_plugins = ["tests.support.grants"]


def test_with_corp_out_of_reach_nothing_begins_and_what_is_over_ends(world: World) -> None:
    role = world.ready(ttl=SHORT)
    world.prepare_group("DbAdmins")
    other = world.add_role("Database administrators", privileges=("PAM-DbAdmins",), ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    world.ask(role.name, ttl=timedelta(minutes=5))
    world.work()
    later = world.ask(other.name, start_at=world.clock.now() + timedelta(minutes=5))
    world.corp.cut("corpdc")
    world.clock.move(minutes=5)
    writes: list[str] = []
    world.priv.before_write = lambda _number, what: writes.append(what)
    world.runner.run_due()
    held = world.get(later)
    assert (held.state, held.ends_at) == (State.PROCESSING, None)
    assert not any("add to" in what for what in writes)
    assert any("remove from PAM-FileAdmins" in what for what in writes)
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    world.corp.heal("corpdc")
    world.work()
    assert world.get(later).state is State.ACTIVE


def test_a_corp_that_stays_silent_is_given_up(world: World) -> None:
    role = world.ready()
    request = world.ask(role.name)
    world.corp.cut("corpdc")
    for _ in range(40):
        world.runner.run_due()
        world.clock.move(seconds=30)
    failed = world.get(request)
    assert failed.state is State.FAILED
    assert "not done within" in failed.reason


def test_a_corp_account_that_hides_its_state_fails_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prepare("alice", "bob")
    world.prepare_group()
    role = world.add_role(candidates=("CORP\\alice", "CORP\\bob"))
    hidden = world.services.accounts.user(world.dave, "priv.alice").corp.sid
    observe = MemoryDirectory.observe

    def hides(self: MemoryDirectory, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        if hidden in accounts:
            raise DirectoryDenied("userAccountControl cannot be read")
        return observe(self, accounts)

    monkeypatch.setattr(MemoryDirectory, "observe", hides)
    mine = world.ask(role.name)
    theirs = world.ask(role.name, world.sign_in("bob", Forest.CORP, mfa=True))
    for _ in range(40):
        world.runner.run_due()
        world.clock.move(seconds=5)
    assert world.get(theirs).state is State.ACTIVE
    assert world.get(mine).state is State.FAILED
    assert "userAccountControl" in world.get(mine).reason


def test_below_the_floor_of_the_role_nothing_is_written(world: World) -> None:
    world.prepare("alice", kept_alive=True)
    world.prepare_group()
    role = world.add_role()
    with pytest.raises(Conflict, match="removal only"):
        world.ask(role.name)
    weaker = world.add_role("weaker", floor=Enforcer.REMOVAL)
    request = world.ask(weaker.name)
    world.work()
    active = world.get(request)
    assert (active.enforcer, active.directory_end) == (Enforcer.REMOVAL, None)


def test_all_controllers_down_says_nothing_and_tries_again(world: World) -> None:
    role = world.ready()
    request = world.ask(role.name)
    world.priv.cut("privdc")
    world.runner.run_due()
    assert world.get(request).state is State.PROCESSING
    world.priv.heal("privdc")
    world.work()
    assert world.get(request).state is State.ACTIVE


def test_an_activation_that_does_not_come_about_in_time_fails(world: World) -> None:
    role = world.ready()
    request = world.ask(role.name)
    world.priv.cut("privdc")
    for _ in range(40):
        world.runner.run_due()
        world.clock.move(seconds=30)
    assert world.get(request).outcome is State.FAILED
    world.priv.heal("privdc")
    world.work()
    assert world.get(request).state is State.FAILED
    assert not world.opens_share(world.services.accounts.users(world.dave)[0])


def test_a_controller_out_of_reach_keeps_an_early_end_open(world: World) -> None:
    two = World(priv_controllers=("dc1", "dc2"))
    try:
        role = two.ready(ttl=SHORT)
        alice = two.services.accounts.users(two.dave)[0]
        request = two.ask(role.name)
        two.work()
        end = two.get(request).ends_at
        two.priv.cut("dc2")
        two.services.requests.kill(two.dave, "stolen laptop", user=alice.name)
        two.work()
        assert two.get(request).state is State.CLOSING, "dc2 still sells tickets"
        assert two.priv.can_buy_ticket(alice.priv.sid, two.clock.now(), at="dc2")
        assert end is not None
        two.clock.moment = end + timedelta(minutes=4)
        two.work()
        assert two.get(request).state is State.CLOSING, "its clock may be behind"
        two.clock.moment = end + timedelta(minutes=6)
        two.work()
        assert two.get(request).state is State.CLOSED
        assert not two.priv.can_buy_ticket(alice.priv.sid, two.clock.now(), at="dc2")
    finally:
        two.close()


def test_a_group_deleted_under_a_live_grant(world: World) -> None:
    role = world.ready(ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.priv.remove(group.priv)
    world.clock.move(minutes=10)
    world.work()
    assert world.get(request).state is State.EXPIRED
