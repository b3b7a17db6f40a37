"""Whom one controller calls privileged or closed gets no new password, although the one that is asked first has not heard of it: replication is late by minutes, and between
sites by hours. What the help desk (services/help_desk/tier.py), orders that waited (orders.py) and self-service reset (services/reset/people.py) ask.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.memory_forest import Key, Link, MemoryForest
from bastide.domain.errors import BastideError, DirectoryUnavailable, NotAuthorized
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.passwords import Code
from bastide.services.help_desk.ports import Settings
from bastide.services.help_desk.tier import Tier
from tests.support.help_desk import HelpDeskWorld
from tests.support.reset_world import ELSEWHERE, ResetWorld
from tests.unit.test_help_desk import NEW, proved, set_it
from tests.unit.test_help_desk_orders import OLD, comes_up, waiting

pytest_plugins = ["tests.support.help_desk"]

#: What is done to an account, on one controller.
Done = Callable[[MemoryForest, Sid, ObjectRef], dict[Key, object]]


def into_the_group(_: MemoryForest, sid: Sid, group: ObjectRef) -> dict[Key, object]:
    return {("link", group.guid, sid): Link(None)}


def protected(forest: MemoryForest, sid: Sid, _: ObjectRef) -> dict[Key, object]:
    found = forest.account(sid)
    return {("account", sid): replace(found, person=replace(found.person, protected=True))}


def disabled(forest: MemoryForest, sid: Sid, _: ObjectRef) -> dict[Key, object]:
    found = forest.account(sid)
    return {("account", sid): replace(found, person=replace(found.person, enabled=False))}


def expired(forest: MemoryForest, sid: Sid, _: ObjectRef) -> dict[Key, object]:
    return {("expires", sid): forest.clock() - timedelta(minutes=1)}


def late(forest: MemoryForest, name: str = "dc2") -> str:
    """A second controller whose news the first does not hear; Bastide reaches both."""
    forest.join(name)
    forest.isolate(name)
    return name


# ------------------------------------------------------------------------------------------------------------ help desk


@pytest.mark.parametrize("becomes", [into_the_group, protected])
def test_the_help_desk_does_not_reach_who_is_privileged_on_one_controller(
    help_desk_world: HelpDeskWorld, becomes: Done
) -> None:
    world = help_desk_world
    verification = proved(world)
    where = late(world.corp)
    world.corp.write(where, "", becomes(world.corp, Sid(world.sid_of("alice")), world.desks["Board"].ref))
    with pytest.raises(NotAuthorized):
        set_it(world, verification=verification)
    world.work()
    assert world.there("corp").password == OLD


def test_a_chain_of_groups_over_two_controllers_is_followed(help_desk_world: HelpDeskWorld) -> None:
    world = help_desk_world
    team, unit = (world.corp.add_group(name).ref for name in ("Team", "Unit"))
    verification = proved(world)
    where, first = late(world.corp), world.corp.controllers()[0].name
    world.corp.write(where, "", {("link", team.guid, Sid(world.sid_of("alice"))): Link(None)})
    world.corp.write(first, "", {("link", unit.guid, team.sid): Link(None)})
    world.corp.write(where, "", {("link", world.desks["Board"].ref.guid, unit.sid): Link(None)})
    with pytest.raises(NotAuthorized, match="protect"):
        set_it(world, verification=verification)


def test_a_group_of_the_other_forest_that_holds_what_one_controller_says_counts(
    help_desk_world: HelpDeskWorld,
) -> None:
    """The person's account is one of PRIV, in a group that only PRIV's second controller knows it in, and that is in one of CORP."""
    world = help_desk_world
    person = world.priv.add_person("walter", password="walter-priv-pw").ref
    inner, outer = world.priv.add_group("Inner").ref, world.priv.add_group("Outer").ref
    world.corp.write(
        world.corp.controllers()[0].name, "", {("link", world.share.ref.guid, outer.sid): Link(None)}
    )
    where = late(world.priv)
    first = world.priv.controllers()[0].name
    world.priv.write(where, "", {("link", inner.guid, person.sid): Link(None)})
    world.priv.write(first, "", {("link", outer.guid, inner.sid): Link(None)})
    for guarded, why in (((), ""), (("CORP\\FileAdmins",), "protect")):
        settings = Settings(own_names=frozenset(), guarded=guarded)
        said = Tier(store=world.store, forests=world.services.forests, settings=settings).above(
            person.sid, None
        )
        assert why in said
        assert bool(said) == bool(why)


def test_without_any_controller_nobody_can_say_it(help_desk_world: HelpDeskWorld) -> None:
    world = help_desk_world
    verification = proved(world)
    late(world.corp)
    for one in world.corp.controllers():
        world.corp.cut(one.name)
    with pytest.raises(DirectoryUnavailable):
        set_it(world, verification=verification)


def test_a_controller_that_is_cut_off_or_has_not_got_the_account_stops_nobody(
    help_desk_world: HelpDeskWorld,
) -> None:
    world = help_desk_world
    verification = proved(world)
    where = late(world.corp)
    world.corp.write(where, "", {("account", Sid(world.sid_of("alice"))): None})
    late(world.corp, "dc3")
    world.corp.cut("dc3")
    set_it(world, verification=verification)
    world.work()
    assert world.there("corp").password == NEW


# ------------------------------------------------------------------------------------------------------ orders that waited


@pytest.mark.parametrize("becomes", [into_the_group, protected])
def test_an_order_that_waited_is_not_delivered_to_who_is_privileged_on_one_controller(
    help_desk_world: HelpDeskWorld, becomes: Done
) -> None:
    world = help_desk_world
    operation = waiting(world)
    where = late(world.corp)
    world.corp.write(where, "", becomes(world.corp, Sid(world.sid_of("alice")), world.desks["Board"].ref))
    assert comes_up(world, operation).code is Code.OUT_OF_REACH
    assert world.there("corp").password == OLD


# ----------------------------------------------------------------------------------------------------- self-service reset


@pytest.fixture
def resets() -> Iterator[ResetWorld]:
    made = ResetWorld(excluded=("Executives",))
    made.corp.add_group("Executives")
    yield made
    made.close()


def on_one(world: ResetWorld, becomes: Done) -> None:
    world.corp.write("dc2", "", becomes(world.corp, world.everyday("nina").sid, executives(world)))


def executives(world: ResetWorld) -> ObjectRef:
    return next(one.ref for one in world.corp.replica("dc2").groups() if one.ref.name == "Executives")


@pytest.mark.parametrize("becomes", [into_the_group, protected, disabled, expired])
def test_no_code_leaves_for_who_is_closed_or_excluded_on_one_controller(
    resets: ResetWorld, becomes: Done
) -> None:
    resets.register()
    late(resets.corp)
    on_one(resets, becomes)
    before = len(resets.notifier.taken)
    resets.begin("nina", ELSEWHERE)
    resets.deliver()
    assert len(resets.notifier.taken) == before


@pytest.mark.parametrize("becomes", [into_the_group, protected, disabled, expired])
def test_who_is_closed_or_excluded_on_one_controller_begins_as_somebody_unknown_does(
    resets: ResetWorld, becomes: Done
) -> None:
    resets.register()
    late(resets.corp)
    on_one(resets, becomes)
    for name in ("nina", "zoe"):
        begun = resets.reset.journey.view(resets.begin(name, ELSEWHERE))
        assert begun is not None
        assert not begun.reset.person, name


@pytest.mark.parametrize("becomes", [into_the_group, protected, disabled, expired])
def test_who_is_closed_or_excluded_on_one_controller_after_the_gates_chooses_nothing(
    resets: ResetWorld, becomes: Done
) -> None:
    resets.register()
    late(resets.corp)
    token = resets.through("nina", ELSEWHERE)
    old = resets.password("nina")
    on_one(resets, becomes)
    with pytest.raises(BastideError):
        resets.finish(token)
    resets.deliver()
    assert resets.password("nina") == old


def test_a_chain_over_two_controllers_into_an_excluded_group_ends_a_reset(resets: ResetWorld) -> None:
    resets.register()
    team = resets.corp.add_group("Team").ref
    late(resets.corp)
    token = resets.through("nina", ELSEWHERE)
    on_one(resets, lambda *_: {("link", team.guid, resets.everyday("nina").sid): Link(None)})
    first = resets.corp.controllers()[0].name
    resets.corp.write(first, "", into_the_group(resets.corp, team.sid, executives(resets)))
    with pytest.raises(BastideError):
        resets.finish(token)
