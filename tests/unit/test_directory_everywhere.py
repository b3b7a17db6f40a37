"""One answer out of those of several controllers, by the numbers of directory/everywhere.py. What twin and Samba do with it is in tests/contract/test_directory.py."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bastide.directory.everywhere import strictest, together
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.roles import Scope
from bastide.services.ports import Above, Group, Person

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ref(name: str) -> ObjectRef:
    return ObjectRef(guid=name, sid=Sid(f"S-1-5-21-1-2-3-{ord(name)}"), dn=f"CN={name}", name=name)


PERSON = Person(
    ref=ref("p"),
    upn="p@x.test",
    display_name="P",
    mail="p@x.test",
    enabled=True,
    expires=None,
    protected=False,
)
A, B, C = (ref(name).sid for name in "abc")


def test_1_groups_of_any_controller_count() -> None:
    assert strictest([(PERSON, frozenset({A})), (PERSON, frozenset({B}))]) == (PERSON, frozenset({A, B}))


def test_2_protected_on_one_is_protected() -> None:
    for people in ((PERSON, replace(PERSON, protected=True)), (replace(PERSON, protected=True), PERSON)):
        assert strictest([(one, frozenset()) for one in people]) == (
            replace(PERSON, protected=True),
            frozenset(),
        )


def test_3_open_is_who_is_open_on_all() -> None:
    off, soon = replace(PERSON, enabled=False), replace(PERSON, expires=NOW)
    later = replace(PERSON, expires=NOW + HOUR)
    for other in (off, soon):
        for order in ((PERSON, other, later), (later, other, PERSON)):
            found = strictest([(one, frozenset()) for one in order])
            assert found is not None
            assert not found[0].open_at(NOW)
    found = strictest([(PERSON, frozenset()), (later, frozenset())])
    assert found == (later, frozenset())


def test_4_who_does_not_have_the_account_counts_nothing() -> None:
    assert strictest([None, (PERSON, frozenset({A}))]) == (PERSON, frozenset({A}))
    assert strictest([None, None]) is None


class Domain:
    """Some controllers: what is directly in what, on each. `knows`: the groups that are there at all."""

    def __init__(
        self, *controllers: dict[Sid, set[str]], knows: Collection[str] = "abcd", most: int = 9
    ) -> None:
        self.controllers, self.knows, self.most = controllers, knows, most
        self.rounds = 0

    def ask(self, sids: Collection[Sid]) -> list[Above]:
        self.rounds += 1
        return [self._above(inside, sids) for inside in self.controllers]

    def _above(self, inside: dict[Sid, set[str]], sids: Collection[Sid]) -> Above:
        found = {name for name in self.knows if ref(name).sid in sids and self._is_there(inside, name)}
        todo = {*sids}
        while todo and len(found) < self.most:
            more = {name for sid in todo for name in inside.get(sid, set())} - found
            found |= more
            todo = {ref(name).sid for name in more}
        return Above(tuple(_group(name) for name in sorted(found)), complete=not todo)

    @staticmethod
    def _is_there(inside: dict[Sid, set[str]], name: str) -> bool:
        return ref(name).sid in inside or any(name in groups for groups in inside.values())


def _group(name: str) -> Group:
    return Group(ref=ref(name), scope=Scope.GLOBAL, security=True, protected=False)


def names(above: Above) -> str:
    return "".join(one.ref.name for one in above.groups)


def test_5_a_chain_whose_links_are_on_different_controllers_is_followed() -> None:
    domain = Domain({PERSON.ref.sid: {"a"}, B: {"c"}}, {A: {"b"}, C: {"d"}})
    assert names(together(domain.ask, [PERSON.ref.sid])) == "abcd"


def test_5_where_they_agree_they_are_asked_once() -> None:
    alike = {PERSON.ref.sid: {"a"}, A: {"b"}}
    domain = Domain(alike, alike)
    assert (names(together(domain.ask, [PERSON.ref.sid])), domain.rounds) == ("ab", 1)


def test_5_a_group_that_one_controller_has_not_heard_of_ends_it() -> None:
    domain = Domain({PERSON.ref.sid: {"a"}}, {})
    assert (names(together(domain.ask, [PERSON.ref.sid])), domain.rounds) == ("a", 2)


def test_6_what_one_cannot_read_is_unread() -> None:
    answers = [Above((_group("a"),)), Above((_group("a"),), unread=frozenset({B}))]
    assert together(lambda _: answers, [PERSON.ref.sid]) == Above((_group("a"),), frozenset({B}))


def test_6_too_many_on_one_are_too_many() -> None:
    domain = Domain({}, {PERSON.ref.sid: {"a"}, A: {"b"}}, most=1)
    found = together(domain.ask, [PERSON.ref.sid])
    assert (names(found), found.complete, domain.rounds) == ("a", False, 1)
