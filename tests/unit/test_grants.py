"""A grant from asking to its end, with everything real but the directory, which is the twin in memory."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict, DirectoryDenied, InvalidInput, NotFound
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.policy import Draft
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer, Link
from bastide.services.roles import StageDraft
from tests.support.grants import CAP, SHORT, deny
from tests.support.world import World

pytest_plugins = ["tests.support.grants"]


def test_the_main_job(world: World) -> None:
    world.prepare("alice", "bob")
    world.prepare_group()
    world.add_role(ttl=SHORT, stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),))
    (alice, bob) = world.services.accounts.users(world.dave)
    assert not world.opens_share(alice)
    request = world.ask()
    assert request.state is State.PENDING_APPROVAL
    world.clock.move(hours=2)
    world.approve(request)
    world.work()
    active = world.get(request)
    assert active.state is State.ACTIVE
    assert active.enforcer is Enforcer.DORMANT_ACCOUNT
    assert active.active_from is not None
    assert active.active_from >= request.created_at + timedelta(hours=2)
    assert active.ends_at == active.active_from + timedelta(minutes=10)
    assert active.true_end == active.ends_at + CAP
    assert world.opens_share(alice)
    assert not world.opens_share(bob)
    world.clock.move(minutes=10)
    assert not world.opens_share(alice), "the directory ends it before any worker ran"
    world.work()
    ended = world.get(request)
    assert ended.state is State.EXPIRED
    assert ended.true_end is not None
    assert ended.true_end >= active.true_end
    assert world.corp.token_groups(alice.priv.sid, also=[ended_group(world)]) == frozenset()
    recorded = len(world.events())
    assert world.services.audit.verify(world.frank).seq == recorded


def ended_group(world: World) -> Sid:
    return world.services.accounts.group(world.dave, "PAM-FileAdmins").priv.sid


def test_active_is_said_only_after_the_link_was_read_back(world: World) -> None:
    role = world.ready()
    world.corp.before_write = deny
    request = world.ask(role.name)
    world.runner.run_due()
    assert world.get(request).state is State.PROCESSING
    world.corp.before_write = lambda _number, _what: None
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert world.events().index("link.present") < world.events().index("request.active")


def test_a_directory_that_says_no_for_good_fails_the_request_and_leaves_nothing(world: World) -> None:
    role = world.ready()
    world.priv.before_write = _deny_member
    request = world.ask(role.name)
    for _ in range(40):
        world.runner.run_due()
        world.clock.move(seconds=5)
    failed = world.get(request)
    assert failed.state is State.FAILED
    assert "refused" in failed.reason
    assert "request.active" not in world.events()


def _deny_member(_number: int, what: str) -> None:
    if "member" in what or "add" in what:
        raise DirectoryDenied("insufficient access rights")


def test_overlapping_grants_are_counted(world: World) -> None:  # F10
    role = world.ready(ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    first = world.ask(role.name, ttl=timedelta(minutes=5))
    world.work()
    world.clock.move(minutes=4)
    second = world.ask(role.name, ttl=timedelta(minutes=10))
    world.work()
    world.clock.move(minutes=1, seconds=1)
    world.work()
    assert world.get(first).state is State.EXPIRED
    assert world.get(second).state is State.ACTIVE
    assert world.opens_share(alice)
    world.clock.move(minutes=10)
    world.work()
    assert not world.opens_share(alice)
    assert world.get(second).state is State.EXPIRED


def test_one_grant_may_begin_in_the_instant_another_ends(world: World) -> None:  # F10
    role = world.ready(ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    first = world.ask(role.name, ttl=timedelta(minutes=5))
    world.work()
    end = world.get(first).ends_at
    second = world.ask(role.name, ttl=timedelta(minutes=5), start_at=end)
    assert end is not None
    world.clock.moment = end
    world.work()
    assert world.get(first).state is State.EXPIRED
    assert world.get(second).state is State.ACTIVE
    assert world.opens_share(alice)


def test_two_roles_with_different_groups_end_separately(world: World) -> None:
    world.ready(ttl=SHORT)
    world.prepare_group("DbAdmins")
    world.add_role("Database administrators", privileges=("PAM-DbAdmins",), ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    world.ask(ttl=timedelta(minutes=5))
    world.ask("Database administrators", ttl=timedelta(minutes=20))
    world.work()
    assert world.opens_share(alice)
    assert world.opens_share(alice, world.other_share.ref.sid)
    world.clock.move(minutes=5)
    world.work()
    assert not world.opens_share(alice)
    assert world.opens_share(alice, world.other_share.ref.sid)


def test_closing_early_closes_the_account_first(world: World) -> None:
    role = world.ready()
    alice = world.services.accounts.users(world.dave)[0]
    request = world.ask(role.name)
    world.work()
    world.services.requests.close(world.alice(), request.id)
    writes: list[str] = []
    world.priv.before_write = lambda _number, what: writes.append(what)
    world.work()
    closed = world.get(request)
    assert closed.state is State.CLOSED
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    assert closed.true_end == closed.closed_at + CAP if closed.closed_at else False
    assert len(writes) == 2
    assert "end" in writes[0] or "expires" in writes[0].lower()


def test_extension_moves_the_end_only_after_it_was_read_back(world: World) -> None:
    role = world.ready(ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    request = world.ask(role.name)
    world.work()
    before = world.get(request).ends_at
    world.services.requests.extend(world.alice(), request.id, timedelta(minutes=10))
    assert world.get(request).ends_at == before
    world.work()
    world.runner.run_due()
    after = world.get(request)
    assert before is not None
    assert after.ends_at == before + timedelta(minutes=10)
    world.clock.moment = before + timedelta(minutes=1)
    world.work()
    assert world.opens_share(alice)
    with pytest.raises(Conflict, match="in all"):
        world.services.requests.extend(world.alice(), request.id, timedelta(minutes=50))


@pytest.mark.parametrize("what", ["request", "role", "user", "all"])
def test_the_kill_switch(world: World, what: str) -> None:
    role = world.ready()
    alice = world.services.accounts.users(world.dave)[0]
    request = world.ask(role.name)
    world.work()
    chosen = {
        "request": {"request": request.id},
        "role": {"role": role.name},
        "user": {"user": alice.name},
        "all": {"everything": True},
    }
    world.services.requests.kill(world.dave, "incident 7", **chosen[what])  # type: ignore[arg-type]
    world.work()
    assert world.get(request).state is State.CLOSED
    assert not world.opens_share(alice)
    assert "kill-switch" in world.events()


def test_a_request_nobody_answers_expires_and_one_that_is_scheduled_starts(world: World) -> None:
    role = world.ready(pending_life=timedelta(minutes=30))
    pending = world.services.requests.submit(
        world.sign_in("alice", Forest.CORP), role.name, Draft(justification="patch")
    )
    assert pending.state is State.PENDING_MFA
    world.clock.move(minutes=30)
    world.work()
    assert world.get(pending).state is State.EXPIRED
    later = world.ask(role.name, start_at=world.clock.now() + timedelta(hours=1))
    assert later.state is State.SCHEDULED
    world.work()
    assert world.get(later).state is State.SCHEDULED
    world.clock.move(hours=1)
    world.work()
    assert world.get(later).state is State.ACTIVE


def test_a_link_stays_while_somebody_else_uses_the_group(world: World) -> None:
    world.prepare("alice", "bob")
    world.prepare_group()
    role = world.add_role(candidates=("CORP\\alice", "CORP\\bob"), ttl=SHORT)
    bob = world.services.accounts.user(world.dave, "priv.bob")
    first = world.ask(role.name, ttl=timedelta(minutes=5))
    world.ask(role.name, world.sign_in("bob", Forest.CORP, mfa=True), ttl=timedelta(minutes=20))
    world.work()
    world.clock.move(minutes=5)
    world.work()
    assert world.get(first).state is State.EXPIRED
    assert world.opens_share(bob)
    world.clock.move(minutes=15)
    world.work()
    assert world.services.accounts.group(world.dave, "PAM-FileAdmins").link is Link.ABSENT


def test_an_end_is_not_said_while_corp_may_still_hold_the_link(world: World) -> None:
    role = world.ready(ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    world.corp.cut("corpdc")
    world.clock.move(minutes=10)
    for _ in range(20):
        world.runner.run_due()
        world.clock.move(seconds=1)
    assert world.get(request).state is State.CLOSING
    world.corp.heal("corpdc")
    world.work()
    assert world.get(request).state is State.EXPIRED


def test_a_person_switched_off_gets_nothing(world: World) -> None:
    role = world.ready(stages=(StageDraft("owners", ("PRIV\\grace",)),))
    request = world.ask(role.name)
    with world.store.write() as uow:
        uow.users.save(replace(uow.users.all()[0], enabled=False))
        uow.commit()
    with pytest.raises(Conflict, match="switched off"):
        world.approve(request)


def test_a_kill_switch_that_finds_nothing_to_end_says_so_and_tells_nobody(world: World) -> None:
    """What is ending already is not ended once more, and is not counted as if it were."""
    role = world.ready()
    request = world.ask(role.name)
    world.work()
    world.services.requests.kill(world.dave, "incident 7", everything=True)
    before = world.events()
    for aim in ({"everything": True}, {"role": role.name}, {"user": "priv.alice"}):
        with pytest.raises(NotFound, match="nothing was ended"):
            world.services.requests.kill(world.dave, "again", **aim)
    with pytest.raises(Conflict, match="Closing already"):
        world.services.requests.kill(world.dave, "again", request=request.id)
    assert world.events() == before


@pytest.mark.parametrize("reason", ["kill switch: x", " Kill Switch: x"])
def test_nobody_ends_access_in_the_words_of_the_kill_switch(world: World, reason: str) -> None:
    """Notifications know by them what the kill switch ended, and tell nobody else of that."""
    role = world.ready()
    request = world.ask(role.name)
    world.work()
    with pytest.raises(InvalidInput, match="kill switch"):
        world.services.requests.close(world.alice(), request.id, reason)
    with pytest.raises(InvalidInput, match="kill switch"):
        world.services.requests.give_back(world.alice(), role.name, reason)
    assert world.get(request).state is State.ACTIVE
