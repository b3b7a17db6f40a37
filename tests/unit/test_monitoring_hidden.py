"""Monitoring of a domain whose administrator hides: members and permissions that are not shown any more prove nothing. And what is done to PRIV accounts."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.drift import Rule
from bastide.domain.ids import ObjectRef
from bastide.domain.monitored import Kind, Seen
from bastide.domain.people import Forest
from tests.support.monitored import MonitoredWorld

CORP = Forest.CORP


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld()
    made.ready()
    made.look()
    yield made
    made.close()


def group_of(world: MonitoredWorld) -> ObjectRef:
    with world.store.read() as uow:
        return uow.groups.all()[0].corp


def hide(world: MonitoredWorld, group: ObjectRef) -> Callable[[], None]:
    """Two entries of the group's list deny us READ_CONTROL and `member`: Samba then shows neither. Returns what takes them back."""
    feed = world.feeds[CORP]
    shown = feed.look

    def look(controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        found = dict(shown(controller, guids))
        if group.guid in found:
            found[group.guid] = replace(found[group.guid], members=(), rights=None)
        return found

    feed.look = look  # type: ignore[method-assign]
    world.change_group(CORP, group)

    def undo() -> None:
        feed.look = shown  # type: ignore[method-assign]
        world.change_group(CORP, group)

    return undo


def test_permissions_that_were_shown_and_are_not_any_more_are_drift(world: MonitoredWorld) -> None:
    """(5)."""
    group = group_of(world)
    undo = hide(world, group)
    world.look()
    found = world.standing()[Rule.UNREADABLE]
    assert (found.drift.guid, found.drift.detail) == (group.guid, "permissions")
    undo()
    world.look()
    assert world.standing() == {}


def test_who_hides_a_group_ends_no_finding_of_its_members(world: MonitoredWorld) -> None:
    """(6)."""
    group = group_of(world)
    eve = world.corp.add_person("eve2").ref
    world.add_by_hand(CORP, group, eve.sid)
    world.look()
    assert world.standing()[Rule.OTHER_MEMBER].drift.detail == eve.sid
    undo = hide(world, group)
    world.look()
    world.look()
    assert {Rule.OTHER_MEMBER, Rule.UNREADABLE} <= world.standing().keys()
    assert world.told("drift.gone") == []
    world.remove_by_hand(CORP, group, eve.sid)
    undo()
    world.look()
    assert world.standing() == {}
    assert {one["rule"] for one in world.told("drift.gone")} == {"other-member", "unreadable"}


def test_permissions_that_nobody_accepted_end_no_finding_of_members_either(world: MonitoredWorld) -> None:
    """(6): only `member` is denied, so the permissions are shown, and are others."""
    group = group_of(world)
    eve = world.corp.add_person("eve2").ref
    world.add_by_hand(CORP, group, eve.sid)
    world.look()
    world.permit(CORP, group, Kind.GROUP, "deny 0x10 member")
    world.remove_by_hand(CORP, group, eve.sid)
    world.look()
    standing = world.standing()
    assert {Rule.OTHER_MEMBER, Rule.RIGHTS_CHANGED} == standing.keys()
    world.monitoring.control.accept(world.dave, standing[Rule.RIGHTS_CHANGED].key, "CHG-4711")
    world.look(seconds=61)
    assert world.standing() == {}


def test_a_group_that_is_not_found_any_more_ends_no_finding_of_its_members(world: MonitoredWorld) -> None:
    """(6): until an administrator accepts that it is gone."""
    group = group_of(world)
    eve = world.corp.add_person("eve2").ref
    world.add_by_hand(CORP, group, eve.sid)
    world.look()
    world.corp.remove(group)
    world.look(seconds=61)
    assert {Rule.OTHER_MEMBER, Rule.GROUP_CHANGED} <= world.standing().keys()
    assert world.told("drift.gone") == []


# ------------------------------------------------------------------------------------------- PRIV accounts, and repairs


def priv_of(world: MonitoredWorld) -> ObjectRef:
    with world.store.read() as uow:
        return uow.users.all()[0].priv


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weakness", "no pre-authentication"),
        ("servicePrincipalName", "HTTP/roast.priv.bastide.test"),
        ("msDS-AllowedToDelegateTo", "cifs/dc1.priv.bastide.test"),
    ],
)
def test_a_priv_account_that_is_made_easier_to_misuse_is_drift(
    world: MonitoredWorld, name: str, value: str
) -> None:
    """(3)."""
    priv = priv_of(world)
    world.feeds[Forest.PRIV].add(
        Seen(priv.guid, Kind.PERSON, priv.sid, priv.name, priv.dn, {name: value}, rights=())
    )
    world.look()
    found = world.standing()[Rule.ACCOUNT_CHANGED]
    assert f"{name} was none, is {value}" in found.drift.reason


def test_a_repair_that_changes_nothing_is_said_once(
    world: MonitoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(4): Samba takes the removal of a member whose primary group it is, and does nothing."""
    with world.store.read() as uow:
        group = uow.groups.all()[0].priv
    mallory = world.priv.add_person("mallory2").ref
    with monkeypatch.context() as deaf:
        deaf.setattr(MemoryDirectory, "remove_members", lambda *_: None)
        world.add_by_hand(Forest.PRIV, group, mallory.sid)
        for _ in range(4):
            world.look(seconds=61)
    (said,) = world.told("drift.not-repaired")
    assert "primary group" in said["wrong"]
    world.look(seconds=61)
    assert world.standing() == {}
    assert len(world.told("drift.repaired")) == 1
