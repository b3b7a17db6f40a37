"""Members for a moment: put in and taken out between two looks, which show nothing of it. The numbers are those of domain/passing.py."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

import pytest

from bastide.domain.drift import Action, Finding, Rule
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Former, Seen
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.services.monitor.reading import LOOK_EVERY
from tests.support.census_world import hide
from tests.support.monitored import OWNER, MonitoredWorld, of

PRIV, CORP = Forest.PRIV, Forest.CORP
MINUTE = LOOK_EVERY.total_seconds() + 1
MOMENTARY = Rule.MOMENTARY_MEMBER


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld()
    made.ready()
    made.look()
    yield made
    made.close()


def for_a_moment(world: MonitoredWorld, side: Forest, group: ObjectRef, *members: Sid) -> None:
    world.add_by_hand(side, group, *members)
    world.remove_by_hand(side, group, *members)


def passed(world: MonitoredWorld) -> list[Finding]:
    with world.store.read() as uow:
        return [one for one in uow.monitored.findings() if one.drift.rule is MOMENTARY]


def test_who_came_and_went_between_two_looks_is_said_with_when_and_how_long_tickets_last(
    world: MonitoredWorld,
) -> None:
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    before = world.domain(CORP).read_at
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.look()
    (found,) = passed(world)
    assert (found.owner, found.action, found.drift.guid) == (OWNER, Action.REPORT, group.corp.guid)
    reason, at = found.drift.reason, found.found_at
    assert f"bob ({bob.sid}) was a member of {group.corp.name} for a moment" in reason
    assert (
        f"between {before:%Y-%m-%d %H:%M:%S} UTC and {at:%Y-%m-%d %H:%M:%S} UTC as corpdc tells it" in reason
    )
    assert f"good until {at + timedelta(hours=10):%Y-%m-%d %H:%M:%S} UTC" in reason
    assert f"renewed until {at + timedelta(days=7):%Y-%m-%d %H:%M:%S} UTC" in reason
    (told,) = world.told("drift.found")
    assert told["rule"] == "momentary-member"


def test_it_is_said_once_and_stands_until_it_is_accepted(world: MonitoredWorld) -> None:
    """(3)."""
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.look()
    world.look(seconds=MINUTE)
    (found,) = passed(world)
    assert f"`bastide monitor accept {found.key} --reason TEXT`" in found.drift.remedy
    world.monitoring.control.accept(world.dave, found.key, "a slip")
    world.look(seconds=MINUTE)
    assert passed(world) == []
    assert len(world.told("drift.found")) == 1
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.look()
    assert len(passed(world)) == 1, "another time is another drift"


def test_what_was_told_and_comes_again_with_the_next_read_is_not_said_twice(world: MonitoredWorld) -> None:
    """(3): a feed tells of what happened after its cookie, too."""
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    feed = world.feeds[CORP]
    first = world.domain(CORP).cookie
    shown = feed.taken_out

    def taken_out(controller: str, cookie: bytes, groups: Collection[str]) -> Mapping[str, frozenset[Former]]:
        assert cookie
        return shown(controller, first, groups)

    feed.taken_out = taken_out  # type: ignore[method-assign]
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.clock.move(seconds=1)
    world.work()
    world.change_group(CORP, group.corp)
    world.clock.move(seconds=1)
    world.work()
    assert len(passed(world)) == 1


def test_who_a_look_showed_before_or_shows_now_is_no_member_for_a_moment(world: MonitoredWorld) -> None:
    """(1)."""
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    world.add_by_hand(CORP, group.corp, bob.sid)
    world.look()
    world.remove_by_hand(CORP, group.corp, bob.sid)
    world.look()
    assert [one["rule"] for one in world.told("drift.found")] == ["other-member"]
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.add_by_hand(CORP, group.corp, bob.sid)
    world.look()
    assert passed(world) == []
    assert Rule.OTHER_MEMBER in world.standing()


def test_who_was_accepted_goes_unsaid_and_comes_back_as_drift(world: MonitoredWorld) -> None:
    """(1)."""
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    world.add_by_hand(CORP, group.corp, bob.sid)
    world.look()
    world.monitoring.control.accept(world.dave, world.standing()[Rule.OTHER_MEMBER].key, "the owner")
    world.remove_by_hand(CORP, group.corp, bob.sid)
    world.look()
    assert world.standing() == {}
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.look()
    assert world.standing().keys() == {Rule.MOMENTARY_MEMBER}


def test_in_our_own_group_nobody_counts_as_accepted() -> None:
    """(1): who was there at the first look is a stranger there, and was never right."""
    world = MonitoredWorld()
    world.ready()
    group = of(world)[1]
    mallory = world.priv.add_person("mallory2").ref
    world.add_by_hand(PRIV, group.priv, mallory.sid)
    world.look()
    assert world.directory(PRIV).members_of(group.priv) == frozenset()
    for_a_moment(world, PRIV, group.priv, mallory.sid)
    world.look()
    (found,) = passed(world)
    assert found.drift.reason.startswith(f"mallory2 ({mallory.sid}) was a member of {group.priv.name}")
    world.close()


@pytest.fixture
def two() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld(priv_controllers=("privdc", "privdc2"))
    made.ready()
    made.look()
    yield made
    made.close()


def test_a_removal_of_ours_that_is_told_again_is_no_member_for_a_moment(two: MonitoredWorld) -> None:
    """(6): a stranger. Who then comes back is told."""
    group, nina = of(two)[1].priv, two.priv.add_person("nina").ref
    two.add_by_hand(PRIV, group, nina.sid)
    two.priv.isolate("privdc2")
    two.look()
    assert two.directory(PRIV).members_of(group) == frozenset()
    assert [one["rule"] for one in two.told("drift.repaired")] == ["stranger"]
    two.priv.heal("privdc2")
    two.look()
    assert passed(two) == []
    for_a_moment(two, PRIV, group, nina.sid)
    two.look()
    assert len(passed(two)) == 1


def test_the_end_of_a_request_that_is_told_again_hours_later_is_none_either(two: MonitoredWorld) -> None:
    """(6): between sites. For a day."""
    user, group = of(two)
    for hours, expected in ((3, 0), (25, 1)):
        request = two.ask()
        two.look()
        assert two.get(request).state is State.ACTIVE
        two.priv.isolate("privdc2")
        two.services.requests.close(two.alice(), request.id, "done")
        for _ in range(5):
            two.look()
        assert two.get(request).state is State.CLOSED
        two.clock.move(seconds=hours * 3600)
        two.look()
        two.priv.heal("privdc2")
        two.look()
        assert len(passed(two)) == expected, hours
        assert user.priv.sid not in two.directory(PRIV).members_of(group.priv)


def test_removals_of_one_day_are_told_again_once_by_each_controller(two: MonitoredWorld) -> None:
    """(6): a controller tells its last state. Where it never does, one moment goes unsaid, and no more."""
    user, group = of(two)
    for _ in range(3):
        request = two.ask()
        two.look()
        two.services.requests.close(two.alice(), request.id, "done")
        for _ in range(5):
            two.look()
        assert two.get(request).state is State.CLOSED
    told = []
    for _ in range(3):
        two.look(seconds=3600)
        for_a_moment(two, PRIV, group.priv, user.priv.sid)
        two.look()
        told.append(len(passed(two)))
    assert told == [0, 1, 2]


def test_a_removal_that_another_controller_shows_is_told_again_as_well(two: MonitoredWorld) -> None:
    """(6): the one that was read does not answer when it is taken out."""
    group, nina = of(two)[1].priv, two.priv.add_person("nina").ref
    two.add_by_hand(PRIV, group, nina.sid)
    two.priv.isolate("privdc")
    two.clock.move(seconds=2)
    two.work()
    two.priv.cut("privdc")
    two.look()
    assert [one["rule"] for one in two.told("drift.repaired")] == ["stranger"]
    with two.store.read() as uow:
        (kept,) = [one.echoes for one in uow.monitored.watched(PRIV) if one.echoes]
    assert [(one.sid, one.times) for one in kept] == [(nina.sid, 1)]


def test_what_somebody_else_took_out_is_not_expected_again(two: MonitoredWorld) -> None:
    """(6): Bastide alone writes it on each controller."""
    group, nina = of(two)[1].priv, two.priv.add_person("nina").ref
    two.monitoring.control.turn(two.dave, "a rest", on=False)
    two.add_by_hand(PRIV, group, nina.sid)
    two.monitoring.control.turn(two.dave, "back", on=True)
    two.remove_by_hand(PRIV, group, nina.sid)
    two.look()
    assert len(passed(two)) == 1
    with two.store.read() as uow:
        assert all(one.echoes == () for one in uow.monitored.watched(PRIV))


def test_who_leaves_between_the_cookie_and_the_look_is_no_member_for_a_moment(world: MonitoredWorld) -> None:
    """Reading (8): the next read would tell it again."""
    group = of(world)[1].corp
    bob, nina = world.directory(CORP).find_person("bob").ref, world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group, bob.sid)
    world.look()
    feed = world.feeds[CORP]
    shown = feed.look
    left = [bob.sid]

    def look(controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        while left:
            world.remove_by_hand(CORP, group, left.pop())
        return shown(controller, guids)

    feed.look = look  # type: ignore[method-assign]
    world.add_by_hand(CORP, group, nina.sid)
    world.look()
    assert not left
    world.look(seconds=MINUTE)
    assert passed(world) == []
    assert [one["rule"] for one in world.told("drift.found")] == ["other-member", "other-member"]


def test_who_passes_while_something_watched_changes_all_the_time_is_told(world: MonitoredWorld) -> None:
    """Reading (8): after the last round it is asked once more who was taken out."""
    user, group = of(world)
    nina, eve = (world.corp.add_person(name).ref for name in ("nina", "eve"))
    world.look()
    feed = world.feeds[CORP]
    told, rounds = feed.taken_out, iter(range(1, 100))

    def taken_out(controller: str, cookie: bytes, groups: Collection[str]) -> Mapping[str, frozenset[Former]]:
        answer, round_ = told(controller, cookie, groups), next(rounds)
        if round_ <= 5:
            world.change_person(CORP, user.corp.sid, display_name=f"alice {round_}")
        if round_ == 5:
            for_a_moment(world, CORP, group.corp, eve.sid)
        return answer

    feed.taken_out = taken_out  # type: ignore[method-assign]
    for_a_moment(world, CORP, group.corp, nina.sid)
    for _ in range(3):
        world.look(seconds=MINUTE)
    assert {one.drift.reason.partition(" ")[0] for one in passed(world)} == {"nina", "eve"}


def test_a_short_grant_explains_its_member_and_its_link(world: MonitoredWorld) -> None:
    """(2): it began and ended while nobody read."""
    world.monitoring.control.turn(world.dave, "a rest", on=False)
    world.look()
    request = world.ask()
    world.work()
    assert world.get(request).state is State.ACTIVE
    world.services.requests.close(world.alice(), request.id, "done")
    for _ in range(10):
        world.work()
        world.clock.move(seconds=1)
    assert world.get(request).state is State.CLOSED
    world.monitoring.control.turn(world.dave, "back", on=True)
    world.look()
    assert world.events("drift.found") == []


def test_a_pam_user_without_a_grant_is_said_with_the_cap_of_its_tickets(world: MonitoredWorld) -> None:
    """(2)."""
    user, group = of(world)
    for_a_moment(world, PRIV, group.priv, user.priv.sid)
    for_a_moment(world, CORP, group.corp, group.priv.sid)
    world.look()
    members, link = sorted(passed(world), key=lambda one: one.drift.domain is CORP)
    until = members.found_at + user.ticket_cap
    assert f"good until {until:%Y-%m-%d %H:%M:%S} UTC at the latest" in members.drift.reason
    who = f"PRIV\\{group.priv.name} ({group.priv.sid})"
    assert link.drift.reason.startswith(f"{who} was a member of {group.corp.name} for a moment")


def test_an_old_grant_explains_nothing(world: MonitoredWorld) -> None:
    """(2)."""
    user, group = of(world)
    request = world.ask()
    world.look()
    world.services.requests.close(world.alice(), request.id, "done")
    for _ in range(10):
        world.look(seconds=MINUTE)
    assert world.get(request).state is State.CLOSED
    for_a_moment(world, PRIV, group.priv, user.priv.sid)
    world.look()
    assert len(passed(world)) == 1


def test_where_all_is_read_anew_nothing_of_the_past_is_told(world: MonitoredWorld) -> None:
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.feeds[CORP].restore("corpdc")
    world.look()
    assert [one["why"] for one in world.told("monitor.resynced")] != []
    assert passed(world) == []


def test_a_resync_tells_of_it_too(world: MonitoredWorld) -> None:
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    for_a_moment(world, CORP, group.corp, bob.sid)
    world.monitoring.control.resync(world.dave)
    world.look()
    assert len(passed(world)) == 1


def test_members_that_changed_while_nobody_is_shown_who_came_or_went_are_said(world: MonitoredWorld) -> None:
    """(4): an account that is hidden from us, or was deleted meanwhile."""
    group, nina = of(world)[1].corp, world.corp.add_person("nina").ref
    for_a_moment(world, CORP, group, nina.sid)
    hide(world.corp, nina)
    world.look()
    found = world.standing()[Rule.UNSEEN_MEMBER]
    assert (found.owner, found.action, found.drift.guid) == (OWNER, Action.REPORT, group.guid)
    assert found.drift.reason.startswith(f"{group.name}: its members changed between ")
    world.look(seconds=MINUTE)
    assert len(world.told("drift.found")) == 1
    world.monitoring.control.accept(world.dave, found.key, "deleted at once, CHG-4711")
    world.look(seconds=MINUTE)
    assert world.standing() == {}


def test_an_intruder_who_is_a_member_no_more_without_being_taken_out_is_said(world: MonitoredWorld) -> None:
    """(5): who is hidden, and has the group as the primary one."""
    group, nina = of(world)[1].corp, world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group, nina.sid)
    world.look()
    assert world.standing().keys() == {Rule.OTHER_MEMBER}
    world.remove_by_hand(CORP, group, nina.sid)
    hide(world.corp, nina)
    world.look()
    found = world.standing()[Rule.UNSEEN_MEMBER]
    assert f"{nina.sid}) is a member no more" in found.drift.reason


def test_a_member_that_was_deleted_and_had_been_accepted_is_not_said(world: MonitoredWorld) -> None:
    """(4), (5): somebody leaves the company."""
    group, nina = of(world)[1].corp, world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group, nina.sid)
    world.look()
    world.monitoring.control.accept(world.dave, world.standing()[Rule.OTHER_MEMBER].key, "the owner")
    world.look()
    world.remove_by_hand(CORP, group, nina.sid)
    world.corp.remove(nina)
    world.look()
    assert world.standing() == {}
