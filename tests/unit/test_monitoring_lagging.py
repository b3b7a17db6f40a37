"""Another controller of a domain is read, which has not heard yet of what the one before showed. The numbers are those of domain/lagging.py."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.memory_changes import MemoryChangeFeed
from bastide.directory.memory_forest import Link
from bastide.domain import lagging
from bastide.domain.drift import Action, Rule
from bastide.domain.ids import Sid
from bastide.domain.lagging import PATIENCE, Awaited
from bastide.domain.monitored import Kind, Seen, Watched
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import State
from bastide.domain.roles import Carrier, PamGroup, Scope
from bastide.services.monitor.ports import Mark
from bastide.services.monitor.reading import LOOK_EVERY
from bastide.services.ports import Person
from tests.support.monitored import MonitoredWorld, of

PRIV, CORP = Forest.PRIV, Forest.CORP
MINUTE = LOOK_EVERY.total_seconds() + 1
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
ONE, TWO = Sid("S-1-5-21-1-2-3-1001"), Sid("S-1-5-21-1-2-3-1002")
PERSON = Seen("g1", Kind.PERSON, ONE, "nina", "CN=nina,DC=corp", enabled=True)
GROUP = Seen("g2", Kind.GROUP, TWO, "team", "CN=team,DC=corp", members=(ONE, TWO))


def late(old: Watched, seen: Seen | None, *, person: bool = True) -> Watched:
    return lagging.again(old, seen, NOW, (), late=True, person=person)


def watched(seen: Seen) -> Watched:
    return Watched(CORP, seen, seen)


# ------------------------------------------------------------------------------------------------------------- the rules


def test_1_who_is_not_found_is_as_known_and_not_gone() -> None:
    old = watched(PERSON)
    assert late(old, None) == replace(old, kept=True)
    gone = replace(old, gone_at=NOW)
    assert late(gone, None) == gone, "it says nothing else than was known"


def test_2_a_person_who_was_gone_or_disabled_is_not_back() -> None:
    gone = replace(watched(PERSON), gone_at=NOW)
    assert late(gone, PERSON) == replace(gone, kept=True)
    shut = watched(replace(PERSON, enabled=False))
    assert late(shut, PERSON) == replace(shut, kept=True)


def test_2_a_person_has_the_earlier_end_of_the_two() -> None:
    soon, later = NOW + timedelta(hours=1), NOW + timedelta(days=9)
    for known, shown, end in (
        (soon, None, soon),
        (soon, later, soon),
        (later, soon, soon),
        (None, soon, soon),
    ):
        found = late(watched(replace(PERSON, expires=known)), replace(PERSON, expires=shown))
        assert (found.now.expires, found.kept) == (end, shown != end)


def test_2_what_is_not_shown_of_a_person_is_not_made_up() -> None:
    hidden = replace(PERSON, enabled=None)
    assert late(watched(replace(PERSON, enabled=False)), hidden).now == hidden


def test_2_a_priv_account_that_is_shown_open_is_open_and_a_group_that_is_shown_is_there() -> None:
    shut = replace(watched(replace(PERSON, enabled=False)), gone_at=NOW)
    assert late(shut, PERSON, person=False).now.enabled
    assert late(shut, PERSON, person=False).gone_at is None
    assert late(replace(watched(GROUP), gone_at=NOW), GROUP).gone_at is None


def test_3_who_was_accepted_stays_so_and_who_is_shown_is_a_member() -> None:
    found = late(watched(GROUP), replace(GROUP, members=(TWO, Sid("S-1-5-21-1-2-3-1003"))))
    assert found.accepted.members == (ONE, TWO)
    assert found.now.members == (TWO, Sid("S-1-5-21-1-2-3-1003"))
    assert found.kept


@pytest.mark.parametrize("seen", [PERSON, GROUP])
def test_4_what_is_shown_as_it_was_known_is_kept_no_more(seen: Seen) -> None:
    assert not late(replace(watched(seen), kept=True), seen).kept


def test_4_who_is_seen_disabled_is_disabled() -> None:
    found = late(watched(PERSON), replace(PERSON, enabled=False))
    assert (found.now.enabled, found.kept) == (False, False)


def test_without_a_lag_everything_is_as_it_is_shown() -> None:
    kept = replace(watched(GROUP), kept=True)
    found = lagging.again(kept, replace(GROUP, members=(TWO,)), NOW, (), late=False, person=True)
    assert (found.accepted.members, found.kept) == ((TWO,), False)
    gone = lagging.again(kept, None, NOW, (), late=False, person=True)
    assert (gone.gone_at, gone.kept) == (NOW, False)


def test_5_a_controller_has_heard_all_when_its_vector_says_so_of_each() -> None:
    one, two = Awaited("dc1", "a", 40, NOW), Awaited("dc3", "b", 7, NOW)
    assert lagging.unheard((one, two), {"a": 39, "b": 7}, NOW) == (one,)
    assert lagging.unheard((one, two), {"a": 40, "c": 99}, NOW) == (two,)
    assert lagging.unheard((one, two), {"a": 41, "b": 7}, NOW) == ()


def test_6_after_a_day_it_is_believed_all_the_same() -> None:
    one = Awaited("dc1", "a", 40, NOW)
    assert lagging.unheard((one,), {}, NOW + PATIENCE - timedelta(seconds=1)) == (one,)
    assert lagging.unheard((one,), {}, NOW + PATIENCE) == ()


# ------------------------------------------------------------------------------------------------------ in the whole of it


class Busy(MemoryChangeFeed):
    """Something `happens` between the mark and the look."""

    def __init__(self, feed: MemoryChangeFeed, happens: Callable[[], None]) -> None:
        vars(self).update(vars(feed))
        self.happens = happens

    def mark(self, controller: str = "") -> Mark:
        found, happens = super().mark(controller), self.happens
        self.happens = lambda: None
        happens()
        return found


def corp_of_two(**options: object) -> MonitoredWorld:
    return MonitoredWorld(corp_controllers=("corpdc", "corpdc2"), **options)  # type: ignore[arg-type]


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = corp_of_two()
    made.ready()
    made.look()
    yield made
    made.close()


def accepted_at_the_first(world: MonitoredWorld) -> tuple[PamGroup, Person]:
    """Bob, who joined the CORP group there and was accepted in it; the other one has not heard of it."""
    group, bob = of(world)[1], world.directory(CORP).find_person("bob")
    world.corp.isolate("corpdc2")
    world.corp.write("corpdc", "join", {("link", group.corp.guid, bob.ref.sid): Link(None)})
    world.look()
    world.monitoring.control.accept(world.dave, world.standing()[Rule.OTHER_MEMBER].key, "CHG-1")
    world.look()
    return group, bob


def leave_first(world: MonitoredWorld, side: Forest = CORP) -> None:
    """The controller that is read is silent; the other one is in reach, and has not heard of what came since `isolate`."""
    forest = world.corp if side is CORP else world.priv
    first = world.domain(side).mark.controller
    forest.cut(first)
    world.look()
    assert world.domain(side).mark.controller != first


def catch_up(world: MonitoredWorld, side: Forest = CORP) -> None:
    forest = world.corp if side is CORP else world.priv
    for one in forest.controllers():
        forest.heal(one.name)
    world.look(seconds=MINUTE)


def user_of(world: MonitoredWorld, name: str) -> PamUser:
    with world.store.read() as uow:
        return next(one for one in uow.users.all() if one.corp.name == name)


def group_of(world: MonitoredWorld) -> Watched:
    """The first group of CORP, as it is watched."""
    guid = of(world)[1].corp.guid
    with world.store.read() as uow:
        return next(one for one in uow.monitored.watched(CORP) if one.guid == guid)


def prepare_unheard(world: MonitoredWorld) -> None:
    """A person whom the second controller does not know, with access."""
    world.corp.isolate("corpdc2")
    world.corp.add_person("nina", password="x")
    world.prepare("nina")
    world.look()


def test_a_new_person_is_not_gone(world: MonitoredWorld) -> None:
    prepare_unheard(world)
    world.add_role("for nina", candidates=("CORP\\nina",))
    request = world.ask("for nina", world.sign_in("nina", CORP, mfa=True))
    world.work()
    leave_first(world)
    world.look(seconds=MINUTE)
    assert world.get(request).state is State.ACTIVE
    assert user_of(world, "nina").enabled
    assert "corpdc2 has not heard yet all that corpdc had" in world.domain(CORP).lags
    catch_up(world)
    assert world.get(request).state is State.ACTIVE
    assert not world.domain(CORP).lags
    assert world.told("pam-user.disabled") == []


def test_who_was_deleted_before_the_change_is_gone_once_everything_was_heard(world: MonitoredWorld) -> None:
    prepare_unheard(world)
    leave_first(world)
    world.look(seconds=MINUTE)
    assert user_of(world, "nina").enabled
    world.corp.heal("corpdc")
    world.corp.remove(user_of(world, "nina").corp)
    catch_up(world)
    assert not user_of(world, "nina").enabled


def test_after_a_day_who_is_not_shown_is_gone(world: MonitoredWorld) -> None:
    prepare_unheard(world)
    leave_first(world)
    world.clock.move(seconds=(PATIENCE - timedelta(minutes=10)).total_seconds())
    world.look()
    assert user_of(world, "nina").enabled
    world.look(seconds=600)
    assert not user_of(world, "nina").enabled
    assert not world.domain(CORP).lags


def test_who_is_deleted_on_the_new_controller_is_gone_at_once_though_it_lags(world: MonitoredWorld) -> None:
    prepare_unheard(world)
    leave_first(world)
    assert world.domain(CORP).lags
    world.corp.remove(of(world)[0].corp)
    world.look(seconds=MINUTE)
    assert not of(world)[0].enabled
    assert user_of(world, "nina").enabled


def test_a_controller_that_has_heard_everything_lags_nowhere(world: MonitoredWorld) -> None:
    leave_first(world)
    assert not world.domain(CORP).lags
    world.corp.remove(of(world)[0].corp)
    world.look(seconds=MINUTE)
    assert not of(world)[0].enabled


def test_where_everything_is_shown_as_it_was_known_there_is_nothing_to_wait_for(
    world: MonitoredWorld,
) -> None:
    world.corp.isolate("corpdc2")
    world.corp.add_person("somebody")
    world.look()
    leave_first(world)
    assert not world.domain(CORP).lags


def test_a_controller_that_is_read_again_knows_what_it_showed_itself(world: MonitoredWorld) -> None:
    prepare_unheard(world)
    leave_first(world)
    world.corp.cut("corpdc2")
    world.corp.write("corpdc", "remove", {("account", user_of(world, "nina").corp.sid): None})
    for name in ("corpdc", "corpdc2"):
        world.corp.heal(name)
    world.corp.cut("corpdc2")
    world.look()
    assert world.domain(CORP).mark.controller == "corpdc"
    assert not user_of(world, "nina").enabled


def test_a_priv_account_that_a_controller_shows_open_is_closed_though_it_lags() -> None:
    world = MonitoredWorld(priv_controllers=("privdc", "privdc2"))
    world.ready()
    world.look()
    world.priv.isolate("privdc2")
    world.priv.write("privdc2", "open", {("expires", of(world)[0].priv.sid): None})
    world.priv.add_person("somebody")
    world.look()
    assert world.told("drift.found") == []
    leave_first(world, PRIV)
    assert [one["rule"] for one in world.told("drift.found")] == ["open-account"]
    assert not world.priv.can_buy_ticket(of(world)[0].priv.sid, world.clock.now())
    world.close()


def test_access_of_who_is_seen_disabled_ends_also_where_that_is_late(world: MonitoredWorld) -> None:
    prepare_unheard(world)
    request = world.ask()
    world.work()
    leave_first(world)
    world.change_person(CORP, of(world)[0].corp.sid, enabled=False)
    world.look()
    assert world.get(request).state in {State.CLOSING, State.CLOSED}


def test_a_third_controller_must_have_heard_what_both_before_had() -> None:
    world = MonitoredWorld(corp_controllers=("corpdc", "corpdc2", "corpdc3"))
    world.ready()
    world.corp.isolate("corpdc3")
    prepare_unheard(world)
    leave_first(world)
    world.corp.add_person("otto")
    world.look()
    leave_first(world)
    assert {one.controller for one in world.domain(CORP).awaited} == {"corpdc", "corpdc2"}
    assert user_of(world, "nina").enabled
    catch_up(world)
    assert user_of(world, "nina").enabled
    assert not world.domain(CORP).lags
    world.close()


def test_an_account_that_was_closed_with_its_person_stays_closed() -> None:
    world = corp_of_two(actions={Rule.CLOSED_ACCOUNT: Action.REPAIR})
    world.prepare("alice", kept_alive=True)
    world.prepare_group()
    world.look()
    alice = of(world)[0]
    world.corp.isolate("corpdc2")
    world.change_person(CORP, alice.corp.sid, enabled=False)
    world.look(seconds=MINUTE)
    leave_first(world)
    for _ in range(3):
        world.look(seconds=MINUTE)
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    assert Rule.CLOSED_ACCOUNT not in world.standing()
    catch_up(world)
    world.change_person(CORP, alice.corp.sid, enabled=True)
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    assert world.priv.can_buy_ticket(alice.priv.sid, world.clock.now()), "who is back in truth is back"
    world.close()


def test_what_was_accepted_in_a_group_stays_accepted(world: MonitoredWorld) -> None:
    group, bob = accepted_at_the_first(world)
    leave_first(world)
    catch_up(world)
    assert not world.standing()
    assert len(world.told("drift.found")) == 1
    world.remove_by_hand(CORP, group.corp, bob.ref.sid)
    world.look()
    world.add_by_hand(CORP, group.corp, bob.ref.sid)
    world.look()
    assert Rule.OTHER_MEMBER in world.standing(), "who was seen to be out is accepted no more"


def test_who_left_a_group_unseen_by_both_is_accepted_no_more_once_everything_was_heard(
    world: MonitoredWorld,
) -> None:
    group, bob = accepted_at_the_first(world)
    leave_first(world)
    world.corp.write("corpdc", "leave", {("link", group.corp.guid, bob.ref.sid): None})
    catch_up(world)
    assert bob.ref.sid not in group_of(world).accepted.members
    assert not group_of(world).kept


def test_after_a_day_who_is_not_shown_in_a_group_is_accepted_no_more(world: MonitoredWorld) -> None:
    _, bob = accepted_at_the_first(world)
    leave_first(world)
    world.look(seconds=MINUTE)
    assert bob.ref.sid in group_of(world).accepted.members
    world.look(seconds=PATIENCE.total_seconds())
    assert bob.ref.sid not in group_of(world).accepted.members
    assert not group_of(world).kept


def test_who_stood_in_an_adopted_group_is_not_taken_out() -> None:
    world = MonitoredWorld(priv_controllers=("privdc", "privdc2"))
    (alice,) = world.prepare("alice")
    team = world.priv.add_group("Direct", scope=Scope.GLOBAL)
    world.services.accounts._plan = replace(world._preparation(), single_forest=True)
    world.priv.isolate("privdc2")
    world.priv.write("privdc", "join", {("link", team.ref.guid, alice.priv.sid): Link(None)})
    group = world.services.accounts.add_group(world.dave, "Direct", Carrier.DIRECT)
    world.look()
    leave_first(world, PRIV)
    catch_up(world, PRIV)
    world.look(seconds=MINUTE)
    assert alice.priv.sid in world.directory(PRIV).members_of(group.priv)
    assert world.told("drift.found") == []
    world.close()


def test_what_was_seen_after_the_mark_must_be_heard_too(world: MonitoredWorld) -> None:
    person = of(world)[0].corp
    world.corp.isolate("corpdc2")
    feeds = world.monitoring.watch.feeds
    assert isinstance(feeds, dict)
    feeds[CORP] = Busy(world.feeds[CORP], lambda: world.change_person(CORP, person.sid, enabled=False))
    world.clock.move(seconds=MINUTE)
    world.work()
    leave_first(world)
    assert world.domain(CORP).lags
    with world.store.read() as uow:
        (alice,) = (one for one in uow.monitored.watched(CORP) if one.guid == person.guid)
    assert (alice.now.enabled, alice.kept) == (False, True)


def test_a_full_read_tells_nothing_of_what_is_kept(world: MonitoredWorld) -> None:
    """It is known to differ from what is shown."""
    world.corp.isolate("corpdc2")
    world.change_person(CORP, of(world)[0].corp.sid, enabled=False)
    world.look()
    leave_first(world)
    world.monitoring.control.resync(world.dave)
    world.look()
    assert Rule.MISSED_CHANGE not in world.standing()


def test_a_trust_that_is_not_heard_of_yet_is_no_new_one_when_it_shows(world: MonitoredWorld) -> None:
    trust = Seen(
        "trust", Kind.TRUST, Sid(""), "partner.example", "CN=partner,CN=System", {"trustDirection": "2"}
    )
    world.corp.isolate("corpdc2")
    world.feeds[CORP].add(trust)
    world.look(seconds=MINUTE)
    key = world.standing()[Rule.TRUST_CHANGED].key
    world.monitoring.control.accept(world.dave, key, "CHG-1")
    leave_first(world)
    world.look(seconds=MINUTE)
    assert not world.standing()
    catch_up(world)
    assert not world.standing()
