"""What a PAM group really opens: nested, marked, and honest about what could not be read."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.roles import PamGroup, Scope
from bastide.services.ports import Above
from bastide.services.reach import Reach, Reached
from tests.support.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.prepare("alice")
    yield made
    made.close()


def look(world: World, group: PamGroup) -> Reached:
    return world.services.reach.of([group])[group.id]


def names(found: Reached) -> list[tuple[str, str, bool]]:
    return [(one.forest.value, one.name, one.protected) for one in found.further]


def nest(world: World, outer: str, *inner: Sid, forest: Forest = Forest.CORP, **options: Any) -> Sid:
    side = world.corp if forest is Forest.CORP else world.priv
    return side.add_group(outer, members=inner, **{"scope": Scope.DOMAIN_LOCAL, **options}).ref.sid


def test_what_it_is_in_is_found_however_deep_and_the_protected_come_first(world: World) -> None:
    group = world.prepare_group()
    middle = nest(world, "Server team", world.share.ref.sid)
    nest(world, "Backup Operators", middle, protected=True)
    assert names(look(world, group)) == [("corp", "Backup Operators", True), ("corp", "Server team", False)]
    assert not look(world, group).protected


def test_what_came_to_the_priv_group_by_other_ways_is_found_too(world: World) -> None:
    group = world.prepare_group()
    outer = nest(world, "All PAM groups", group.priv.sid, forest=Forest.PRIV)
    nest(world, "Domain Admins", outer, protected=True)
    assert names(look(world, group)) == [("corp", "Domain Admins", True), ("priv", "All PAM groups", False)]


def test_a_distribution_group_gives_nothing_and_nothing_through_it(world: World) -> None:
    group = world.prepare_group()
    letters = nest(world, "Newsletter", world.share.ref.sid, security=False)
    nest(world, "Domain Admins", letters, protected=True)
    assert names(look(world, group)) == []


def test_a_loop_ends(world: World) -> None:
    group = world.prepare_group()
    outer = nest(world, "Outer", world.share.ref.sid)
    world.services.forests[Forest.CORP].add_members(world.share.ref, [outer])
    assert names(look(world, group)) == [("corp", "Outer", False)]


def test_a_group_that_is_protected_itself(world: World) -> None:
    world.corp.add_group("Server Operators", scope=Scope.DOMAIN_LOCAL, protected=True)
    assert look(world, world.prepare_group("Server Operators")).protected


def test_a_directory_that_is_down_is_said_and_the_other_is_read_all_the_same(world: World) -> None:
    group = world.prepare_group()
    nest(world, "All PAM groups", group.priv.sid, forest=Forest.PRIV)
    world.corp.cut("corpdc")
    found = look(world, group)
    assert names(found) == [("priv", "All PAM groups", False)]
    assert [problem.partition(":")[0] for problem in found.problems] == [
        "what it opens in CORP could not be found out"
    ]


def test_a_group_that_is_gone_is_said(world: World) -> None:
    group = world.prepare_group()
    world.corp.remove(group.corp)
    assert look(world, group).problems == ("FileAdmins is gone from the directory",)


class Counted:
    """Passes questions on, and counts them. `answer` replaces what comes back."""

    forest = Forest.CORP

    def __init__(self, answer: Callable[[], Above]) -> None:
        self.answer = answer
        self.asked = 0

    def groups_above(self, _sids: Collection[Sid], **_options: Any) -> Above:
        self.asked += 1
        return self.answer()


def reach_over(world: World, corp: Counted) -> Reach:
    forests: Any = {**world.services.forests, Forest.CORP: corp}
    return Reach(forests=forests, now=world.clock.now)


def test_what_cannot_be_read_is_named_and_what_is_too_much_is_said(world: World) -> None:
    group = world.prepare_group()
    share = Above((world.share,), frozenset({Sid("S-1-5-32-544")}), complete=False)
    found = reach_over(world, Counted(lambda: share)).of([group])[group.id]
    assert found.problems == (
        "S-1-5-32-544 in CORP is among the groups, and cannot be read",
        "there are more than 1024 groups in CORP",
    )


def test_an_answer_counts_for_a_minute_and_one_that_is_not_whole_for_a_quarter_of_it(world: World) -> None:
    group, other = world.prepare_group(), world.prepare_group("DbAdmins")
    corp = Counted(lambda: Above((world.share,)))
    reach = reach_over(world, corp)
    reach.of([group])
    world.clock.move(seconds=59)
    reach.of([group])
    assert corp.asked == 1
    world.clock.move(seconds=2)
    reach.of([group])
    assert corp.asked == 2

    def down() -> Above:
        raise DirectoryUnavailable("no controller answers")

    corp.answer = down
    world.clock.move(minutes=2)
    assert all(found.problems for found in reach.of([group, other]).values())
    assert corp.asked == 3, "a forest that is down is asked once, and not for every group"
    corp.answer = lambda: Above((world.share, world.other_share))
    world.clock.move(seconds=16)
    assert not any(found.problems for found in reach.of([group, other]).values())


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastide.services.reach._KEPT", 1)
    group, other = world.prepare_group(), world.prepare_group("DbAdmins")
    corp = Counted(lambda: Above((world.share, world.other_share)))
    reach = reach_over(world, corp)
    for one in (group, other, group):
        reach.of([one])
    assert corp.asked == 3
