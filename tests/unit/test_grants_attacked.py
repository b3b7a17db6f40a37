"""What a reader found who tried to break it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import time as clock_time
from datetime import timedelta
from typing import Any

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import DirectoryDenied, NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import State
from bastide.domain.roles import Window
from bastide.services.ports import AccountState
from bastide.services.roles import StageDraft
from tests.support import build
from tests.support.grants import SHORT, WIDE, deny
from tests.support.world import World

pytest_plugins = ["tests.support.grants"]


def _crowd(world: World) -> tuple[PamUser, PamUser]:
    world.prepare("alice", "bob")
    world.prepare_group()
    world.add_role(candidates=("CORP\\alice", "CORP\\bob"), ttl=WIDE)
    for name in ("alice", "bob"):
        world.ask("File administrators", world.sign_in(name, Forest.CORP, mfa=True))
    world.work()
    alice, bob = (world.services.accounts.user(world.dave, f"priv.{name}") for name in ("alice", "bob"))
    return alice, bob


def test_an_account_that_cannot_be_read_holds_up_nobody_and_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = _crowd(world)
    observe = MemoryDirectory.observe

    def poisoned(
        self: MemoryDirectory, accounts: Collection[Sid]
    ) -> Mapping[str, Mapping[Sid, AccountState]]:
        if alice.priv.sid in accounts:
            raise DirectoryDenied("the account hides its state")
        return observe(self, accounts)

    monkeypatch.setattr(MemoryDirectory, "observe", poisoned)
    world.services.requests.kill(world.dave, "incident", everything=True)
    world.runner.run_due()
    world.runner.run_due()
    assert not world.opens_share(bob)
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    states = {r.user: r.state for r in world.open()}
    assert states[alice.id] is State.CLOSING, "closed as far as we know, not seen"


def test_an_end_is_not_said_of_an_account_that_is_hidden(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _crowd(world)
    monkeypatch.setattr(MemoryDirectory, "observe", lambda _self, _accounts: {"privdc": {}})
    world.priv.before_write = deny
    world.services.requests.kill(world.dave, "incident", everything=True)
    for _ in range(5):
        world.runner.run_due()
        world.clock.move(seconds=2)
    assert {r.state for r in world.open()} == {State.CLOSING}


def test_a_longer_grant_moves_the_end_that_the_directory_enforces_for_a_shorter_one(world: World) -> None:
    role = world.ready(ttl=WIDE)
    short = world.ask(role.name, ttl=timedelta(minutes=5))
    world.work()
    before = world.get(short).directory_end
    long = world.ask(role.name, ttl=timedelta(hours=2))
    world.work()
    world.runner.run_due()
    assert before is not None
    assert world.get(short).directory_end == world.get(long).directory_end
    assert "request.directory-end" in world.events()


def test_an_account_that_somebody_reopened_is_closed_at_the_end(world: World) -> None:
    role = world.ready(ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    request = world.ask(role.name)
    world.work()
    world.services.forests[Forest.PRIV].set_ends({alice.priv.sid: world.clock.now() + timedelta(days=30)})
    world.clock.move(minutes=10)
    world.work()
    assert world.get(request).state is State.EXPIRED
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())


def test_the_window_counts_when_access_begins_not_when_it_was_asked(world: World) -> None:
    office = Window(frozenset({4}), clock_time(9), clock_time(10), "UTC")
    role = world.ready(window=office, stages=(StageDraft("owners", ("PRIV\\grace",)),))
    request = world.ask(role.name)
    world.clock.move(hours=18)
    world.approve(request)
    world.work()
    failed = world.get(request)
    assert failed.state is State.FAILED
    assert "window" in failed.reason


@pytest.mark.parametrize("change", [{"enabled": False}, {"candidates": (build.subject("bob", 1),)}])
def test_what_was_agreed_does_not_begin_once_the_role_says_otherwise(
    world: World, change: dict[str, Any]
) -> None:
    role = world.ready()
    request = world.ask(role.name, start_at=world.clock.now() + timedelta(days=1))
    with world.store.write() as uow:
        uow.roles.save(replace(uow.roles.get(role.id), **change))
        uow.commit()
    world.clock.move(days=1)
    world.work()
    assert world.get(request).state is State.FAILED
    assert "request.active" not in world.events()


def test_nobody_extends_who_is_no_candidate_any_more(world: World) -> None:
    role = world.ready(ttl=WIDE)
    request = world.ask(role.name, ttl=timedelta(minutes=5))
    world.work()
    with world.store.write() as uow:
        uow.roles.save(replace(uow.roles.get(role.id), candidates=(build.subject("bob", 1),)))
        uow.commit()
    with pytest.raises(NotAuthorized):
        world.services.requests.extend(world.alice(), request.id, timedelta(minutes=5))


def test_trouble_with_one_request_does_not_make_the_end_of_another_late() -> None:
    two = World(priv_controllers=("dc1", "dc2"))
    try:
        two.ready(ttl=SHORT)
        two.prepare_group("DbAdmins")
        two.add_role("Databases", privileges=("PAM-DbAdmins",), ttl=SHORT)
        first = two.ask(ttl=timedelta(minutes=30))
        second = two.ask("Databases", ttl=timedelta(minutes=5))
        two.work()
        two.priv.cut("dc2")
        two.services.requests.close(two.alice(), first.id)
        for _ in range(20):
            two.runner.run_due()
            two.clock.move(seconds=10)
        end = two.get(second).ends_at
        assert end is not None
        assert two.store.next_due(["account"]) is not None
        two.clock.moment = end
        two.runner.run_due()
        assert two.get(second).state is State.CLOSING
    finally:
        two.close()
