"""What every Census and Hardener does, in memory and on Samba: weak accounts that were left by hand are found, mended and read back."""

import time
from collections.abc import Callable, Iterator

import pytest

from bastide.domain.baseline import Account, Change
from bastide.domain.census import Seat, Sort
from bastide.domain.errors import DirectoryDenied, DirectoryError, NotFound
from bastide.domain.ids import ObjectRef, Sid
from tests.support.census_world import CensusWorld, MemoryCensusWorld, SambaCensusWorld
from tests.support.patience import PATIENCE

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]


def soon(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[CensusWorld]:
    if request.param == "memory":
        yield MemoryCensusWorld()
    else:
        yield SambaCensusWorld(request.getfixturevalue("directory_lab"), soon)


def seat_of(world: CensusWorld, member: ObjectRef, *also: Sid) -> list[Seat]:
    return [one for one in world.census().seats(also) if one.member == member.sid]


def test_members_are_found_through_groups_in_loops_too(world: CensusWorld) -> None:
    account, inner, deep = world.weak(), world.group(), world.group()
    top = world.guarded()
    world.join(deep, account)
    world.join(inner, deep)
    world.join(top, inner)
    world.join(deep, inner)
    try:
        world.soon(lambda: bool(seat_of(world, account)))
        (found,) = [one for one in seat_of(world, account) if one.group == top.sid]
        assert (found.group_name, found.member_name, found.sort) == (
            "Domain Admins",
            account.name,
            Sort.PERSON,
        )
        assert (found.path, found.inside, found.enabled) == ((inner.name, deep.name), deep.sid, True)
        assert {one.sort for one in seat_of(world, inner)} == {Sort.GROUP}
    finally:
        world.leave(top, inner)


def test_a_group_that_is_no_guarded_one_is_read_where_it_is_asked_for(world: CensusWorld) -> None:
    account, group = world.weak(), world.group()
    world.join(group, account)
    assert seat_of(world, account) == []
    world.soon(lambda: [one.group for one in seat_of(world, account, group.sid)] == [group.sid])
    assert seat_of(world, account, Sid(f"{group.sid.domain}-99999999")) == [], "nobody has that SID"


def test_a_member_that_is_not_shown_is_said_to_be_hidden(world: CensusWorld) -> None:
    group, inner = world.group(), world.group()
    world.join(group, inner)
    who = world.join_hidden(inner)
    world.soon(lambda: bool(seat_of(world, who, group.sid)))
    (found,) = seat_of(world, who, group.sid)
    assert (found.sort, found.member_name, found.path, found.enabled) == (
        Sort.HIDDEN,
        who.sid,
        (inner.name,),
        None,
    )
    assert world.census().accounts([who.sid]) == {}


def shown(world: CensusWorld, ref: ObjectRef) -> Account:
    return world.hardener().accounts([ref.sid])[ref.sid]


def test_what_is_wrong_with_an_account_is_seen(world: CensusWorld) -> None:
    found = shown(world, ref := world.weak())
    assert (found.name, found.enabled, found.shown, found.guarded, found.cap) == (
        ref.name,
        True,
        True,
        False,
        None,
    )
    assert found.preauth_off
    assert found.reversible
    assert found.password_not_needed
    assert found.never_expires
    assert len(found.spns) == 1
    assert not found.smart_card
    assert found.password_set is not None
    assert found.aes_since is None or found.aes_since < found.password_set
    world.soon(lambda: ref.sid in world.census().accounts([ref.sid]))
    assert world.census().accounts([Sid(f"{ref.sid.domain}-99999999")]) == {}


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        (Change.PROTECT, lambda one: not one.guarded),
        (Change.AES_ONLY, lambda one: one.encryption != 0x18),
        (Change.TICKET_CAP, lambda one: one.cap is None),
        (Change.NOT_DELEGATED, lambda one: not one.not_delegated),
        (Change.PREAUTH, lambda one: one.preauth_off),
        (Change.NO_REVERSIBLE, lambda one: one.reversible),
        (Change.PASSWORD_NEEDED, lambda one: one.password_not_needed),
        (Change.SMART_CARD, lambda one: not one.smart_card),
    ],
    ids=lambda one: one.value if isinstance(one, Change) else "",
)
def test_each_change_is_made_and_repeated_without_harm(
    world: CensusWorld, change: Change, lacks: Callable[[Account], bool]
) -> None:
    ref = world.weak()
    assert lacks(shown(world, ref))
    for _ in range(2):
        world.hardener().apply(ref.sid, change, world.policy)
        after = shown(world, ref)
        assert not lacks(after)
    assert after.never_expires, "the other flags stay"
    if change is Change.TICKET_CAP:
        assert after.cap == world.cap


def test_who_has_no_right_changes_nothing(world: CensusWorld) -> None:
    ref = world.weak()
    world.soon(lambda: ref.sid in world.census().accounts([ref.sid]))
    for change in (Change.PROTECT, Change.PREAUTH):
        with pytest.raises(DirectoryDenied):
            world.powerless().apply(ref.sid, change, world.policy)
    assert shown(world, ref).preauth_off
    assert not shown(world, ref).guarded


def test_a_policy_or_an_account_that_is_not_there_is_refused(world: CensusWorld) -> None:
    ref = world.weak()
    with pytest.raises(DirectoryError):
        world.hardener().apply(ref.sid, Change.TICKET_CAP, "no-policy-of-that-name")
    with pytest.raises(DirectoryError):
        world.hardener().apply(Sid(f"{ref.sid.domain}-99999999"), Change.PREAUTH, world.policy)


def test_managers_and_names(world: CensusWorld) -> None:
    account, manager = world.weak(), world.weak()
    assert world.census().manager(account.sid) is None
    world.managed_by(account, manager)
    world.soon(lambda: world.census().manager(account.sid) == manager.sid)
    assert world.census().manager(Sid(f"{account.sid.domain}-99999999")) is None
    assert world.census().find(account.name) == account.sid
    assert world.hardener().caller().name == "Administrator"
    with pytest.raises(NotFound):
        world.census().find("nobody-has-that-name")
