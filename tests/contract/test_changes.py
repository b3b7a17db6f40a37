"""What every ChangeFeed does, in memory and on Samba."""

import time
from collections.abc import Callable, Iterator

import pytest

from bastide.directory.entries import containers
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import WEAKENING, Former, Kind, Named, Seen
from bastide.domain.roles import Scope
from bastide.services.monitor.ports import ChangeFeed, CookieRefused
from tests.support.changes_world import ChangesWorld, MemoryChangesWorld, SambaChangesWorld
from tests.support.patience import PATIENCE

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
ABSENT = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[ChangesWorld]:
    if request.param == "memory":
        yield MemoryChangesWorld()
    else:
        yield SambaChangesWorld(request.getfixturevalue("directory_lab"))


class Reader:
    """Reads on from where it was, on one controller."""

    def __init__(self, feed: ChangeFeed) -> None:
        self.feed = feed
        self.controller = feed.mark().controller
        self.cookie = b""
        self.moved()

    def moved(self) -> set[str]:
        found: set[str] = set()
        for page in self.feed.since(self.controller, self.cookie):
            found |= set(page.guids)
            self.cookie = page.cookie
        return found

    def one(self, ref: ObjectRef) -> Seen:
        return self.feed.look(self.controller, [ref.guid])[ref.guid]

    def told(self, ref: ObjectRef, change: Callable[[], None]) -> Seen:
        """After the change this object is among those that changed; as it is then. It may have to replicate first."""
        self.moved()
        change()
        deadline = time.monotonic() + PATIENCE
        while ref.guid not in self.moved():
            assert time.monotonic() < deadline, "nobody told of it"
            time.sleep(0.1)
        return self.one(ref)


@pytest.fixture
def reader(world: ChangesWorld) -> Reader:
    return Reader(world.feed())


def test_a_first_read_tells_of_everything_and_the_next_of_nothing(world: ChangesWorld) -> None:
    person, group = world.person(), world.group()
    feed = world.feed()
    controller = feed.mark().controller
    pages = list(feed.since(controller, b""))
    assert {person.guid, group.guid} <= {guid for page in pages for guid in page.guids}
    (page,) = feed.since(controller, pages[-1].cookie)
    assert page.guids == ()


def test_the_mark_moves_with_each_write_and_the_database_stays_the_same(world: ChangesWorld) -> None:
    feed = world.feed()
    before = feed.mark()
    assert feed.mark(before.controller).controller == before.controller
    person = world.person()
    world.mail(person, "a@example.test")
    after = feed.mark(before.controller)
    assert (after.invocation, feed.usn(before.controller)) == (before.invocation, after.usn)
    assert after.usn > before.usn
    assert feed.mark("nobody.example.test").controller


def test_a_controller_tells_how_far_it_has_heard_of_another(world: ChangesWorld) -> None:
    feed, one, other = world.several()
    before = feed.mark(one)
    assert before.controller == one
    assert feed.heard(other).get(before.invocation, -1) <= feed.usn(one)
    world.write_on(one)
    deadline = time.monotonic() + PATIENCE
    while feed.heard(other).get(before.invocation, -1) <= before.usn:
        assert time.monotonic() < deadline, "it never heard of that change"
        time.sleep(0.1)
    assert feed.heard(other)[before.invocation] <= feed.usn(one)


def test_a_person_that_changes_is_told_and_shown(world: ChangesWorld, reader: Reader) -> None:
    person = world.person()
    shown = reader.told(person, lambda: world.mail(person, "new@example.test"))
    assert (shown.kind, shown.sid, shown.name, shown.enabled, shown.expires) == (
        Kind.PERSON, person.sid, person.name, True, None,
    )  # fmt: skip
    assert shown.facts["mail"] == "new@example.test"
    assert reader.told(person, lambda: world.disable(person)).enabled is False
    assert reader.told(person, lambda: world.rename(person, f"{person.name}x")).name == f"{person.name}x"
    assert shown.ref.guid == person.guid


def test_what_makes_an_account_easier_to_misuse_is_told(world: ChangesWorld, reader: Reader) -> None:
    person = world.person()
    assert not reader.one(person).facts.keys() & set(WEAKENING)
    facts = reader.told(person, lambda: world.weaken(person)).facts
    assert facts["weakness"] == "no pre-authentication"
    assert facts["servicePrincipalName"] == f"HTTP/{person.name}"


def test_members_come_and_go(world: ChangesWorld, reader: Reader) -> None:
    person, group = world.person(), world.group()
    shown = reader.told(group, lambda: world.add_member(group, person))
    assert (shown.kind, shown.members, shown.scope, shown.security) == (
        Kind.GROUP, (person.sid,), Scope.DOMAIN_LOCAL, True,
    )  # fmt: skip
    assert reader.told(group, lambda: world.remove_member(group, person)).members == ()
    assert reader.told(group, lambda: world.rescope(group)).scope is Scope.UNIVERSAL


def test_who_came_and_went_is_told_by_name_and_only_of_the_groups_asked_for(
    world: ChangesWorld, reader: Reader
) -> None:
    one, other, stays, group, unasked = (
        world.person(),
        world.person(),
        world.person(),
        world.group(),
        world.group(),
    )
    reader.moved()
    before = reader.cookie
    for who in (one, other, stays):
        reader.told(group, lambda who=who: world.add_member(group, who))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
    middle = reader.cookie
    for who, where in ((one, group), (other, group)):
        reader.told(group, lambda who=who, where=where: world.remove_member(where, who))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
    world.add_member(unasked, one)
    world.remove_member(unasked, one)
    assert reader.one(group).members == (stays.sid,), "a look shows nothing of them"
    for cookie in (before, middle):
        gone = reader.feed.taken_out(reader.controller, cookie, [group.guid])
        assert gone == {group.guid: {Former(one.sid, one.name), Former(other.sid, other.name)}}
    assert reader.feed.taken_out(reader.controller, reader.cookie, [group.guid]) == {}


def test_that_members_changed_is_told_and_of_who_is_hidden_nothing_else(
    world: ChangesWorld, reader: Reader
) -> None:
    group, other, person = world.group(), world.group(), world.person()
    reader.moved()
    before = reader.cookie
    reader.told(group, lambda: world.pass_hidden(group))
    reader.told(other, lambda: world.rescope(other))
    changed: set[str] = set()
    for page in reader.feed.since(reader.controller, before):
        changed |= page.members
    assert changed & {group.guid, other.guid} == {group.guid}
    assert reader.feed.taken_out(reader.controller, before, [group.guid]) == {}
    reader.told(group, lambda: world.add_member(group, person))
    gone = reader.feed.taken_out(reader.controller, before, [group.guid])
    assert gone == {group.guid: frozenset()}, "somebody is shown, and nobody was taken out"


def test_who_is_of_another_domain_is_told_by_the_sid(world: ChangesWorld, reader: Reader) -> None:
    group, foreign = world.group(), world.foreign()
    reader.told(group, lambda: world.add_member(group, foreign))
    before = reader.cookie
    reader.told(group, lambda: world.remove_member(group, foreign))
    gone = reader.feed.taken_out(reader.controller, before, [group.guid])
    assert gone == {group.guid: {Former(foreign.sid, foreign.sid)}}


def test_members_are_looked_up_by_sid_and_what_is_a_group_is_said(
    world: ChangesWorld, reader: Reader
) -> None:
    person, group, foreign, absent = world.person(), world.group(), world.foreign(), Sid("S-1-5-21-9-9-9-9")
    reader.told(group, lambda: world.add_member(group, foreign))
    found = reader.feed.named(reader.controller, [person.sid, group.sid, foreign.sid, absent])
    assert found[person.sid] == Named(person.sid, person.name, person.guid, is_group=False)
    assert found[group.sid] == Named(group.sid, group.name, group.guid, is_group=True)
    assert absent not in found
    assert foreign.sid not in found or not found[foreign.sid].is_group


def test_rights_that_somebody_gives_are_told(world: ChangesWorld, reader: Reader) -> None:
    person, group = world.person(), world.group()
    reader.moved()
    before = reader.one(group).rights
    after = reader.told(group, lambda: world.give(group, person)).rights
    assert before is not None
    assert after is not None
    assert set(after) - set(before) == {f"allow 0x20 to {person.sid}"}
    assert set(before) <= set(after)


def test_what_is_gone_is_not_found(world: ChangesWorld, reader: Reader) -> None:
    person, other = world.person(), world.person()
    asked = [person.guid, other.guid, ABSENT]
    assert reader.feed.present(reader.controller, asked) == {person.guid, other.guid}
    world.remove(person)
    deadline = time.monotonic() + PATIENCE
    while reader.feed.present(reader.controller, asked) != {other.guid}:
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.1)
    assert set(reader.feed.look(reader.controller, asked)) == {other.guid}


def test_the_domain_s_own_objects_are_known(reader: Reader) -> None:
    shown = reader.feed.look(reader.controller, reader.feed.fixtures(reader.controller, ())).values()
    places = [one for one in shown if one.kind is Kind.PLACE]
    assert any(one.dn.startswith("CN=AdminSDHolder,CN=System,") for one in places)
    assert all(one.rights is not None for one in places)
    (trust,) = [one for one in shown if one.kind is Kind.TRUST]
    assert (trust.name, trust.facts["trustDirection"]) == ("priv.bastide.test", "2")


def test_what_a_group_lies_in_is_known_up_to_the_root(world: ChangesWorld, reader: Reader) -> None:
    group = world.group()
    always = reader.feed.fixtures(reader.controller, ())
    added = reader.feed.fixtures(reader.controller, [group.dn]) - always
    shown = reader.feed.look(reader.controller, added).values()
    assert {one.kind for one in shown} == {Kind.PLACE}
    assert {one.dn.lower() for one in shown} == {
        above.lower() for above in containers(group.dn, group.dn[group.dn.index("DC=") :])
    }


def test_sign_ins_are_counted_by_controller(world: ChangesWorld, reader: Reader) -> None:
    person = world.person()
    seen = reader.feed.sign_ins([person.sid])
    assert {one[person.sid].last for one in seen.values() if person.sid in one} == {None}
    assert reader.controller in seen


def test_a_cookie_of_another_database_is_refused(reader: Reader) -> None:
    with pytest.raises(CookieRefused):
        list(reader.feed.since(reader.controller, b"no cookie"))
