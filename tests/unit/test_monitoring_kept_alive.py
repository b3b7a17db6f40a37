"""An account that is kept alive: closed when its person leaves, told when the person is back, opened by a grant, or by rule."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.drift import Action, Rule
from bastide.domain.ids import Sid
from bastide.domain.people import Actor, Forest, PamUser
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer
from bastide.services.monitor.control import Control
from tests.support.grants import SHORT
from tests.support.monitored import MonitoredWorld

CORP, PRIV = Forest.CORP, Forest.PRIV
MINUTE = 61


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    yield from made({})


@pytest.fixture
def opening() -> Iterator[MonitoredWorld]:
    """Whose settings say that it is opened again."""
    yield from made({Rule.CLOSED_ACCOUNT: Action.REPAIR})


def made(actions: dict[Rule, Action]) -> Iterator[MonitoredWorld]:
    world = MonitoredWorld(actions=actions)
    world.prepare("alice", kept_alive=True)
    world.prepare_group()
    world.add_role(floor=Enforcer.REMOVAL, ttl=SHORT)
    world.look()
    yield world
    world.close()


def alice(world: MonitoredWorld) -> PamUser:
    with world.store.read() as uow:
        return next(one for one in uow.users.all() if one.corp.name == "alice")


def is_open(world: MonitoredWorld) -> bool:
    return world.priv.can_buy_ticket(alice(world).priv.sid, world.clock.now())


def end(world: MonitoredWorld) -> object:
    return world.priv.expires(alice(world).priv.sid)


def leave(world: MonitoredWorld) -> None:
    world.change_person(CORP, alice(world).corp.sid, enabled=False)
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)


def come_back(world: MonitoredWorld) -> None:
    world.change_person(CORP, alice(world).corp.sid, enabled=True)
    world.look()


def control(world: MonitoredWorld) -> tuple[Control, Actor]:
    return world.monitoring.control, world.dave


def test_it_is_closed_at_once_when_the_person_leaves(world: MonitoredWorld) -> None:
    """Its own domain does not move, and nobody waits for the look of once a minute."""
    world.change_person(CORP, alice(world).corp.sid, enabled=False)
    world.clock.move(seconds=1)
    world.work()
    assert not is_open(world)


def test_nothing_is_drift_while_the_person_is_away(world: MonitoredWorld) -> None:
    leave(world)
    assert not is_open(world)
    assert world.standing() == {}


def test_a_person_who_is_back_is_drift_and_who_opens_it_is_an_administrator(world: MonitoredWorld) -> None:
    leave(world)
    come_back(world)
    found = world.standing()[Rule.CLOSED_ACCOUNT]
    assert "is kept alive and was closed" in found.drift.reason
    assert (found.action, is_open(world)) == (Action.REPORT, False)
    world.priv.change(world.priv.account(alice(world).priv.sid), None)
    world.look()
    assert world.standing() == {}


def test_by_rule_it_gets_the_end_back_that_it_had(opening: MonitoredWorld) -> None:
    before = end(opening)
    leave(opening)
    assert end(opening) != before
    come_back(opening)
    assert end(opening) == before
    opening.look()
    assert opening.standing() == {}
    assert [one["rule"] for one in opening.told("drift.repaired")] == ["open-account", "closed-account"]


def test_by_rule_as_well_no_account_is_opened_whose_person_is_not_shown(opening: MonitoredWorld) -> None:
    """Whoever hides a person from us opens nothing."""
    leave(opening)
    user = alice(opening)
    opening.corp.remove(user.corp)
    opening.look(seconds=MINUTE)
    assert not is_open(opening)


def test_by_rule_as_well_nobody_is_opened_who_is_switched_off(opening: MonitoredWorld) -> None:
    leave(opening)
    opening.services.switches.turn(opening.dave, "priv.alice", "left for good", on=False)
    come_back(opening)
    opening.look(seconds=MINUTE)
    assert not is_open(opening)
    assert opening.standing() == {}


def test_a_grant_opens_it_until_its_own_end(world: MonitoredWorld) -> None:
    leave(world)
    come_back(world)
    request = world.ask(ttl=timedelta(minutes=20))
    world.work()
    active = world.get(request)
    assert active.state is State.ACTIVE
    assert world.opens_share(alice(world))
    assert end(world) == active.ends_at, "no longer than what was asked for"
    world.look()
    assert Rule.CLOSED_ACCOUNT in world.standing(), "it stays told, and is told once"
    world.clock.move(minutes=21)
    world.work()
    assert world.get(request).state is State.EXPIRED
    assert not is_open(world)
    assert len([one for one in world.told("drift.found") if one["rule"] == "closed-account"]) == 1


def test_an_extension_takes_the_account_with_it(world: MonitoredWorld) -> None:
    leave(world)
    come_back(world)
    request = world.ask(ttl=timedelta(minutes=10))
    world.work()
    world.services.requests.extend(world.sign_in("alice", CORP, mfa=True), request.id, timedelta(minutes=20))
    world.work()
    longer = world.get(request)
    assert (longer.extend_to, longer.state) == (None, State.ACTIVE)
    assert end(world) == longer.ends_at
    assert longer.active_from is not None
    assert longer.last_end() >= longer.active_from + timedelta(minutes=20)


def test_the_second_of_two_grants_goes_on_as_long_as_it_was_said(world: MonitoredWorld) -> None:
    leave(world)
    come_back(world)
    world.ask(ttl=timedelta(minutes=10))
    world.work()
    second = world.ask(ttl=timedelta(minutes=40))
    world.work()
    world.clock.move(minutes=11)
    world.work()
    assert (world.get(second).state, world.opens_share(alice(world))) == (State.ACTIVE, True)
    assert end(world) == world.get(second).ends_at


def test_a_grant_leaves_one_alone_that_is_open_for_longer(world: MonitoredWorld) -> None:
    before = end(world)
    request = world.ask(ttl=timedelta(minutes=20))
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert end(world) == before


def test_one_that_somebody_opened_on_one_controller_is_left_to_replication(world: MonitoredWorld) -> None:
    leave(world)
    come_back(world)
    sid: Sid = alice(world).priv.sid
    first = next(iter(world.priv.reachable()))
    world.priv.write(first, "opened by hand", {("expires", sid): None})
    request = world.ask(ttl=timedelta(minutes=20))
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert end(world) is None


def test_that_it_stays_closed_can_be_accepted(world: MonitoredWorld) -> None:
    leave(world)
    come_back(world)
    use, dave = control(world)
    use.accept(dave, world.standing()[Rule.CLOSED_ACCOUNT].key, "asks for what she needs")
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    request = world.ask(ttl=timedelta(minutes=20))
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert not world.standing()


def test_what_else_is_accepted_of_it_does_not_hide_that_it_is_closed(world: MonitoredWorld) -> None:
    leave(world)
    world.change_person(PRIV, alice(world).priv.sid, enabled=False)
    world.look(seconds=MINUTE)
    use, dave = control(world)
    use.accept(dave, world.standing()[Rule.ACCOUNT_CHANGED].key, "while she is away")
    world.change_person(PRIV, alice(world).priv.sid, enabled=True)
    world.look()
    use.accept(dave, world.standing()[Rule.ACCOUNT_CHANGED].key, "she is back")
    come_back(world)
    assert Rule.CLOSED_ACCOUNT in world.standing()
