"""An account or a group that a controller has not heard of yet; the numbers are those of services/readback.py, `confirmed`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.ids import Sid
from bastide.domain.requests import State
from bastide.domain.roles import Carrier, Link
from bastide.services.ports import AccountState
from bastide.services.readback import Seen, confirmed
from tests.support import build
from tests.support.world import World

HERE, THERE = "privdc", "privdc2"


@pytest.fixture
def world() -> Iterator[World]:
    made = World(priv_controllers=(HERE, THERE))
    yield made
    made.close()


def goes_on(world: World) -> None:
    """For a minute, and the pause of a retry."""
    for _ in range(10):
        world.work()
        world.clock.move(seconds=10)
    world.work()


def test_2_a_new_account_gets_access_before_every_controller_knows_it(world: World) -> None:
    world.prepare_group()
    world.priv.isolate(THERE)
    world.prepare("alice")
    world.add_role()
    request = world.ask()
    world.work()
    assert world.get(request).state is State.PROCESSING, "it may come within a moment"
    goes_on(world)
    assert world.get(request).state is State.ACTIVE


def test_2_so_does_who_joins_a_new_group(world: World) -> None:
    world.prepare("alice")
    world.priv.isolate(THERE)
    world.prepare_group()
    world.add_role()
    request = world.ask()
    goes_on(world)
    assert world.get(request).state is State.ACTIVE
    world.priv.heal(THERE)
    user = world.services.accounts.users(world.dave)[0]
    files = world.services.accounts.group(world.dave, "PAM-FileAdmins").priv
    assert files.sid in world.priv.token_groups(user.priv.sid, at=THERE)


ALICE, GROUP, END = build.user(), replace(build.group(), link=Link.PRESENT), build.NOW + timedelta(hours=1)
JOINED = {ALICE.priv.sid: AccountState(True, END, frozenset({GROUP.priv.guid}))}
OUTSIDE = {ALICE.priv.sid: AccountState(True, END, frozenset())}
CLOSED = {ALICE.priv.sid: AccountState(True, build.NOW, frozenset())}
NEW = {GROUP.priv.guid: frozenset({THERE})}


@pytest.mark.parametrize(
    ("there", "without", "waited", "expected"),
    [
        (JOINED, {}, 0, True),
        (OUTSIDE, {}, 60, False),
        (OUTSIDE, NEW, 60, True),
        (OUTSIDE, NEW, 59, False),
        (CLOSED, NEW, 60, False),
        ({}, {}, 60, True),
        ({}, {}, 59, False),
    ],
)
def test_1_2_who_knows_account_and_group_must_show_it_all(
    there: Mapping[Sid, AccountState], without: Mapping[str, frozenset[str]], waited: int, expected: bool
) -> None:
    seen = Seen({HERE: JOINED, THERE: there}, (), without)
    assert confirmed(ALICE, [GROUP], seen, END, build.NOW, timedelta(seconds=waited)) is expected


@pytest.mark.parametrize("shown", [{}, OUTSIDE])
def test_2_one_controller_at_least_shows_it(shown: Mapping[Sid, AccountState]) -> None:
    without = {GROUP.priv.guid: frozenset({HERE, THERE})}
    seen = Seen({HERE: shown, THERE: {}}, (), without)
    assert not confirmed(ALICE, [GROUP], seen, END, build.NOW, timedelta(hours=1))


def test_3_and_the_link_in_corp() -> None:
    absent = replace(GROUP, link=Link.ABSENT, carrier=Carrier.FOREIGN_PRINCIPAL)
    assert not confirmed(ALICE, [absent], Seen({HERE: JOINED}, ()), END, build.NOW)
