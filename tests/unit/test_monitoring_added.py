"""What comes on top of what was found or accepted: it is told anew, and nobody accepts what he did not see. The numbers are those of domain/drift.py."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import pytest

from bastide.directory.entries import containers
from bastide.domain.alerts import State
from bastide.domain.drift import Finding, Rule
from bastide.domain.errors import NotFound
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Kind, Seen
from bastide.domain.people import Forest
from bastide.services.monitor.reading import LOOK_EVERY
from tests.support.monitored import MonitoredWorld, of
from tests.support.watched import WatchedWorld

PRIV, CORP = Forest.PRIV, Forest.CORP
MINUTE = LOOK_EVERY.total_seconds() + 1
EVE = Sid("S-1-5-21-9-9-9-6666")


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld()
    made.ready()
    made.look()
    yield made
    made.close()


@pytest.fixture
def alerting() -> Iterator[WatchedWorld]:
    made = WatchedWorld()
    made.serve()
    made.look()
    yield made
    made.close()


def place(world: MonitoredWorld, dn: str, *rights: str, side: Forest = PRIV) -> Seen:
    """A container with these entries."""
    made = Seen(f"ou {dn}", Kind.PLACE, Sid(""), dn, dn, rights=rights)
    world.feeds[side].add(made)
    return made


def above(world: MonitoredWorld, ref: ObjectRef) -> str:
    """The outermost container that it lies in."""
    return containers(ref.dn, world.priv.base_dn)[-1]


def accept(world: MonitoredWorld, finding: Finding) -> None:
    world.monitoring.control.accept(world.dave, finding.key, "CHG-4711")


# -------------------------------------------------------------------------------------------------------- what is added


def test_what_is_added_to_permissions_that_stand_is_told_and_rings(alerting: WatchedWorld) -> None:
    """(7): a harmless right first, which somebody looks into, and hours later the dangerous one."""
    world, group = alerting, of(alerting)[1].priv
    world.permit(PRIV, group, Kind.GROUP, "allow read to helpdesk")
    world.look()
    world.settle()
    seen, rang = world.standing()[Rule.RIGHTS_CHANGED], len(world.people.taken)
    world.clock.move(hours=3)
    world.permit(PRIV, group, Kind.GROUP, "allow read to helpdesk", f"allow write member to {EVE}")
    world.look()
    world.settle()
    found = world.standing()[Rule.RIGHTS_CHANGED]
    assert (found.key != seen.key, str(EVE) in found.drift.reason) == (True, True)
    assert len(world.people.taken) == rang + 1
    (said,) = world.told("drift.changed")
    assert (said["drift"], said["instead"]) == (seen.key, found.key)
    assert world.told("drift.gone") == []
    (alert,) = [one for one in world.found(State.OPEN) if one.rule == "drift"]
    assert str(EVE) in alert.text


def test_who_accepts_what_he_saw_accepts_nothing_that_came_later(world: MonitoredWorld) -> None:
    """(7)."""
    group = of(world)[1].priv
    world.permit(PRIV, group, Kind.GROUP, "allow read to helpdesk")
    world.look()
    seen = world.standing()[Rule.RIGHTS_CHANGED]
    world.permit(PRIV, group, Kind.GROUP, "allow read to helpdesk", f"allow write member to {EVE}")
    world.look()
    with pytest.raises(NotFound):
        accept(world, seen)
    accept(world, world.standing()[Rule.RIGHTS_CHANGED])
    world.look(seconds=MINUTE)
    assert world.standing() == {}


def test_an_account_that_was_renamed_and_is_disabled_then_is_told_twice(world: MonitoredWorld) -> None:
    """(7), (3)."""
    account = of(world)[0].priv
    world.change_person(PRIV, account.sid, ref=replace(account, name="priv.alice2"))
    world.look(seconds=MINUTE)
    world.change_person(PRIV, account.sid, enabled=False)
    world.look(seconds=MINUTE)
    first, second = [one for one in world.told("drift.found") if one["rule"] == "account-changed"]
    assert "enabled" not in first["reason"]
    assert "enabled was True, is False" in second["reason"]


def test_what_is_the_same_at_every_look_is_told_once(world: MonitoredWorld) -> None:
    """(7)."""
    world.permit(PRIV, of(world)[1].priv, Kind.GROUP, "allow read to helpdesk")
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    assert len(world.told("drift.found")) == 1


# ------------------------------------------------------------------------------------------------- who and what comes back


def test_who_was_accepted_was_taken_out_and_comes_back_is_drift(world: MonitoredWorld) -> None:
    """(1): who was there at the first look and was cleaned up, and who was accepted by hand."""
    group = of(world)[1].corp
    bob = world.directory(CORP).find_person("bob").ref
    world.add_by_hand(CORP, group, bob.sid)
    world.look()
    accept(world, world.standing()[Rule.OTHER_MEMBER])
    world.look()
    assert world.standing() == {}
    world.remove_by_hand(CORP, group, bob.sid)
    world.look(seconds=MINUTE)
    world.clock.move(days=200)
    world.look()
    world.add_by_hand(CORP, group, bob.sid)
    world.look()
    assert world.standing()[Rule.OTHER_MEMBER].drift.detail == bob.sid


def test_who_is_hidden_with_the_members_stays_accepted(world: MonitoredWorld) -> None:
    """(6): nothing proves that they are out."""
    group = of(world)[1].corp
    bob = world.directory(CORP).find_person("bob").ref
    world.add_by_hand(CORP, group, bob.sid)
    world.look()
    accept(world, world.standing()[Rule.OTHER_MEMBER])
    world.permit(CORP, group, Kind.GROUP, "deny 0x10 member")
    world.remove_by_hand(CORP, group, bob.sid)
    world.look(seconds=MINUTE)
    world.add_by_hand(CORP, group, bob.sid)
    world.permit(CORP, group, Kind.GROUP)
    world.look(seconds=MINUTE)
    assert world.standing() == {}


def test_a_group_that_was_let_go_and_is_shown_again_has_the_members_that_were_accepted(
    world: MonitoredWorld,
) -> None:
    """(3): it was hidden and not deleted; who joined meanwhile is drift."""
    group, eve = of(world)[1].corp, world.corp.add_person("eve2").ref
    name, replica = next(iter(world.corp.reachable().items()))
    kept = replica.group(group.guid)
    world.corp.remove(group)
    world.look(seconds=MINUTE)
    accept(world, world.standing()[Rule.GROUP_CHANGED])
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    world.corp.write(name, "shown again", {("group", group.guid): kept})
    world.add_by_hand(CORP, group, eve.sid)
    world.look(seconds=MINUTE)
    assert world.standing()[Rule.OTHER_MEMBER].drift.detail == eve.sid


# ------------------------------------------------------------------------------------------------ what is given from above


def test_a_right_on_what_a_group_lies_in_is_drift(world: MonitoredWorld) -> None:
    """(5): however far above; the group inherits it, and shows no entry of its own."""
    dn = above(world, of(world)[1].priv)
    place(world, dn)
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    place(world, dn, f"allow 0x40020 to {EVE} (flags 0x2)")
    world.look()
    found = world.standing()[Rule.RIGHTS_CHANGED]
    assert (found.drift.name, str(EVE) in found.drift.reason) == (dn, True)


def test_a_container_that_is_hidden_is_drift_and_what_was_accepted_of_it_is_kept(
    world: MonitoredWorld,
) -> None:
    """(5): who hides it, writes into it and shows it again."""
    dn = above(world, of(world)[1].priv)
    made = place(world, dn)
    world.look(seconds=MINUTE)
    name = next(iter(world.priv.reachable()))
    world.priv.write(name, "hidden", {("seen", made.guid): None})
    world.look(seconds=MINUTE)
    found = world.standing()[Rule.RIGHTS_CHANGED]
    assert "deleted, or not shown any more" in found.drift.reason
    accept(world, found)
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    place(world, dn, f"allow 0x40020 to {EVE} (flags 0x2)")
    world.look(seconds=MINUTE)
    assert str(EVE) in world.standing()[Rule.RIGHTS_CHANGED].drift.reason


def test_who_hides_members_from_above_ends_no_finding_and_takes_nobody_from_the_accepted(
    world: MonitoredWorld,
) -> None:
    """(6): the group's own entries are as they were."""
    group = of(world)[1].corp
    bob, eve = world.directory(CORP).find_person("bob").ref, world.corp.add_person("eve2").ref
    dn = group.dn.partition(",")[2]
    place(world, dn, side=CORP)
    world.add_by_hand(CORP, group, bob.sid)
    world.look(seconds=MINUTE)
    accept(world, world.standing()[Rule.OTHER_MEMBER])
    world.add_by_hand(CORP, group, eve.sid)
    world.look()
    place(world, dn, "deny 0x10 member (flags 0x2)", side=CORP)
    world.remove_by_hand(CORP, group, bob.sid, eve.sid)
    world.look()
    assert world.standing().keys() == {Rule.OTHER_MEMBER, Rule.RIGHTS_CHANGED}
    assert world.told("drift.gone") == []
    place(world, dn, side=CORP)
    world.add_by_hand(CORP, group, bob.sid)
    world.look()
    assert world.standing() == {}


def test_a_group_is_looked_at_again_when_what_it_lies_in_shows_more(world: MonitoredWorld) -> None:
    """(6): nobody tells that what it inherits changed."""
    group, eve = of(world)[1].corp, world.corp.add_person("eve2").ref
    dn = group.dn.partition(",")[2]
    place(world, dn, side=CORP)
    world.add_by_hand(CORP, group, eve.sid)
    world.look(seconds=MINUTE)
    feed = world.feeds[CORP]
    shown = feed.look

    def hides(controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        found = shown(controller, guids)
        return {guid: replace(one, members=()) if guid == group.guid else one for guid, one in found.items()}

    feed.look = hides  # type: ignore[method-assign]
    place(world, dn, "deny 0x10 member (flags 0x2)", side=CORP)
    world.look()
    feed.look = shown  # type: ignore[method-assign]
    place(world, dn, side=CORP)
    world.look()
    assert world.standing().keys() == {Rule.OTHER_MEMBER}
    assert [one["rule"] for one in world.told("drift.gone")] == ["rights-changed"]
