"""What a database that came back from the past finds in the directory is taken away before anything is granted (services/reconcile.py). A test per number."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bastide.directory.memory_forest import SAMBA_LIKE, Link
from bastide.domain.errors import Conflict
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.requests import Request, State
from bastide.domain.roles import Carrier, Enforcer, Scope
from bastide.services.events import by_worker
from bastide.services.ports import AccountState, Controller
from bastide.services.reconcile import FOUND
from bastide.services.recovery import BEGAN, ENDED, begin
from bastide.services.roles import StageDraft
from tests.support.grants import CAP, deny
from tests.support.restored import RestoredWorld
from tests.support.world import World

TWO = ("dc1", "dc2")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RestoredWorld]:
    made = RestoredWorld(tmp_path, priv_controllers=TWO)
    yield made
    made.close()


def test_1_what_waits_is_cancelled_and_what_was_about_to_begin_fails(world: RestoredWorld) -> None:
    """Somebody may have rejected it since, and the database would not know."""
    role = world.ready()
    world.prepare_group("DbAdmins")
    staged = world.add_role(
        "Databases", privileges=("PAM-DbAdmins",), stages=(StageDraft("owners", ("PRIV\\grace",)),)
    )
    pending = world.ask(staged.name)
    scheduled = world.ask(role.name, start_at=world.clock.now() + timedelta(hours=1))
    begun = world.ask(role.name)
    world.keep()
    world.services.requests.kill(world.dave, "incident", everything=True)
    world.work()
    world.put_back()
    assert world.compare()
    assert [world.get(one).state for one in (pending, scheduled, begun)] == [
        State.CANCELLED, State.CANCELLED, State.FAILED,
    ]  # fmt: skip
    assert "ask again" in world.get(pending).reason


def test_2_a_grant_that_the_directory_shows_as_it_is_goes_on(world: RestoredWorld) -> None:
    role = world.ready()
    request = world.ask(role.name)
    world.work()
    before = world.get(request)
    world.keep()
    world.prepare("bob")
    world.put_back()
    assert world.compare()
    assert world.get(request) == before
    alice = world.services.accounts.users(world.dave)[0]
    assert world.opens_share(alice)
    assert [json.loads(one)["kept"] for one in world.said(ENDED)] == [1]


def test_2_a_grant_that_was_ended_since_is_closed(world: RestoredWorld) -> None:
    role = world.ready()
    request = world.ask(role.name)
    world.work()
    world.keep()
    world.services.requests.kill(world.dave, "stolen laptop", everything=True)
    world.work()
    world.put_back()
    assert world.compare()
    closed = world.get(request)
    assert closed.state is State.CLOSED
    assert "does not show this access" in closed.reason
    assert not world.opens_share(world.services.accounts.users(world.dave)[0])


def test_2_a_grant_whose_end_was_moved_since_is_closed(world: RestoredWorld) -> None:
    role = world.ready(extension=True)
    request = world.ask(role.name, ttl=timedelta(minutes=20))
    world.work()
    world.keep()
    world.services.requests.extend(world.alice(), request.id, timedelta(minutes=30))
    world.work()
    world.put_back()
    assert world.compare()
    assert world.get(request).state is State.CLOSED
    assert not world.opens_share(world.services.accounts.users(world.dave)[0])


def test_3_what_was_granted_after_the_backup_is_taken_away_and_only_then_granted_anew(
    world: RestoredWorld,
) -> None:
    role = world.ready()
    alice = world.services.accounts.users(world.dave)[0]
    world.keep()
    world.ask(role.name)
    world.work()
    assert world.opens_share(alice)
    world.put_back()
    with pytest.raises(Conflict, match="being compared"):
        world.ask(role.name)
    assert world.compare()
    for name in TWO:
        assert not world.opens_share(alice, at=name)
    again = world.ask(role.name)
    world.work()
    assert world.get(again).state is State.ACTIVE
    assert world.opens_share(alice)


def test_3_members_that_the_database_never_heard_of_leave_a_group_that_bastide_made(
    world: RestoredWorld,
) -> None:
    role = world.ready()
    world.keep()
    (bob,) = world.prepare("bob")
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.priv.write("dc1", "by hand", {("link", group.priv.guid, bob.priv.sid): Link(None)})
    world.ask(role.name)
    world.work()
    world.put_back()
    assert world.compare()
    assert world.services.forests[Forest.PRIV].members_of(group.priv) == frozenset()
    removed = {json.loads(one)["group"] for one in world.said("recovery.member-removed")}
    assert removed == {"PAM-FileAdmins"}
    assert len(world.said("recovery.member-removed")) == 2


def test_3_who_stood_in_an_adopted_group_stays(tmp_path: Path) -> None:
    """They hold a right of their own: roles are to replace it one day, a restore is not."""
    world = RestoredWorld(tmp_path)
    try:
        (alice,) = world.prepare("alice")
        stranger = world.priv.add_person("adm.stranger").ref.sid
        team = world.priv.add_group("Direct", scope=Scope.GLOBAL, members=[alice.priv.sid, stranger])
        later = world.priv.add_person("adm.later").ref.sid
        world.services.accounts._plan = replace(world._preparation(), single_forest=True)
        group = world.services.accounts.add_group(world.dave, "Direct", Carrier.DIRECT)
        (bob,) = world.prepare("bob")
        priv = world.services.forests[Forest.PRIV]
        priv.add_members(team.ref, [bob.priv.sid, later])
        _begin(world)
        assert world.compare()
        assert priv.members_of(group.priv) == {alice.priv.sid, stranger, later}
    finally:
        world.close()


def test_4_an_account_that_is_open_without_a_grant_is_closed(world: RestoredWorld) -> None:
    world.ready()
    alice = world.services.accounts.users(world.dave)[0]
    world.services.forests[Forest.PRIV].set_ends({alice.priv.sid: world.clock.now() + timedelta(days=1)})
    _begin(world)
    assert world.compare()
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    assert len(world.said("recovery.account-closed")) == 1


def test_4_an_account_that_is_kept_alive_stays_open(world: RestoredWorld) -> None:
    (alice,) = world.prepare("alice", kept_alive=True)
    priv = world.services.forests[Forest.PRIV]
    priv.set_ends({alice.priv.sid: world.clock.now() + timedelta(days=1)})
    _begin(world)
    assert world.compare()
    assert world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())


def test_5_a_corp_link_that_no_grant_uses_is_taken_away(world: RestoredWorld) -> None:
    world.grant_after_copy()
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    corp = world.services.forests[Forest.CORP]
    assert all(corp.observe_link(group.corp, group.priv.sid).values())
    world.put_back()
    assert world.compare()
    assert not any(corp.observe_link(group.corp, group.priv.sid).values())


def test_6_what_was_found_is_said_before_it_is_touched_and_gone_with_the_end_of_its_last_ticket(
    world: RestoredWorld,
) -> None:
    world.grant_after_copy()
    world.put_back()
    said: list[int] = []
    world.priv.before_write = lambda _number, _what: said.append(len(world.said(FOUND)))
    began = world.clock.now()
    assert world.compare()
    assert said[0] == 1
    assert said == [1] * len(said)
    (found,) = (json.loads(one) for one in world.said(FOUND))
    assert len(found["members"]) == len(found["accounts"]) == len(found["links"]) == 1
    until = [json.loads(one)["until"] for one in world.said("recovery.member-removed")]
    assert until
    assert all(datetime.fromisoformat(one) >= began + CAP for one in until)


def test_7_a_silent_controller_holds_it_up(world: RestoredWorld) -> None:
    role = world.grant_after_copy()
    world.priv.cut("dc2")
    world.put_back()
    assert not world.compare()
    alice = world.services.accounts.users(world.dave)[0]
    now = world.clock.now()
    assert not world.priv.can_buy_ticket(alice.priv.sid, now, at="dc1"), (
        "the one that answers is cleaned at once"
    )
    assert world.priv.can_buy_ticket(alice.priv.sid, now, at="dc2")
    with world.store.read() as uow:
        assert any("dc2 does not answer" in str(row["error"]) for row in uow.work.listing())
    with pytest.raises(Conflict, match="being compared"):
        world.ask(role.name)
    world.priv.heal("dc2")
    assert world.compare()
    assert not world.opens_share(alice, at="dc2")


def test_7_a_refused_removal_holds_it_up(world: RestoredWorld) -> None:
    world.grant_after_copy()
    world.put_back()
    world.priv.before_write = deny
    assert not world.compare()
    assert not world.said(ENDED)
    world.priv.before_write = lambda _number, _what: None
    assert world.compare()
    assert len(world.said(ENDED)) == 1


def test_7_with_corp_out_of_reach_nobody_knows_of_the_link(world: RestoredWorld) -> None:
    world.grant_after_copy()
    world.corp.cut("corpdc")
    world.put_back()
    assert not world.compare()
    alice = world.services.accounts.users(world.dave)[0]
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now()), "PRIV does not wait for CORP"
    world.corp.heal("corpdc")
    assert world.compare()


def test_a_group_that_is_gone_holds_nothing_up(world: RestoredWorld) -> None:
    world.ready()
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.priv.remove(group.priv)
    _begin(world)
    assert world.compare()


def _begin(world: World) -> None:
    with world.store.write() as uow:
        begin(uow, world.clock.now(), cause="a test")
        uow.commit()


@pytest.mark.parametrize(("permanent", "state"), [(False, State.ACTIVE), (True, State.CLOSED)])
def test_2_a_link_that_lost_its_ttl_is_not_as_it_was(
    world: RestoredWorld, *, permanent: bool, state: State
) -> None:
    world.priv.capabilities = replace(SAMBA_LIKE, link_ttl=True)
    role = world.ready(floor=Enforcer.LINK_TTL)
    request = world.ask(role.name)
    world.work()
    alice = world.services.accounts.users(world.dave)[0]
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    if permanent:
        world.priv.write("dc1", "by hand", {("link", group.priv.guid, alice.priv.sid): Link(None)})
    _begin(world)
    assert world.compare()
    assert world.get(request).state is state
    assert world.opens_share(alice) is not permanent


def test_2_an_extension_that_was_only_asked_for_is_closed_with_its_grant(world: RestoredWorld) -> None:
    """Whether it came about since nobody knows."""
    role = world.ready(extension=True)
    request = world.ask(role.name, ttl=timedelta(minutes=20))
    world.work()
    world.services.requests.extend(world.alice(), request.id, timedelta(minutes=30))
    world.keep()
    world.prepare("bob")
    world.put_back()
    assert world.compare()
    assert world.get(request).state is State.CLOSED


def test_2_what_is_over_by_now_ends_as_ever(world: RestoredWorld) -> None:
    role = world.ready()
    request = world.ask(role.name, ttl=timedelta(minutes=20))
    world.work()
    world.keep()
    world.prepare("bob")
    world.clock.move(hours=1)
    world.put_back()
    assert world.compare()
    assert world.get(request).state is State.EXPIRED


def test_6_where_a_controller_was_silent_nobody_knows_the_end_of_the_last_ticket(
    world: RestoredWorld,
) -> None:
    """It sells tickets until it hears of the removal."""
    world.grant_after_copy()
    world.priv.cut("dc2")
    world.put_back()
    assert not world.compare(seconds=10)
    told = [json.loads(one) for one in world.said("recovery.member-removed")]
    assert [(one["until"], one["unreachable"]) for one in told] == [("", ["dc2"])]


def test_7_a_controller_that_was_silent_for_one_question_holds_it_up(
    world: RestoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is back when it is asked whether it answers, and what it holds was not read."""
    world.grant_after_copy()
    world.put_back()
    priv = world.services.forests[Forest.PRIV]
    alice = world.services.accounts.users(world.dave)[0]
    questions, back = priv.members_on, priv.controllers
    asked: list[int] = []

    def away(group: ObjectRef) -> Mapping[str, frozenset[Sid]]:
        asked.append(len(world.said(FOUND)))
        if len(asked) <= 2:  # the two looks of the first comparison
            world.priv.cut("dc2")
        return questions(group)

    def here() -> tuple[Controller, ...]:
        world.priv._cut.discard("dc2")
        return back()

    world.priv.isolate("dc2")
    monkeypatch.setattr(priv, "members_on", away)
    monkeypatch.setattr(priv, "controllers", here)
    world.runner.run_due()
    assert world.compares()
    assert world.compare()
    assert not world.opens_share(alice, at="dc2")


def test_8_who_slept_does_not_end_what_began_meanwhile(
    world: RestoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ready()
    _begin(world)
    priv = world.services.forests[Forest.PRIV]
    controllers = priv.controllers

    def sleep() -> tuple[Controller, ...]:
        monkeypatch.setattr(priv, "controllers", controllers)
        _begin(world)
        return controllers()

    monkeypatch.setattr(priv, "controllers", sleep)
    assert world.compare()
    with world.store.read() as uow:
        began = uow.audit.last(BEGAN, "database")
    assert began is not None
    assert [json.loads(one)["began"] for one in world.said(ENDED)] == [began.seq]


def test_8_who_slept_takes_nothing_away(world: RestoredWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have ended the comparison, and granted since."""
    role = world.ready()
    _begin(world)
    priv = world.services.forests[Forest.PRIV]
    links = priv.observe
    request: list[Request] = []

    def sleep(accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        seen = links(accounts)
        if accounts:
            monkeypatch.setattr(priv, "observe", links)
            with world.store.write() as uow:
                uow.audit.append(by_worker(ENDED, world.clock.now(), subject="database"))
                uow.commit()
            request.append(world.ask(role.name))
            other = world.new_runner("other:1")
            other.run_due()
            other.run_due()
            seen = links(accounts)
        return seen

    monkeypatch.setattr(priv, "observe", sleep)
    world.work()
    assert world.get(request[0]).state is State.ACTIVE
    assert world.opens_share(world.services.accounts.users(world.dave)[0])
    assert not world.said(FOUND)
