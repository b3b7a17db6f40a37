"""Groups within watched groups: who joins one of them has what the group at the top gives. The numbers are those of domain/nested.py."""

from collections.abc import Collection, Iterator, Mapping

import pytest

from bastide.domain import nested
from bastide.domain.drift import Action, Finding, Rule
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Kind, Named, Watched
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.monitor.reading import LOOK_EVERY
from tests.support.monitored import OWNER, MonitoredWorld, of

PRIV, CORP = Forest.PRIV, Forest.CORP
MINUTE = LOOK_EVERY.total_seconds() + 1


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    """FileAdmins holds Delegates, which holds Deputies, before anything is read."""
    made = MonitoredWorld()
    made.ready()
    made.corp.add_group("Delegates", scope=Scope.DOMAIN_LOCAL)
    made.corp.add_group("Deputies", scope=Scope.DOMAIN_LOCAL)
    made.add_by_hand(CORP, of(made)[1].corp, group(made, "Delegates").sid)
    made.add_by_hand(CORP, group(made, "Delegates"), group(made, "Deputies").sid)
    made.add_by_hand(CORP, group(made, "Deputies"), person(made, "bob").sid)
    made.look()
    yield made
    made.close()


def group(world: MonitoredWorld, name: str) -> ObjectRef:
    found = world.directory(CORP).find_group(name)
    return found.ref


def person(world: MonitoredWorld, name: str) -> ObjectRef:
    return world.directory(CORP).find_person(name).ref


def joined(world: MonitoredWorld) -> list[Finding]:
    with world.store.read() as uow:
        return [one for one in uow.monitored.findings() if one.drift.rule is Rule.NESTED_MEMBER]


def watched(world: MonitoredWorld) -> set[str]:
    with world.store.read() as uow:
        return {one.now.name for one in uow.monitored.watched(CORP)}


def test_who_is_there_at_the_first_look_is_right_at_every_depth(world: MonitoredWorld) -> None:
    """(1), (2)."""
    assert {"Delegates", "Deputies"} <= watched(world)
    world.look(seconds=MINUTE)
    assert world.standing() == {}


@pytest.mark.parametrize(("where", "way"), [("Delegates", ""), ("Deputies", "Deputies -> ")])
def test_who_joins_a_nested_group_is_drift_of_the_group_at_the_top_with_the_way_there(
    world: MonitoredWorld, where: str, way: str
) -> None:
    """(2)."""
    top, nina = of(world)[1].corp, world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, where), nina.sid)
    world.look()
    world.look(seconds=MINUTE)
    (found,) = joined(world)
    assert (found.drift.guid, found.owner, found.action) == (top.guid, OWNER, Action.REPORT)
    assert f"nina ({nina.sid}) became a member of {where}" in found.drift.reason
    assert found.drift.reason.endswith(f": nina -> {way}Delegates -> {top.name}")
    assert len(world.told("drift.found")) == 1
    world.remove_by_hand(CORP, group(world, where), nina.sid)
    world.look()
    assert world.standing() == {}
    assert len(world.told("drift.gone")) == 1


def test_who_is_accepted_is_right_in_that_group(world: MonitoredWorld) -> None:
    """(2)."""
    nina = world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, "Deputies"), nina.sid)
    world.look()
    (found,) = joined(world)
    assert f"`bastide monitor accept {found.key} --reason TEXT`" in found.drift.remedy
    world.monitoring.control.accept(world.dave, found.key, "she is the deputy")
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    world.add_by_hand(CORP, group(world, "Delegates"), nina.sid)
    world.look()
    assert len(joined(world)) == 1, "and not in another one"


def test_a_group_that_joins_a_nested_group_is_said_and_so_is_who_joins_it_later(
    world: MonitoredWorld,
) -> None:
    """(2)."""
    world.corp.add_group("Late", scope=Scope.GLOBAL)
    world.add_by_hand(CORP, group(world, "Late"), person(world, "bob").sid)
    world.add_by_hand(CORP, group(world, "Deputies"), group(world, "Late").sid)
    world.look()
    (found,) = joined(world)
    assert ": Late -> Deputies -> Delegates -> " in found.drift.reason
    nina = world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, "Late"), nina.sid)
    world.look()
    assert any(": nina -> Late -> Deputies -> " in one.drift.reason for one in joined(world))


def test_a_nested_group_that_was_seen_to_be_out_is_drift_when_it_comes_back(world: MonitoredWorld) -> None:
    """(1): it is accepted no more, and watched no more."""
    top, delegates = of(world)[1].corp, group(world, "Delegates")
    world.remove_by_hand(CORP, top, delegates.sid)
    world.look(seconds=MINUTE)
    assert "Delegates" not in watched(world)
    assert world.standing() == {}, "it gives nothing now"
    world.add_by_hand(CORP, top, delegates.sid)
    world.look()
    assert world.standing()[Rule.OTHER_MEMBER].drift.detail == delegates.sid


def test_a_nested_group_of_which_nothing_proves_that_it_is_out_was_watched_when_it_comes_back(
    world: MonitoredWorld,
) -> None:
    """(1): it is accepted, so its coming back is no drift; who joined it meanwhile is."""
    top, nina = of(world)[1].corp, world.corp.add_person("nina").ref
    delegates = group(world, "Delegates")
    world.permit(CORP, top, Kind.GROUP, "deny 0x10 member")
    world.remove_by_hand(CORP, top, delegates.sid)
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    world.add_by_hand(CORP, delegates, nina.sid)
    world.look(seconds=MINUTE)
    assert world.standing().keys() == {Rule.RIGHTS_CHANGED}
    world.add_by_hand(CORP, top, delegates.sid)
    world.look()
    (found,) = joined(world)
    assert ": nina -> Delegates -> " in found.drift.reason


def test_a_nested_group_that_left_and_was_not_accepted_is_watched_no_more(world: MonitoredWorld) -> None:
    """(1)."""
    top = of(world)[1].corp
    world.corp.add_group("Late", scope=Scope.GLOBAL)
    world.add_by_hand(CORP, top, group(world, "Late").sid)
    world.look()
    assert "Late" in watched(world)
    world.remove_by_hand(CORP, top, group(world, "Late").sid)
    world.look(seconds=MINUTE)
    assert "Late" not in watched(world)
    assert world.standing() == {}


def test_a_loop_ends_and_a_person_is_said_once(world: MonitoredWorld) -> None:
    """(4)."""
    top, nina = of(world)[1].corp, world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, "Deputies"), group(world, "Delegates").sid)
    world.add_by_hand(CORP, top, group(world, "Deputies").sid)
    world.look()
    world.add_by_hand(CORP, group(world, "Deputies"), nina.sid)
    world.look()
    (found,) = [one for one in joined(world) if nina.sid in one.drift.detail]
    assert found.drift.reason.endswith(f": nina -> Deputies -> {top.name}"), "the shortest way"


def test_a_nested_pam_group_is_judged_by_its_own_rules_and_passed_on_the_way(world: MonitoredWorld) -> None:
    """(3)."""
    top = of(world)[1]
    world.corp.add_group("Inner", scope=Scope.DOMAIN_LOCAL)
    world.add_by_hand(CORP, group(world, "Inner"), group(world, "Deputies").sid)
    inner = world.services.accounts.add_group(world.dave, "CORP\\Inner", top.carrier)
    world.add_by_hand(CORP, group(world, "Delegates"), group(world, "Inner").sid)
    world.look(seconds=MINUTE)
    nina = world.corp.add_person("nina").ref
    world.add_by_hand(CORP, inner.corp, nina.sid)
    world.look()
    with world.store.read() as uow:
        mine = [one.drift for one in uow.monitored.findings() if nina.sid in one.drift.detail]
    assert [(one.rule, one.guid) for one in mine] == [(Rule.OTHER_MEMBER, inner.corp.guid)]
    zoe = world.corp.add_person("zoe").ref
    world.add_by_hand(CORP, group(world, "Deputies"), zoe.sid)
    world.look()
    tops = {one.drift.guid for one in joined(world) if zoe.sid in one.drift.detail}
    assert tops == {top.corp.guid, inner.corp.guid}


def test_a_distribution_group_gives_nothing(world: MonitoredWorld) -> None:
    """(5)."""
    nina = world.corp.add_person("nina").ref
    world.change_group(CORP, group(world, "Delegates"), security=False)
    world.add_by_hand(CORP, group(world, "Deputies"), nina.sid)
    world.look()
    assert joined(world) == []
    world.change_group(CORP, group(world, "Delegates"), security=True)
    world.look()
    assert len(joined(world)) == 1


def test_a_nested_group_that_is_not_shown_is_said(
    world: MonitoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(6): as is one more than are looked through."""
    monkeypatch.setattr(nested, "MOST", 2)
    top = of(world)[1].corp
    world.corp.add_group("Late", scope=Scope.GLOBAL)
    world.add_by_hand(CORP, top, group(world, "Late").sid)
    world.look()
    found = world.standing()[Rule.UNREADABLE].drift
    assert found.guid == top.guid
    assert (
        f"who is in Late is not shown to us, or there are more than 2 groups to look through: Late -> {top.name}"
        in found.reason
    )
    assert "Late" not in watched(world)


def test_who_joins_a_group_of_priv_that_is_within_a_group_of_corp_is_drift_with_the_way_across(
    world: MonitoredWorld,
) -> None:
    """(6): also of a group within it; who was there when it was first seen is right."""
    top = of(world)[1].corp
    ops = world.priv.add_group("Ops", scope=Scope.GLOBAL).ref
    inner = world.priv.add_group("Shift", scope=Scope.GLOBAL).ref
    world.add_by_hand(PRIV, ops, inner.sid, world.priv.add_person("ann").ref.sid)
    world.add_by_hand(CORP, group(world, "Delegates"), ops.sid)
    world.look(seconds=MINUTE)
    (found,) = joined(world)
    assert found.drift.detail.startswith(ops.sid)
    world.monitoring.control.accept(world.dave, found.key, "they are on call")
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    for where, way in ((ops, ""), (inner, "Shift -> ")):
        nina = world.priv.add_person(f"nina{len(way)}").ref
        world.add_by_hand(PRIV, where, nina.sid)
        world.look()
        (found,) = joined(world)
        assert (found.drift.domain, found.drift.guid) == (PRIV, ops.guid)
        assert found.drift.reason.endswith(f": {nina.name} -> {way}Ops -> Delegates -> {top.name}")
        world.monitoring.control.accept(world.dave, found.key, "on call too")
        world.look(seconds=MINUTE)
        assert world.standing() == {}


def test_a_group_of_priv_that_was_seen_to_be_out_is_drift_when_it_comes_back(world: MonitoredWorld) -> None:
    """(6), (1)."""
    delegates, ops = group(world, "Delegates"), world.priv.add_group("Ops", scope=Scope.GLOBAL).ref
    world.add_by_hand(CORP, delegates, ops.sid)
    world.look(seconds=MINUTE)
    world.monitoring.control.accept(world.dave, joined(world)[0].key, "they are on call")
    world.remove_by_hand(CORP, delegates, ops.sid)
    world.look(seconds=MINUTE)
    assert world.standing() == {}, "it gives nothing now"
    world.add_by_hand(CORP, delegates, ops.sid)
    world.look(seconds=MINUTE)
    assert [one.drift.detail.split(" ")[0] for one in joined(world)] == [ops.sid]


def test_who_came_and_went_in_a_nested_group_is_found_too(world: MonitoredWorld) -> None:
    nina = world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, "Deputies"), nina.sid)
    world.remove_by_hand(CORP, group(world, "Deputies"), nina.sid)
    world.look()
    assert "nina" in world.standing()[Rule.MOMENTARY_MEMBER].drift.reason


def test_who_changes_the_permissions_of_a_nested_group_is_said_and_ends_no_finding(
    world: MonitoredWorld,
) -> None:
    """As with the group at the top: who may not read members sees none."""
    deputies, nina = group(world, "Deputies"), world.corp.add_person("nina").ref
    world.add_by_hand(CORP, deputies, nina.sid)
    world.look()
    world.permit(CORP, deputies, Kind.GROUP, "deny 0x10 to S-1-5-21-9-9-9-9")
    world.remove_by_hand(CORP, deputies, nina.sid)
    world.look()
    assert {Rule.RIGHTS_CHANGED, Rule.NESTED_MEMBER} <= world.standing().keys()
    world.permit(CORP, deputies, Kind.GROUP)
    world.look()
    assert world.standing() == {}


def test_only_who_is_new_is_asked_for(world: MonitoredWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = world.feeds[CORP]
    asked: list[set[Sid]] = []
    shown = feed.named

    def named(controller: str, sids: Collection[Sid]) -> Mapping[Sid, Named]:
        asked.append(set(sids))
        return shown(controller, sids)

    monkeypatch.setattr(feed, "named", named)
    nina = world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, "Deputies"), nina.sid)
    world.look()
    world.change_group(CORP, group(world, "Deputies"))
    world.look(seconds=MINUTE)
    assert asked == [{nina.sid}]


def test_who_came_later_is_reckoned_once_for_each_group_and_not_for_each_way_to_it(
    world: MonitoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(2): a large group within many watched ones costs no more than within one."""
    top = of(world)[1]
    for name in ("Second", "Third"):
        ref = world.corp.add_group(name, scope=Scope.DOMAIN_LOCAL).ref
        world.add_by_hand(CORP, ref, group(world, "Deputies").sid)
        world.services.accounts.add_group(world.dave, f"CORP\\{name}", top.carrier)
    world.look(seconds=MINUTE)
    nina = world.corp.add_person("nina").ref
    world.add_by_hand(CORP, group(world, "Deputies"), nina.sid)
    reckoned: list[str] = []
    late = nested._late

    def counted(one: Watched) -> tuple[tuple[Sid, str], ...]:
        reckoned.append(one.now.name)
        return late(one)

    monkeypatch.setattr(nested, "_late", counted)
    world.monitoring.watch.plant()
    world.clock.move(seconds=2)
    world.runner.run_due()
    assert reckoned.count("Deputies") == 1
    assert len(joined(world)) == 3
