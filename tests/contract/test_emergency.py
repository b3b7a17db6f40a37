"""What every EmergencyDirectory, EmergencyReader and PasswordProof does, in memory and on Samba."""

import time
from collections.abc import Callable, Iterator

import pytest

from bastide.domain.break_glass import Trace, What, signs
from bastide.domain.errors import DirectoryDenied, InvalidInput, NoSuchObject, NotAuthenticated, NotFound
from bastide.services.break_glass.ports import EmergencyReader, Found
from tests.support.emergency_world import EmergencyWorld, MemoryEmergencyWorld, SambaEmergencyWorld
from tests.support.patience import PATIENCE

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
PASSWORD = "A9.correct.horse.batte.ry234"


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[EmergencyWorld]:
    if request.param == "memory":
        yield MemoryEmergencyWorld()
    else:
        yield SambaEmergencyWorld(request.getfixturevalue("directory_lab"))


def shown(reader: EmergencyReader, found: Found) -> dict[str, Trace]:
    seen = {name: one for name, one in reader.traces(found.sid).items() if isinstance(one, Trace)}
    assert len(seen) == 2, "both controllers answer"
    return seen


def soon(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)


def sealed(world: EmergencyWorld, found: Found) -> dict[str, Trace]:
    """With PASSWORD on both controllers, and a first sign-in; what the service account sees then."""
    world.directory().set_password(found.sid, PASSWORD)
    soon(lambda: len({one.password_set for one in shown(world.reader(), found).values()}) == 1)
    world.proof().prove(f"{found.name}@PRIV.BASTIDE.TEST", PASSWORD)
    return shown(world.reader(), found)


def test_an_account_is_found_and_shown(world: EmergencyWorld) -> None:
    found = world.account()
    assert world.directory().find(found.name).sid == found.sid
    assert world.directory().domain == world.reader().domain == "priv.bastide.test"
    assert world.directory().caller().name == "Administrator"
    for one in shown(world.reader(), found).values():
        assert (one.enabled, one.expires, one.locked, one.smartcard, one.guarded, one.groups) == (
            True, None, False, False, False, (),
        )  # fmt: skip
    with pytest.raises(NotFound):
        world.directory().find("nobody-has-that-name")


def test_a_password_signs_in_and_leaves_its_trace(world: EmergencyWorld) -> None:
    found = world.account()
    before = sealed(world, found)
    assert any(one.shown for one in before.values()), "the service account sees sign-ins"
    world.proof().prove(f"{found.name}@PRIV.BASTIDE.TEST", PASSWORD)
    now = shown(world.reader(), found)
    start = max(one.last_logon for one in before.values() if one.last_logon)
    assert {one.what for one in signs(before, now, start)} == {What.SIGN_IN}
    assert signs(now, shown(world.reader(), found), start) == ()


def test_a_wrong_password_is_refused_and_counted(world: EmergencyWorld) -> None:
    found = world.account()
    world.count_wrong_passwords(found)
    before = sealed(world, found)
    start = max(one.last_logon for one in before.values() if one.last_logon)
    with pytest.raises(NotAuthenticated) as refused:
        world.proof().prove(f"{found.name}@PRIV.BASTIDE.TEST", "A9.wrong.wrong.wrong")
    assert "wrong.wrong" not in str(refused.value)
    found_signs = signs(before, shown(world.reader(), found), start)
    assert {one.what for one in found_signs} == {What.WRONG_PASSWORD}


def test_a_new_password_makes_the_old_one_useless(world: EmergencyWorld) -> None:
    found = world.account()
    before = sealed(world, found)
    world.directory().set_password(found.sid, PASSWORD + "x")
    soon(lambda: len({one.password_set for one in shown(world.reader(), found).values()}) == 1)
    start = max(one.last_logon for one in before.values() if one.last_logon)
    assert What.PASSWORD in {one.what for one in signs(before, shown(world.reader(), found), start)}
    with pytest.raises(NotAuthenticated):
        world.proof().prove(f"{found.name}@PRIV.BASTIDE.TEST", PASSWORD)


def test_disabled_and_promoted_are_seen(world: EmergencyWorld) -> None:
    found = world.account()
    before = sealed(world, found)
    start = max(one.last_logon for one in before.values() if one.last_logon)
    group = world.promote(found)
    world.disable(found)
    seen = signs(before, shown(world.reader(), found), start)
    assert {one.what for one in seen} == {What.STANDING, What.GROUPS}
    assert any(group in one.text for one in seen)
    with pytest.raises(NotAuthenticated):
        world.proof().prove(f"{found.name}@PRIV.BASTIDE.TEST", PASSWORD)


def test_who_may_not_set_the_password_is_denied(world: EmergencyWorld) -> None:
    """Bastide's own account has no right to it (tests run it as the powerless one)."""
    with pytest.raises(DirectoryDenied):
        world.powerless().set_password(world.account().sid, PASSWORD)


def test_a_password_against_the_rules_is_refused(world: EmergencyWorld) -> None:
    with pytest.raises(InvalidInput) as refused:
        world.directory().set_password(world.account().sid, "short")
    assert "short" not in str(refused.value)


def test_what_is_gone_is_no_account(world: EmergencyWorld) -> None:
    found = world.account()
    world.remove(found)
    with pytest.raises(NoSuchObject):
        world.reader().traces(found.sid)
