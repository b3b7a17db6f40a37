"""A grant from asking to its end, with everything real but the directory, which is the twin in memory."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import time as clock_time
from datetime import timedelta
from typing import Any

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import Conflict, DirectoryDenied, NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.people import Forest, PamUser
from bastide.domain.policy import Draft
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer, Link, Ttl, Window
from bastide.services.ports import AccountState, AuditQuery
from bastide.services.roles import StageDraft
from tests.support import build
from tests.support.world import World

SHORT = Ttl(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=1))
WIDE = Ttl(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=4))
CAP = timedelta(minutes=15)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


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
    assert world.services.audit.verify(world.frank).seq == len(world.events())


def ended_group(world: World) -> Sid:
    return world.services.accounts.group(world.dave, "PAM-FileAdmins").priv.sid


def test_active_is_said_only_after_the_link_was_read_back(world: World) -> None:
    role = world.ready()
    world.corp.before_write = _deny
    request = world.ask(role.name)
    world.runner.run_due()
    assert world.get(request).state is State.PROCESSING
    world.corp.before_write = lambda _number, _what: None
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert world.events().index("link.present") < world.events().index("request.active")


def _deny(_number: int, _what: str) -> None:
    raise DirectoryDenied("insufficient access rights")


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


def test_a_standing_member_is_refused_with_what_to_do(world: World) -> None:  # F16
    role = world.ready()
    alice = world.services.accounts.users(world.dave)[0]
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.services.forests[Forest.PRIV].add_members(group.priv, [alice.priv.sid])
    with pytest.raises(Conflict, match="standing member") as refusal:
        world.ask(role.name)
    assert refusal.value.remedy


def test_who_became_a_standing_member_while_it_waited_is_refused_and_stays_one(world: World) -> None:  # F16
    role = world.ready()
    alice = world.services.accounts.users(world.dave)[0]
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    later = world.ask(role.name, start_at=world.clock.now() + timedelta(hours=1))
    world.services.forests[Forest.PRIV].add_members(group.priv, [alice.priv.sid])
    before = world.priv.writes
    world.clock.move(hours=1)
    world.work()
    failed = world.get(later)
    assert (failed.state, failed.reason) == (
        State.FAILED,
        "priv.alice has become a standing member of PAM-FileAdmins",
    )
    assert world.priv.writes == before, "what stands there is not ours to take away"
    assert alice.priv.sid in world.services.forests[Forest.PRIV].members_of(group.priv)
    assert "request.failed" in world.events()


def test_what_another_grant_put_there_is_no_standing_membership(world: World) -> None:
    role = world.ready(ttl=SHORT)
    later = world.ask(role.name, start_at=world.clock.now() + timedelta(minutes=5))
    world.ask(role.name, ttl=timedelta(minutes=20))
    world.work()
    world.clock.move(minutes=5)
    world.work()
    assert world.get(later).state is State.ACTIVE


def _leave(world: World, how: str) -> None:
    """Alice's CORP account, as the personnel department leaves it."""
    person = world.services.forests[Forest.CORP].find_person("alice")
    if how == "gone":
        world.corp.remove(person.ref)
    else:
        account = world.corp.account(person.ref.sid)
        enabled = how != "disabled"
        world.corp.change(
            replace(account, person=replace(account.person, enabled=enabled)),
            None if how == "disabled" else world.clock.now(),
        )


@pytest.mark.parametrize("how", ["disabled", "expired", "gone"])
def test_whoever_left_while_it_waited_gets_nothing(world: World, how: str) -> None:
    role = world.ready()
    later = world.ask(role.name, start_at=world.clock.now() + timedelta(hours=1))
    world.clock.move(hours=1)
    _leave(world, how)
    before = world.priv.writes
    world.work()
    failed = world.get(later)
    assert failed.state is State.FAILED
    assert failed.reason.startswith("the CORP account alice is ")
    assert world.priv.writes == before
    with world.store.read() as uow:
        (record,) = uow.audit.read(AuditQuery(kind="request.failed", limit=0))
    assert (record.request, failed.reason in record.data) == (later.id, True)


def test_what_has_begun_is_not_ended_by_leaving(world: World) -> None:
    """`bastide kill` does that: an end that nobody asked for must not depend on what CORP says."""
    role = world.ready()
    request = world.ask(role.name)
    world.work()
    _leave(world, "disabled")
    world.clock.move(minutes=1)
    world.work()
    assert world.get(request).state is State.ACTIVE


def test_disabled_on_one_controller_is_disabled() -> None:
    world = World(corp_controllers=("corpdc", "corpdc2"))
    try:
        role = world.ready()
        request = world.ask(role.name, start_at=world.clock.now() + timedelta(hours=1))
        world.corp.isolate("corpdc2")
        _leave(world, "disabled")
        world.clock.move(hours=1)
        world.work()
        assert "disabled" in world.get(request).reason
    finally:
        world.close()


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


# ---------------------------------------------------------------------------------------- found by a reader who tried to break it


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
    world.priv.before_write = _deny
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
