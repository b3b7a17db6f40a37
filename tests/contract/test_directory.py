"""What every Directory does, in memory and over Samba under the delegated service account."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import CapabilityMissing, InvalidInput, NoSuchObject, NotFound
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from tests.support.directory_world import LabWorld, MemoryWorld, World

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]

#: Each would break a filter, a DN, or both, if it were put in as it is.
HOSTILE = [
    'a,b+c"d\\e<f>;g=h#(*)',
    "*",
    "adm*",
    "(|(objectClass=*))",
    "x)(objectClass=*",
    "#hash",
    "Zoë Müller-Łukasz",
    "名前",
    "a/b",
    "x" * 256,
]
GONE = ObjectRef(
    guid="00000000-1111-2222-3333-444444444444", sid=Sid("S-1-5-21-1-2-3-4"), dn="CN=gone", name="gone"
)


@pytest.fixture(
    scope="module",
    params=["memory", pytest.param("samba", marks=pytest.mark.lab)],
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
    else:
        yield LabWorld(request.getfixturevalue("directory_lab"))


def nobody(near: Sid) -> Sid:
    return Sid(f"{near.domain}-99999999")


# ------------------------------------------------------------------------------------------------------------ finding


def test_says_of_which_domain_it_is(world: World) -> None:
    user = world.add_user(Forest.PRIV, world.new_name("mine"))
    domain = world.priv.domain()
    assert domain.sid == user.sid.domain
    assert user.dn.casefold().endswith(f",{domain.base.casefold()}")
    assert world.corp.domain().sid != domain.sid


def test_says_what_it_can_do_and_how_it_knows(world: World) -> None:
    found = world.priv.capabilities()
    assert found.evidence
    assert found == world.priv.capabilities()
    assert not found.link_ttl
    assert not found.sid_filtering


def test_lists_its_controllers(world: World) -> None:
    controllers = world.priv.controllers()
    assert len(controllers) == world.controllers
    assert all(one.reachable for one in controllers)


def test_finds_a_person_by_every_form_of_the_name(world: World) -> None:
    name = world.new_name("ann")
    ref = world.add_user(Forest.PRIV, name, upn=f"{name}@elsewhere.example", display_name="Ann Ångström")
    forms = [
        name, name.upper(), f"PRIV\\{name}", f"priv.bastide.test\\{name}", f"{name}@elsewhere.example",
        f"{name}@PRIV.BASTIDE.TEST", ref.sid, f"  {name} ",
    ]  # fmt: skip
    for form in forms:
        found = world.priv.find_person(form)
        assert (found.ref.sid, found.ref.guid) == (ref.sid, ref.guid), form
    assert found.display_name == "Ann Ångström"
    assert found.upn == f"{name}@elsewhere.example"
    assert found.enabled
    assert found.expires is None
    assert not found.protected


def test_a_disabled_person_is_found_as_such(world: World) -> None:
    name = world.new_name("off")
    world.add_user(Forest.PRIV, name, enabled=False)
    assert not world.priv.find_person(name).enabled


def test_finds_people_of_corp(world: World) -> None:
    name = world.new_name("carl")
    ref = world.add_user(Forest.CORP, name)
    assert world.corp.find_person(f"CORP\\{name}").ref.sid == ref.sid


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_nobody(world: World, name: str) -> None:
    with pytest.raises(NotFound) as person:
        world.priv.find_person(name)
    with pytest.raises(NotFound):
        world.priv.find_group(name)
    assert len(person.value.message) < 200


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 257, "a\x00b", "a\nb", "a\u202eb", "S-1-not-a-sid", "S-1-5-99999999999"]
)
def test_what_can_be_no_name_is_refused(world: World, name: str) -> None:
    refusal = (InvalidInput, NotFound)
    with pytest.raises(refusal):
        world.priv.find_person(name)
    with pytest.raises(refusal):
        world.priv.find_group(name)


def test_a_name_of_another_domain_is_not_found(world: World) -> None:
    name = world.new_name("eve")
    world.add_user(Forest.PRIV, name)
    with pytest.raises(NotFound, match="not of the domain"):
        world.priv.find_person(f"CORP\\{name}")


def test_a_group_is_no_person_and_a_person_no_group(world: World) -> None:
    person, group = world.new_name("fay"), world.new_name("grp")
    world.add_user(Forest.PRIV, person)
    world.add_group(Forest.PRIV, group)
    with pytest.raises(NotFound):
        world.priv.find_person(group)
    with pytest.raises(NotFound):
        world.priv.find_group(person)


@pytest.mark.parametrize("scope", [Scope.GLOBAL, Scope.UNIVERSAL, Scope.DOMAIN_LOCAL])
def test_finds_a_group_with_its_scope(world: World, scope: Scope) -> None:
    name = world.new_name("scope")
    ref = world.add_group(Forest.CORP, name, scope=scope)
    for form in (name, f"CORP\\{name}", ref.sid):
        found = world.corp.find_group(form)
        assert (found.ref.guid, found.ref.sid, found.scope, found.security) == (
            ref.guid,
            ref.sid,
            scope,
            True,
        )


def test_groups_of_a_caller_are_nested(world: World) -> None:
    person = world.add_user(Forest.PRIV, world.new_name("nest"))
    inner = world.add_group(Forest.PRIV, world.new_name("inner"))
    outer = world.add_group(Forest.PRIV, world.new_name("outer"))
    other = world.add_group(Forest.PRIV, world.new_name("other"))
    world.nest(inner, person)
    world.nest(outer, inner)
    for name in (person.name, person.sid):
        caller, found = world.priv.find_caller(name)
        assert caller == world.priv.find_person(name)
        assert {inner.sid, outer.sid} <= found
        assert other.sid not in found
    for nobodys in (nobody(person.sid), inner.sid, world.new_name("nobody")):
        with pytest.raises(NotFound):
            world.priv.find_caller(nobodys)


def test_groups_above_are_nested_and_a_loop_ends(world: World) -> None:
    inner, middle, outer, other = (world.add_group(Forest.PRIV, world.new_name(n)) for n in "abcd")
    world.nest(middle, inner)
    world.nest(outer, middle)
    world.nest(inner, outer)
    found = world.priv.groups_above([inner.sid], most=50)
    assert {one.ref.sid for one in found.groups} == {inner.sid, middle.sid, outer.sid}
    assert [one.ref.name for one in found.groups] == sorted(one.ref.name for one in found.groups)
    assert (found.unread, found.complete) == (frozenset(), True)
    assert [one.ref.sid for one in world.priv.groups_above([other.sid], most=50).groups] == [other.sid]
    assert world.priv.groups_above([nobody(inner.sid)], most=50).groups == ()


def test_groups_above_end_where_they_are_too_many(world: World) -> None:
    inner, middle, outer = (world.add_group(Forest.PRIV, world.new_name(n)) for n in "abc")
    world.nest(middle, inner)
    world.nest(outer, middle)
    found = world.priv.groups_above([inner.sid], most=2)
    assert ({one.ref.sid for one in found.groups}, found.complete) == ({inner.sid, middle.sid}, False)


def test_groups_above_a_sid_of_the_other_forest(world: World) -> None:
    priv, corp = world.add_group(Forest.PRIV, world.new_name("pam")), world.corp_group()
    assert corp.sid not in {one.ref.sid for one in world.corp.groups_above([priv.sid], most=50).groups}
    world.corp.add_members(corp, [priv.sid])
    assert corp.sid in {one.ref.sid for one in world.corp.groups_above([priv.sid], most=50).groups}
    world.corp.remove_members(corp, [priv.sid])


def test_groups_above_mark_the_protected(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("plain"))
    (found,) = world.priv.groups_above([group.sid], most=50).groups
    assert not found.protected


def test_where_all_controllers_agree_everywhere_is_as_asked_once(world: World) -> None:
    person = world.add_user(Forest.PRIV, world.new_name("same"))
    inner, outer = (world.add_group(Forest.PRIV, world.new_name(n)) for n in ("inner", "outer"))
    world.nest(inner, person)
    world.nest(outer, inner)
    assert world.priv.find_everywhere(person.sid) == world.priv.find_caller(person.sid)
    once = world.priv.groups_above([person.sid], most=50)
    assert world.priv.groups_everywhere([person.sid], most=50) == once
    assert not world.priv.groups_everywhere([person.sid], most=1).complete
    for nobodys in (nobody(person.sid), inner.sid, Sid("S-1-5-32-544")):
        with pytest.raises(NotFound):
            world.priv.find_everywhere(nobodys)


def test_what_one_controller_says_counts_before_the_other_has_heard_it(world: World) -> None:
    person, gone = (world.add_user(Forest.PRIV, world.new_name(n)) for n in ("late", "gone"))
    inner, middle, outer = (world.add_group(Forest.PRIV, world.new_name(n)) for n in "abc")
    with world.late():
        world.nest_on(1, inner, person)
        world.nest_on(0, middle, inner)
        world.nest_on(1, outer, middle)
        world.close_on(1, person)
        world.remove_on(1, gone)
        first, known_first = world.priv.find_caller(person.sid)
        assert (first.enabled, first.protected, inner.sid in known_first) == (True, False, False)
        found, groups = world.priv.find_everywhere(person.sid)
        assert (found.ref, found.enabled, found.protected) == (first.ref, False, True)
        assert inner.sid in groups
        above = world.priv.groups_everywhere([person.sid], most=50)
        assert {inner.sid, middle.sid, outer.sid} <= {one.ref.sid for one in above.groups}
        assert (above.unread, above.complete) == (frozenset(), True)
        assert world.priv.find_everywhere(gone.sid)[0].ref.sid == gone.sid


def test_people_in_a_group_are_nested_and_enabled(world: World) -> None:
    people = world.add_users("in", 2)
    off = world.add_user(Forest.PRIV, world.new_name("off"), enabled=False)
    inner = world.add_group(Forest.PRIV, world.new_name("inner"))
    outer = world.add_group(Forest.PRIV, world.new_name("outer"))
    world.priv.add_members(inner, [people[0].sid, off.sid])
    world.priv.add_members(outer, [people[1].sid, inner.sid])
    assert {person.ref.sid for person in world.priv.people_in(outer.sid)} == {p.sid for p in people}
    with pytest.raises(NotFound):
        world.priv.people_in(nobody(outer.sid))


# ------------------------------------------------------------------------------------------------------------ members


def members(world: World, group: ObjectRef, accounts: list[ObjectRef]) -> list[set[str]]:
    """For each controller, the names of those that it sees in the group."""
    seen = world.priv.observe([account.sid for account in accounts])
    assert len(seen) == world.controllers
    return [{a.name for a in accounts if group.guid in states[a.sid].groups} for states in seen.values()]


def test_members_come_and_go_as_desired_states(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("pam"))
    a, b, c = world.add_users("mem", 3)
    world.priv.add_members(group, [a.sid])
    world.priv.add_members(group, [a.sid, b.sid])
    assert members(world, group, [a, b, c]) == [{a.name, b.name}] * world.controllers
    world.priv.add_members(group, [b.sid, c.sid, a.sid])
    assert members(world, group, [a, b, c]) == [{a.name, b.name, c.name}] * world.controllers
    world.priv.remove_members(group, [a.sid])
    world.priv.remove_members(group, [a.sid, c.sid])
    assert members(world, group, [a, b, c]) == [{b.name}] * world.controllers
    world.priv.remove_members(group, [])
    world.priv.add_members(group, [])
    world.priv.remove_members(group, [c.sid, a.sid, b.sid])
    assert members(world, group, [a, b, c]) == [set()] * world.controllers


def test_a_name_full_of_dn_characters_can_be_a_member(world: World) -> None:
    group = world.add_group(
        Forest.PRIV, world.new_name("odd"), cn=f' #a,b+c"d\\e;g=h(*) {world.new_name("")}'
    )
    person = world.add_user(Forest.PRIV, world.new_name("odd"), cn=f'Å,b+c"d\\e;g=h#(*) {world.new_name("")}')
    found = world.priv.find_group(group.name)
    world.priv.add_members(found.ref, [person.sid])
    assert members(world, group, [person]) == [{person.name}] * world.controllers
    assert [p.ref.sid for p in world.priv.people_in(group.sid)] == [person.sid]
    world.priv.remove_members(found.ref, [person.sid])
    assert members(world, group, [person]) == [set()] * world.controllers


def test_direct_members_of_every_kind(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("full"))
    assert world.priv.members_of(group) == frozenset()
    inner = world.add_group(Forest.PRIV, world.new_name("inner"))
    (deep,) = world.add_users("deep", 1)
    off = world.add_user(Forest.PRIV, world.new_name("off"), enabled=False)
    world.nest(inner, deep)
    world.nest(group, inner)
    world.nest(group, off)
    assert world.priv.members_of(group) == {inner.sid, off.sid}
    by_controller = world.priv.members_on(group)
    assert set(by_controller) == {one.name for one in world.priv.controllers()}
    assert set().union(*by_controller.values()) == {inner.sid, off.sid}
    for read in (world.priv.members_of, world.priv.members_on):
        with pytest.raises(NoSuchObject):
            read(GONE)


def test_many_members_in_one_call(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("many"))
    people = world.add_users("m", 30)
    world.priv.add_members(group, [p.sid for p in people[::2]])
    world.priv.add_members(group, [p.sid for p in people])
    assert members(world, group, people) == [{p.name for p in people}] * world.controllers
    world.priv.remove_members(group, [p.sid for p in people[1::2]])
    world.priv.remove_members(group, [p.sid for p in people])
    assert members(world, group, people) == [set()] * world.controllers


def test_a_group_that_is_gone(world: World) -> None:
    person = world.add_user(Forest.PRIV, world.new_name("left"))
    gone = replace(GONE, sid=nobody(person.sid))
    with pytest.raises(NoSuchObject):
        world.priv.add_members(gone, [person.sid])
    with pytest.raises(NoSuchObject):
        world.priv.observe_link(gone, person.sid)
    with pytest.raises(NoSuchObject):
        world.priv.time_left(gone, person.sid)
    world.priv.remove_members(gone, [person.sid])


def test_a_member_that_is_nobody_does_not_hold_up_the_others(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("part"))
    person = world.add_user(Forest.PRIV, world.new_name("part"))
    with pytest.raises(NoSuchObject, match="99999999"):
        world.priv.add_members(group, [nobody(person.sid), person.sid])
    assert members(world, group, [person]) == [{person.name}] * world.controllers
    world.priv.remove_members(group, [nobody(person.sid), person.sid])
    assert members(world, group, [person]) == [set()] * world.controllers


def test_a_deleted_member_counts_as_removed(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("del"))
    person = world.add_user(Forest.PRIV, world.new_name("del"))
    world.priv.add_members(group, [person.sid])
    world.remove(person)
    world.priv.remove_members(group, [person.sid])
    assert all(person.sid not in states for states in world.priv.observe([person.sid]).values())


def test_time_limits_are_refused_where_they_do_not_exist(world: World) -> None:
    """F16: fail closed, and no permanent member is left behind."""
    group = world.add_group(Forest.PRIV, world.new_name("ttl"))
    person = world.add_user(Forest.PRIV, world.new_name("ttl"))
    with pytest.raises(CapabilityMissing):
        world.priv.add_members(group, [person.sid], {person.sid: timedelta(minutes=5)})
    assert members(world, group, [person]) == [set()] * world.controllers


def test_a_permanent_member_has_no_time_left(world: World) -> None:
    group = world.add_group(Forest.PRIV, world.new_name("perm"))
    person = world.add_user(Forest.PRIV, world.new_name("perm"))
    assert world.priv.time_left(group, person.sid) == {}
    world.priv.add_members(group, [person.sid])
    assert list(world.priv.time_left(group, person.sid).values()) == [None] * world.controllers


# -------------------------------------------------------------------------------------------------------- the CORP side


def test_a_priv_group_becomes_a_member_of_a_corp_group_and_goes_again(world: World) -> None:
    corp = world.corp_group()
    priv = world.add_group(Forest.PRIV, world.new_name("link"))
    assert set(world.corp.observe_link(corp, priv.sid).values()) == {False}
    world.corp.add_members(corp, [priv.sid])
    world.corp.add_members(corp, [priv.sid])
    assert set(world.corp.observe_link(corp, priv.sid).values()) == {True}
    world.corp.remove_members(corp, [priv.sid])
    world.corp.remove_members(corp, [priv.sid])
    assert set(world.corp.observe_link(corp, priv.sid).values()) == {False}


@pytest.mark.parametrize("scope", [Scope.GLOBAL, Scope.UNIVERSAL])
def test_other_scopes_take_no_foreign_member(world: World, scope: Scope) -> None:
    """Samba takes it silently and ignores it ever after: the adapter must not."""
    corp = world.add_group(Forest.CORP, world.new_name("wide"), scope=scope)
    priv = world.add_group(Forest.PRIV, world.new_name("wide"))
    with pytest.raises(CapabilityMissing, match=scope.value):
        world.corp.add_members(corp, [priv.sid])
    assert set(world.corp.observe_link(corp, priv.sid).values()) == {False}


def test_names_are_asked_for_together_and_nobody_is_left_out(world: World) -> None:
    user = world.add_user(Forest.PRIV, world.new_name("named"))
    group = world.add_group(Forest.PRIV, world.new_name("named"))
    stranger = world.add_user(Forest.CORP, world.new_name("named"))
    asked = [user.sid, group.sid, stranger.sid, nobody(user.sid)]
    assert world.priv.names(asked) == {user.sid: user.name, group.sid: group.name}
    assert world.priv.names([]) == {}


# --------------------------------------------------------------------------------------------------------- account ends


def test_ends_are_set_to_the_microsecond_and_never_later(world: World) -> None:
    a, b = world.add_users("end", 2)
    soon, past = world.now() + timedelta(hours=1, microseconds=7), world.now() - timedelta(days=400)
    assert world.priv.set_ends({a.sid: soon, b.sid: past}) == {}
    assert world.priv.set_ends({a.sid: soon, b.sid: past}) == {}
    for states in world.priv.observe([a.sid, b.sid]).values():
        assert (states[a.sid].expires, states[b.sid].expires) == (soon, past)
        assert states[a.sid].open_at(world.now())
        assert not states[b.sid].open_at(world.now())
    assert world.priv.find_person(a.name).expires == soon


def test_an_account_can_be_given_no_end(world: World) -> None:
    a = world.add_user(Forest.PRIV, world.new_name("end"))
    for end in (world.now() - timedelta(days=1), None):
        assert world.priv.set_ends({a.sid: end}) == {}
        assert {states[a.sid].expires for states in world.priv.observe([a.sid]).values()} == {end}
    assert world.priv.find_person(a.name).expires is None


def test_one_bad_account_does_not_hold_up_the_others(world: World) -> None:
    a = world.add_user(Forest.PRIV, world.new_name("end"))
    end = world.now() + timedelta(hours=1)
    wrong = world.priv.set_ends({nobody(a.sid): end, a.sid: end})
    assert set(wrong) == {nobody(a.sid)}
    assert all(states[a.sid].expires == end for states in world.priv.observe([a.sid]).values())


def test_an_account_that_is_not_there_is_left_out(world: World) -> None:
    a = world.add_user(Forest.PRIV, world.new_name("obs"))
    seen = world.priv.observe([a.sid, nobody(a.sid)])
    assert len(seen) == world.controllers
    assert all(set(states) == {a.sid} for states in seen.values())
