"""Containers that are renamed: nobody tells that what lies in them has another DN, and they are watched on. The numbers are those of services/monitor/reading.py."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bastide.domain.drift import Rule
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Kind, Seen
from bastide.domain.people import Forest
from bastide.services.monitor.reading import LOOK_EVERY
from tests.support.monitored import MonitoredWorld

PRIV = Forest.PRIV
MINUTE = LOOK_EVERY.total_seconds() + 1
EVE = "allow 0x40020 to S-1-5-21-9-9-9-6666 (flags 0x2)"


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld()
    made.ready()
    made.look()
    yield made
    made.close()


def base(world: MonitoredWorld) -> str:
    return world.priv.base_dn


def place(world: MonitoredWorld, guid: str, dn: str, *rights: str) -> None:
    world.feeds[PRIV].add(Seen(guid, Kind.PLACE, Sid(""), dn, dn, rights=rights))


def put(world: MonitoredWorld, ref: ObjectRef, dn: str) -> None:
    """A group or an account is there now."""
    if world.priv.reachable()["privdc"].group(ref.guid) is not None:
        world.change_group(PRIV, ref, ref=replace(ref, dn=dn))
    else:
        world.change_person(PRIV, ref.sid, ref=replace(ref, dn=dn))


def tell_only(world: MonitoredWorld, told: str) -> None:
    """Of changes from now on DirSync tells of this object alone."""
    feed = world.feeds[PRIV]
    shown = feed.since
    feed.since = lambda controller, cookie: (  # type: ignore[method-assign]
        replace(page, guids=tuple(guid for guid in page.guids if guid == told))
        for page in shown(controller, cookie)
    )


@pytest.mark.parametrize("what", ["group", "account"])
@pytest.mark.parametrize("where", ["outer", "inner"])
def test_a_right_on_a_container_that_was_renamed_or_lay_in_one_is_drift(
    world: MonitoredWorld, what: str, where: str
) -> None:
    """(4)."""
    with world.store.read() as uow:
        ref = uow.users.all()[0].priv if what == "account" else uow.groups.all()[0].priv
    before, after = f"OU=Old,{base(world)}", f"OU=New,{base(world)}"
    put(world, ref, f"CN=x,OU=In,{before}")
    place(world, "outer", before)
    place(world, "inner", f"OU=In,{before}")
    world.look(seconds=MINUTE)
    shown = world.feeds[PRIV].since
    tell_only(world, "outer")
    put(world, ref, f"CN=x,OU=In,{after}")
    place(world, "outer", after)
    place(world, "inner", f"OU=In,{after}")
    for _ in range(3):
        world.look(seconds=MINUTE)
    world.feeds[PRIV].since = shown  # type: ignore[method-assign]
    dn = after if where == "outer" else f"OU=In,{after}"
    place(world, where, dn, EVE)
    world.look()
    found = world.standing()[Rule.RIGHTS_CHANGED].drift
    assert (found.guid, found.reason.startswith(f"permissions of {dn}: added ")) == (where, True)


def test_a_container_that_nothing_lies_in_any_more_is_watched_no_more(world: MonitoredWorld) -> None:
    """(4)."""
    with world.store.read() as uow:
        ref = uow.groups.all()[0].priv
    place(world, "outer", f"OU=Old,{base(world)}")
    put(world, ref, f"CN=x,OU=Old,{base(world)}")
    world.look(seconds=MINUTE)
    put(world, ref, f"CN=x,{base(world)}")
    world.look(seconds=MINUTE)
    with world.store.read() as uow:
        assert "outer" not in {one.guid for one in uow.monitored.watched(PRIV)}


def test_a_right_on_what_a_hidden_group_lies_in_is_drift(world: MonitoredWorld) -> None:
    """(4): the container is watched on while the group is not shown."""
    with world.store.read() as uow:
        user, group = uow.users.all()[0].priv, uow.groups.all()[0].priv
    put(world, user, f"CN=y,{base(world)}")
    put(world, group, f"CN=x,OU=Old,{base(world)}")
    place(world, "outer", f"OU=Old,{base(world)}")
    world.look(seconds=MINUTE)
    world.priv.remove(group)
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    place(world, "outer", f"OU=Old,{base(world)}", EVE)
    world.look()
    assert world.standing()[Rule.RIGHTS_CHANGED].drift.guid == "outer"
