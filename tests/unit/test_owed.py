"""What a controller that was silent when access ended may still hold; the numbers are those of services/owed.py."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.people import PamUser
from bastide.domain.requests import Request, State
from bastide.domain.roles import PamGroup, Ttl
from bastide.services.ports import AuditQuery
from tests.support.world import World

HERE, THERE = "privdc", "privdc2"
HALF_AN_HOUR = Ttl(timedelta(minutes=30), timedelta(minutes=30), timedelta(minutes=30))


@pytest.fixture
def world() -> Iterator[World]:
    """Alice may ask for files and for databases."""
    made = World(priv_controllers=(HERE, THERE))
    made.prepare("alice")
    made.prepare_group()
    made.prepare_group("DbAdmins")
    made.add_role(ttl=HALF_AN_HOUR)
    made.add_role("Databases", privileges=("PAM-DbAdmins",), ttl=HALF_AN_HOUR)
    yield made
    made.close()


def alice(world: World) -> PamUser:
    return world.services.accounts.users(world.dave)[0]


def files(world: World) -> PamGroup:
    return world.services.accounts.group(world.dave, "PAM-FileAdmins")


def asks(world: World, role: str = "File administrators") -> Request:
    asked = world.ask(role)
    world.work()
    found = world.get(asked)
    assert found.state is State.ACTIVE, found.reason
    return found


def down(world: World, controller: str) -> None:
    world.priv.isolate(controller)
    world.priv.cut(controller)


def ends(world: World, request: Request) -> None:
    """By time; a silent controller's own clock closes the account five minutes later."""
    assert request.ends_at is not None
    world.clock.moment = request.ends_at + timedelta(minutes=6)
    world.work()
    assert world.get(request).state is State.EXPIRED


def minutes(world: World, count: int) -> None:
    for _ in range(count):
        world.clock.move(minutes=1)
        world.work()


def carries(world: World, controller: str) -> bool:
    """Whether a ticket of alice's that is bought there opens the files."""
    return files(world).priv.sid in world.priv.token_groups(alice(world).priv.sid, at=controller)


def cleared(world: World) -> list[list[str]]:
    with world.store.read() as uow:
        found = uow.audit.read(AuditQuery(kind="pam-user.cleared", limit=0))
        return [json.loads(one.data)["groups"] for one in found]


def test_1_what_a_silent_controller_holds_is_owed_until_it_answers(world: World) -> None:
    request = asks(world)
    down(world, THERE)
    ends(world, request)
    assert alice(world).owed == (files(world).id,)
    minutes(world, 30)
    assert alice(world).owed == (files(world).id,)
    assert carries(world, THERE)
    world.priv.come_back(THERE)
    minutes(world, 11)
    assert alice(world).owed == ()
    assert not carries(world, THERE)
    assert cleared(world) == [["PAM-FileAdmins"]]


def test_1_nothing_is_owed_where_every_controller_answered(world: World) -> None:
    ends(world, asks(world))
    assert alice(world).owed == ()
    assert cleared(world) == []


def test_2_another_role_gives_back_nothing_that_ended(world: World) -> None:
    request = asks(world)
    down(world, THERE)
    ends(world, request)
    world.priv.come_back(THERE)
    asks(world, "Databases")
    assert world.priv.can_buy_ticket(alice(world).priv.sid, world.clock.now(), at=THERE)
    assert not carries(world, THERE)


def test_2_while_the_account_is_open_it_is_looked_at_each_minute(world: World) -> None:
    request = asks(world)
    down(world, THERE)
    ends(world, request)
    asks(world, "Databases")
    world.priv.come_back(THERE)
    minutes(world, 2)
    assert not carries(world, THERE)


def test_2_what_one_controller_alone_had_does_not_come_back_with_it(world: World) -> None:
    """It was granted while the other was silent, which has nothing to take out when the first is silent at the end."""
    down(world, THERE)
    request = asks(world)
    down(world, HERE)
    world.priv.heal(THERE)
    ends(world, request)
    world.priv.heal(HERE)
    minutes(world, 11)
    assert not carries(world, HERE)
    assert not carries(world, THERE)


def test_2_what_another_grant_holds_stays(world: World) -> None:
    request = asks(world)
    down(world, THERE)
    ends(world, request)
    world.priv.come_back(THERE)
    asks(world)
    minutes(world, 5)
    assert carries(world, HERE)
    assert carries(world, THERE)


def test_3_what_is_owed_is_no_standing_right(world: World) -> None:
    request = asks(world)
    down(world, THERE)
    ends(world, request)
    world.priv.come_back(THERE)
    ends(world, asks(world))
    assert alice(world).owed == ()
