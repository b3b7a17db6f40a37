"""Registrations that are taken away, and counts of people who were nobody yet: what an administrator and the person can do about a reset that is under way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.errors import Conflict, InvalidInput, NotConfigured, NotFound, TooManyTries
from bastide.domain.reset import lockout
from bastide.domain.reset.gates import Gate
from bastide.services.reset.contents import codes_in
from bastide.services.reset.ports import NamedRule
from bastide.store.breached import RangeFiles
from tests.support.reset_world import HOME_PLACE, NEW, ResetWorld

pytest_plugins = ["tests.support.reset_world"]


@pytest.fixture
def cooling() -> Iterator[ResetWorld]:
    made = ResetWorld(rules=(NamedRule(gates=(Gate.MAIL,), cooling=timedelta(hours=8)),))
    made.register()
    yield made
    made.close()


def lock(world: ResetWorld, name: str) -> None:
    """Wrong answers from many addresses, up to the limit of a name."""
    for number in range(lockout.NAME.most):
        address = f"192.0.2.{number // 2}"
        token = world.begin(name, address)
        with pytest.raises(InvalidInput):
            world.reset.journey.answer(token, Gate.MAIL, {"code": "2222-2222"}, address)


def renamed(world: ResetWorld, name: str, to: str) -> None:
    account = world.corp.account(world.everyday(name).sid)
    person = replace(account.person, ref=replace(account.person.ref, name=to))
    world.corp.change(replace(account, person=person), world.corp.expires(account.person.ref.sid))


def test_whoever_takes_the_registration_away_ends_what_is_under_way(cooling: ResetWorld) -> None:
    token = cooling.through()
    cooling.deliver()
    cooling.reset.registrations.remove(cooling.everyday("nina"), "nina-corp-pw")
    cooling.clock.move(hours=9)
    with pytest.raises(Conflict):
        cooling.finish(token)
    assert cooling.password("nina") != NEW


def test_a_code_that_stops_is_over_with_its_reset(cooling: ResetWorld) -> None:
    cooling.through()
    cooling.deliver()
    (code,) = codes_in(cooling.notifier.taken[-1][1].body)
    cooling.clock.move(hours=8 + 25)
    with pytest.raises(InvalidInput):
        cooling.reset.journey.stop(code, HOME_PLACE)
    assert "reset.stopped" not in cooling.events()


def test_what_was_counted_before_the_registration_is_shown_and_unlocked() -> None:
    world = ResetWorld(permanent_after=1)
    lock(world, "nina")
    with pytest.raises(TooManyTries):
        world.begin("nina", HOME_PLACE)
    assert world.reset.administration.state(world.dave).locked == ()
    world.register()
    assert [one.name for one in world.reset.administration.state(world.dave).locked] == ["nina"]
    world.reset.administration.unlock(world.dave, "nina")
    world.begin("nina", HOME_PLACE)
    world.close()


def test_who_never_registered_is_unlocked_by_name_too() -> None:
    world = ResetWorld(permanent_after=1)
    lock(world, "olaf")
    with pytest.raises(TooManyTries):
        world.begin("olaf", HOME_PLACE)
    world.reset.administration.unlock(world.dave, "olaf")
    world.begin("olaf", HOME_PLACE)
    world.close()


def test_a_registration_goes_by_the_account_and_not_by_its_old_name() -> None:
    world = ResetWorld()
    world.register()
    old = world.everyday("nina").sid
    renamed(world, "nina", "nina.smith")
    world.corp.add_person("nina", password="of a colleague")  # of a test
    with pytest.raises(NotFound):
        world.reset.administration.unregister(world.dave, "nina")
    world.reset.administration.unregister(world.dave, "nina.smith")
    with world.store.read() as uow:
        assert uow.resets.registration(old) is None
    world.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>503 Service Unavailable</html>\n",
        b"0018A45C4D1DEF81644B54AB7F969B88D65:1\n00D4F6E8",
        b"1E4C9B93F3F0682250B6CF8331B7EE68FD8:3\n<html>",
    ],
)
def test_a_range_file_that_is_empty_or_cut_off_is_an_error(tmp_path: Path, content: bytes) -> None:
    """`password` is 5BAA6 1E4C9B93F3F0682250B6CF8331B7EE68FD8."""
    (tmp_path / "5BAA6").write_bytes(content)
    with pytest.raises(NotConfigured):
        RangeFiles(tmp_path).times("password")


def test_a_sorted_file_that_is_empty_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"")
    with pytest.raises(NotConfigured):
        RangeFiles(tmp_path / "all").times("password")
