"""What every Preparer does, in memory and over Samba under the delegated preparer."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.errors import CapabilityMissing, InvalidInput, NoSuchObject, NotFound, ObjectExists
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.ports import NewAccount
from tests.support.directory_lab import PASSWORD
from tests.support.directory_world import LabWorld, MemoryWorld, World

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]


@pytest.fixture(
    scope="module",
    params=["memory", pytest.param("samba", marks=pytest.mark.lab)],
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        made: World = MemoryWorld()
        made.preparer.ensure_ticket_policy(made.policy, made.cap)
        yield made
    else:
        yield LabWorld(request.getfixturevalue("directory_lab"))


def new_account(
    world: World, name: str = "", display_name: str = 'Zoë Müller-Łukasz, "the" 1st'
) -> NewAccount:
    name = name or world.new_name("p.")
    return NewAccount(
        name=name,
        display_name=display_name,
        upn=f"{name}@priv.bastide.test",
        container=world.users,
        end=world.now() - timedelta(days=1),
    )


def make(world: World, name: str = "") -> ObjectRef:
    ref = world.preparer.create_account(new_account(world, name), PASSWORD)
    world.settle(ref)
    return ref


def test_an_account_is_born_enabled_and_dormant(world: World) -> None:
    wanted = new_account(world)
    ref = world.preparer.create_account(wanted, PASSWORD)
    world.settle(ref)
    found = world.priv.find_person(wanted.name)
    assert found.ref == ref
    assert (found.display_name, found.upn, found.enabled, found.expires) == (
        wanted.display_name, wanted.upn, True, wanted.end,
    )  # fmt: skip
    assert ref.dn.lower().endswith(world.users.lower())
    for states in world.priv.observe([ref.sid]).values():
        assert not states[ref.sid].open_at(world.now())


def test_a_taken_name_is_refused(world: World) -> None:
    wanted = new_account(world)
    world.preparer.create_account(wanted, PASSWORD)
    with pytest.raises(ObjectExists):
        world.preparer.create_account(wanted, PASSWORD)
    group = world.new_name("PAM-")
    world.preparer.create_group(group, world.groups, "a description")
    with pytest.raises(ObjectExists):
        world.preparer.create_group(group, world.groups, "a description")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a,b",
        "a+b",
        'a"b',
        "a\\b",
        "a<b",
        "a;b",
        "a=b",
        "a*b",
        "a@b",
        "a/b",
        "a|b",
        "a\x07b",
        "dot.",
        "x" * 21,
    ],
)
def test_an_impossible_name_is_refused_before_anything_is_made(world: World, name: str) -> None:
    with pytest.raises(InvalidInput):
        world.preparer.create_account(new_account(world, name or " "), PASSWORD)
    if len(name) <= 20:
        with pytest.raises(InvalidInput):
            world.preparer.create_group(name, world.groups, "")


def test_a_name_may_hold_what_ldap_finds_special_and_ad_does_not(world: World) -> None:
    name = world.new_name("#é(1)")
    ref = make(world, name)
    assert world.priv.find_person(name).ref.guid == ref.guid


def test_protected_and_capped(world: World) -> None:
    ref = make(world)
    assert world.preparer.ticket_cap(ref) is None
    world.preparer.protect(ref, "")
    assert world.preparer.ticket_cap(ref) == timedelta(hours=4)
    policy = world.preparer.ensure_ticket_policy(world.policy, world.cap)
    assert policy == world.preparer.ensure_ticket_policy(world.policy, world.cap)
    world.preparer.protect(ref, policy)
    world.preparer.protect(ref, policy)
    assert world.preparer.ticket_cap(ref) == world.cap
    with pytest.raises(NoSuchObject):
        world.preparer.protect(ref, policy.replace("CN=", "CN=no-", 1))


def test_a_cap_that_a_kdc_would_ignore_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="125"):
        world.preparer.ensure_ticket_policy(world.policy, timedelta(seconds=124))


def test_a_group_is_global_and_for_security(world: World) -> None:
    name = world.new_name("PAM-")
    ref = world.preparer.create_group(name, world.groups, "carries FileAdmins")
    world.settle(ref)
    found = world.priv.find_group(name)
    assert (found.ref, found.scope, found.security) == (ref, Scope.GLOBAL, True)


def test_a_shadow_principal_needs_the_feature(world: World) -> None:
    with pytest.raises(CapabilityMissing, match="shadow"):
        world.preparer.create_shadow_principal(world.new_name("S-"), Sid("S-1-5-21-1-2-3-1105"))


def test_deleting_is_a_desired_state(world: World) -> None:
    ref, group = make(world), world.preparer.create_group(world.new_name("PAM-"), world.groups, "")
    for one in (ref, ref, group, group):
        world.preparer.delete(one)
    with pytest.raises(NoSuchObject):
        world.preparer.set_password(ref, PASSWORD)
    with pytest.raises(NoSuchObject):
        world.preparer.protect(ref, "")
    with pytest.raises(NoSuchObject):
        world.preparer.ticket_cap(ref)


def test_what_it_deleted_is_not_found(world: World) -> None:
    ref = make(world)
    world.remove(ref)
    with pytest.raises(NotFound):
        world.priv.find_person(ref.sid)


def test_a_password_can_be_set(world: World) -> None:
    world.preparer.set_password(make(world), PASSWORD + "-2")


def test_what_it_makes_the_service_can_use(world: World) -> None:
    ref, group = make(world), world.preparer.create_group(world.new_name("PAM-"), world.groups, "")
    world.settle(group)
    end = world.now() + timedelta(hours=1)
    world.priv.add_members(group, [ref.sid])
    assert world.priv.set_ends({ref.sid: end}) == {}
    for states in world.priv.observe([ref.sid]).values():
        assert group.guid in states[ref.sid].groups
        assert states[ref.sid].open_at(world.now())
    assert (
        world.priv.find_group(group.name).ref.sid.domain
        == world.add_user(Forest.PRIV, world.new_name("d")).sid.domain
    )
