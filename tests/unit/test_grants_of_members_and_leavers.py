"""Who is in the group already gets no grant, and who left while it waited gets nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.services.ports import AuditQuery
from tests.support.grants import SHORT
from tests.support.world import World

pytest_plugins = ["tests.support.grants"]


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
