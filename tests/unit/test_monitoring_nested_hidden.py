"""Groups within watched groups that are hidden from us: it is said, and who joins them meanwhile is found. The numbers are those of domain/nested.py."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

import pytest

from bastide.domain.drift import Finding, Rule
from bastide.domain.errors import Conflict
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Named, Seen
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.monitor.ports import Moved
from bastide.services.monitor.reading import LOOK_EVERY
from tests.support.monitored import MonitoredWorld

PRIV, CORP = Forest.PRIV, Forest.CORP
MINUTE = LOOK_EVERY.total_seconds() + 1


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    """FileAdmins holds Delegates, which holds bob. Nothing is read yet."""
    made = MonitoredWorld()
    made.ready()
    made.corp.add_group("Delegates", scope=Scope.DOMAIN_LOCAL)
    made.add_by_hand(CORP, top_of(made), group(made, "Delegates").sid)
    made.add_by_hand(CORP, group(made, "Delegates"), made.directory(CORP).find_person("bob").ref.sid)
    yield made
    made.close()


def top_of(world: MonitoredWorld) -> ObjectRef:
    with world.store.read() as uow:
        return uow.groups.all()[0].corp


def group(world: MonitoredWorld, name: str) -> ObjectRef:
    return world.directory(CORP).find_group(name).ref


def watched(world: MonitoredWorld, side: Forest = CORP) -> set[str]:
    with world.store.read() as uow:
        return {one.now.name for one in uow.monitored.watched(side)}


def findings(world: MonitoredWorld) -> tuple[Finding, ...]:
    with world.store.read() as uow:
        return uow.monitored.findings()


def hide(world: MonitoredWorld, ref: ObjectRef, side: Forest = CORP) -> Callable[[], None]:
    """Its owner denies us to read it: no search finds it, and nobody tells of its changes. Returns what takes that back."""
    feed = world.feeds[side]
    shown = feed.look, feed.named, feed.since

    def look(controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        return shown[0](controller, set(guids) - {ref.guid})

    def named(controller: str, sids: Collection[Sid]) -> Mapping[Sid, Named]:
        return shown[1](controller, set(sids) - {ref.sid})

    def since(controller: str, cookie: bytes) -> Iterator[Moved]:
        for page in shown[2](controller, cookie):
            yield replace(page, guids=tuple(guid for guid in page.guids if guid != ref.guid))

    feed.look, feed.named, feed.since = look, named, since  # type: ignore[method-assign]

    def undo() -> None:
        feed.look, feed.named, feed.since = shown  # type: ignore[method-assign]
        world.change_group(side, ref)

    return undo


def test_a_nested_group_that_is_hidden_after_it_was_seen_is_said_and_who_joins_it_then_is_found(
    world: MonitoredWorld,
) -> None:
    """(6)."""
    world.look()
    assert world.standing() == {}
    delegates, eve = group(world, "Delegates"), world.corp.add_person("eve2").ref
    undo = hide(world, delegates)
    world.add_by_hand(CORP, delegates, eve.sid)
    world.look(seconds=MINUTE)
    found = world.standing()[Rule.UNREADABLE].drift
    assert (found.guid, found.detail) == (top_of(world).guid, f"within {delegates.guid}")
    assert "who is in Delegates is not shown to us" in found.reason
    assert found.reason.endswith(f": Delegates -> {top_of(world).name}")
    world.look(seconds=MINUTE)
    assert len(world.told("drift.found")) == 1
    undo()
    world.look(seconds=MINUTE)
    assert world.standing().keys() == {Rule.NESTED_MEMBER}
    assert world.standing()[Rule.NESTED_MEMBER].drift.detail == f"{eve.sid} {delegates.guid}"


def test_a_nested_group_that_is_deleted_is_no_finding_though_nobody_tells_of_it(
    world: MonitoredWorld,
) -> None:
    """(6): the group that held it is looked at again."""
    world.look()
    top, feed = top_of(world), world.feeds[CORP]
    shown = feed.since
    feed.since = lambda controller, cookie: (  # type: ignore[method-assign]
        replace(page, guids=tuple(guid for guid in page.guids if guid != top.guid))
        for page in shown(controller, cookie)
    )
    world.corp.remove(group(world, "Delegates"))
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    assert world.told("drift.found") == []
    assert "Delegates" not in watched(world)


def test_a_nested_group_that_was_hidden_at_its_first_look_is_said_and_looked_into_once_it_is_shown(
    world: MonitoredWorld,
) -> None:
    """(6)."""
    delegates = group(world, "Delegates")
    undo = hide(world, delegates)
    world.look()
    world.look(seconds=MINUTE)
    found = world.standing()[Rule.UNREADABLE].drift
    assert (found.guid, found.detail) == (top_of(world).guid, f"within {delegates.sid}")
    assert " is, is not shown to us, nor who joins it if it is a group: " in found.reason
    assert found.reason.endswith(f"({delegates.sid}) -> {top_of(world).name}")
    assert len(world.told("drift.found")) == 1
    undo()
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    assert "Delegates" in watched(world)
    eve = world.corp.add_person("eve2").ref
    world.add_by_hand(CORP, delegates, eve.sid)
    world.look()
    assert world.standing()[Rule.NESTED_MEMBER].drift.detail == f"{eve.sid} {delegates.guid}"


def test_a_hidden_member_that_is_deleted_is_no_finding_any_more_though_nobody_tells_of_it(
    world: MonitoredWorld,
) -> None:
    """(6): the group is looked at each minute until it is known what its member is."""
    top, delegates, feed = top_of(world), group(world, "Delegates"), world.feeds[CORP]
    hide(world, delegates)
    world.look()
    assert Rule.UNREADABLE in world.standing()
    shown = feed.since
    feed.since = lambda controller, cookie: (  # type: ignore[method-assign]
        replace(page, guids=tuple(guid for guid in page.guids if guid != top.guid))
        for page in shown(controller, cookie)
    )
    world.corp.remove(delegates)
    world.look(seconds=MINUTE)
    assert world.standing() == {}


def test_a_member_of_another_domain_is_not_called_hidden(world: MonitoredWorld) -> None:
    """(6)."""
    world.add_by_hand(CORP, group(world, "Delegates"), Sid("S-1-5-21-9-9-9-1111"))
    world.look(seconds=MINUTE)
    assert world.standing() == {}


def test_a_group_of_priv_within_one_of_corp_that_is_hidden_is_said_and_who_joins_it_then_is_found(
    world: MonitoredWorld,
) -> None:
    """(6): each look here is a claim of its own, which looks it up again and does not find it."""
    ops, eve = world.priv.add_group("Ops", scope=Scope.GLOBAL).ref, world.priv.add_person("eve2").ref
    world.add_by_hand(CORP, group(world, "Delegates"), ops.sid)
    world.look()
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    undo = hide(world, ops, PRIV)
    world.add_by_hand(PRIV, ops, eve.sid)
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    found = world.standing()[Rule.UNREADABLE].drift
    assert (found.domain, found.guid) == (PRIV, ops.guid)
    assert found.reason.endswith(f": Ops -> Delegates -> {top_of(world).name}")
    undo()
    world.look(seconds=MINUTE)
    assert world.standing().keys() == {Rule.NESTED_MEMBER}


@pytest.mark.parametrize("rule", [Rule.NESTED_MEMBER, Rule.OTHER_MEMBER])
def test_nobody_accepts_a_member_of_a_group_that_is_not_shown_now(world: MonitoredWorld, rule: Rule) -> None:
    """It would accept nothing: who is in the group is compared with what was accepted once it is shown."""
    world.look()
    where = top_of(world) if rule is Rule.OTHER_MEMBER else group(world, "Delegates")
    world.add_by_hand(CORP, where, world.corp.add_person("eve2").ref.sid)
    world.look()
    key = world.standing()[rule].key
    undo = hide(world, where)
    world.look(seconds=MINUTE)
    with pytest.raises(Conflict, match="is not shown now"):
        world.monitoring.control.accept(world.dave, key, "CHG-4711")
    assert world.standing()[rule].key == key
    assert world.told("drift.accepted") == []
    undo()
    world.look(seconds=MINUTE)
    world.monitoring.control.accept(world.dave, key, "CHG-4711")
    world.look(seconds=MINUTE)
    assert world.standing() == {}


# ------------------------------------------------------------------------------------------------------- many at once


def nest(world: MonitoredWorld, count: int) -> list[ObjectRef]:
    """So many groups more within FileAdmins."""
    made = [world.corp.add_group(f"Nested{n}", scope=Scope.GLOBAL).ref for n in range(count)]
    world.add_by_hand(CORP, top_of(world), *(ref.sid for ref in made))
    return made


def test_people_who_are_hidden_at_once_are_doubted_however_many_groups_are_watched(
    world: MonitoredWorld,
) -> None:
    names = [f"p{n}" for n in range(14)]
    refs = [world.corp.add_person(name).ref for name in names]
    world.prepare(*names)
    nest(world, 40)
    request = world.ask()
    world.look()
    for ref in refs:
        hide(world, ref)
    world.look(seconds=MINUTE)
    assert "14 of 16 objects" in world.standing()[Rule.UNREADABLE].drift.reason
    with world.store.read() as uow:
        assert all(user.enabled for user in uow.users.all())
    assert [one.id for one in world.open()] == [request.id]


def test_nested_groups_that_are_hidden_at_once_keep_nothing_else_from_being_read(
    world: MonitoredWorld,
) -> None:
    refs = nest(world, 14)
    world.look()
    for ref in refs:
        hide(world, ref)
    bob = world.directory(CORP).find_person("bob").ref
    world.look(seconds=MINUTE)
    world.add_by_hand(CORP, top_of(world), bob.sid)
    world.look()
    assert bob.sid in {one.drift.detail for one in findings(world)}
    assert {f"within {ref.guid}" for ref in refs} <= {one.drift.detail for one in findings(world)}
