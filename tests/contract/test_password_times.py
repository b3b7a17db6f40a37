"""What every PasswordTimes says of when a password was set, in memory and on two controllers of Samba."""

from datetime import timedelta

import pytest

from bastide.domain.errors import DirectoryUnavailable
from tests.support.times_world import MemoryTimesWorld, SambaTimesWorld, TimesWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
BOTH = (0, 1)


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> TimesWorld:
    if request.param == "memory":
        return MemoryTimesWorld()
    return SambaTimesWorld(request.getfixturevalue("directory_lab"))


def test_of_nobody_nothing_is_said(world: TimesWorld) -> None:
    assert world.reader(*BOTH).set_at(world.nobody()) is None


@pytest.mark.parametrize("controller", BOTH)
def test_the_newest_counts_before_the_other_controller_has_heard_of_it(
    world: TimesWorld, controller: int
) -> None:
    person, other = world.person(), 1 - controller
    before = world.set(person, other)
    with world.apart():
        newest = world.set(person, controller)
        assert newest > before
        assert world.reader(*BOTH).set_at(person) == newest
        assert world.reader(other).set_at(person) == before, "a controller that is out of reach is left out"


def test_a_date_that_moved_without_a_password_is_none(world: TimesWorld) -> None:
    person = world.person()
    was = world.set(person, 0)
    world.tick(person)
    found = world.reader(*BOTH).set_at(person)
    assert found is not None
    assert abs(found - was) < timedelta(seconds=2)


def test_where_no_controller_is_within_reach_nothing_is_known(world: TimesWorld) -> None:
    with pytest.raises(DirectoryUnavailable):
        world.reader().set_at(world.nobody())
