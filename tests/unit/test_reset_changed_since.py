"""A reset is dead if the password was changed since, whoever knows of it: a test per number of services/reset/everywhere.py."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import Conflict, DirectoryUnavailable
from bastide.domain.ids import ObjectRef
from bastide.domain.management_agents import MaId
from bastide.domain.passwords import Change, Receipt, Stamp
from bastide.domain.reset.flow import Choice
from bastide.domain.reset.gates import Gate
from bastide.services.reset.ports import NamedRule
from tests.support.reset_world import ELSEWHERE, NEW, ResetWorld


@pytest.fixture
def world() -> Iterator[ResetWorld]:
    """Nina is registered; between gates and choice are two hours."""
    made = ResetWorld(rules=[NamedRule(gates=(Gate.MAIL,), cooling=timedelta(hours=2))])
    made.register()
    yield made
    made.close()


def nina_of(world: ResetWorld) -> ObjectRef:
    return MemoryDirectory(world.corp).find_person("nina").ref


def told(world: ResetWorld) -> None:
    """By an agent; it is not in what the directory is asked for here."""
    now, nina = world.clock.now(), nina_of(world)
    change = Change(
        reference="r1", ma=MaId("ma-corp"), object=None, domain=world.corp.dns_name.lower(), user_guid=nina.guid, account="nina",
        stamp=Stamp(now), controller="dc1", origin="", attempt=1, received_at=now, receipt=Receipt.STAGED,
    )  # fmt: skip
    with world.store.write() as uow:
        uow.changes.add([change], [])
        uow.commit()


def ordered(world: ResetWorld) -> None:
    """Here, and delivered to nobody yet."""
    world.reset.journey._everywhere.set(nina_of(world), NEW, lambda _uow, _reference: None)


def replicated(world: ResetWorld) -> None:
    """No agent told of it."""
    for known in world.times.known.values():
        known[nina_of(world).sid] = world.clock.now()


def on_one_controller(world: ResetWorld) -> None:
    """The one that is asked first has not heard of it."""
    world.times.known["dc1"][nina_of(world).sid] = world.clock.now() - timedelta(days=30)
    world.times.known["dc2"][nina_of(world).sid] = world.clock.now()


KNOWN = [
    pytest.param(told, id="(1) an agent told"),
    pytest.param(ordered, id="(2) ordered here"),
    pytest.param(replicated, id="(3) the directory alone"),
    pytest.param(on_one_controller, id="(3) one controller alone"),
]


@pytest.mark.parametrize("choice", list(Choice))
@pytest.mark.parametrize("change", KNOWN)
def test_who_waits_for_the_choice_has_none_any_more(
    world: ResetWorld, change: Callable[[ResetWorld], None], choice: Choice
) -> None:
    token = world.through()
    world.deliver()
    world.clock.move(minutes=60)
    change(world)
    world.clock.move(minutes=60)
    with pytest.raises(Conflict, match="changed after this reset began") as refused:
        world.reset.journey.choose(token, choice, "Another-Horse-8", ELSEWHERE)
    assert refused.value.remedy == "begin a new reset"


@pytest.mark.parametrize("change", KNOWN)
def test_what_was_changed_before_stops_nothing(
    world: ResetWorld, change: Callable[[ResetWorld], None]
) -> None:
    change(world)
    world.clock.move(minutes=1)
    token = world.through()
    world.deliver()
    world.clock.move(minutes=120)
    world.reset.journey.choose(token, Choice.SET, "Another-Horse-8", ELSEWHERE)
    world.deliver()
    assert world.password("nina") == "Another-Horse-8"


def test_a_controller_out_of_reach_holds_nothing_up_and_none_within_reach_is_no_yes(
    world: ResetWorld,
) -> None:
    """(3) Who could not ask does not know that it was not changed."""
    token = world.through()
    world.deliver()
    world.clock.move(minutes=120)
    world.times.away = {"dc1", "dc2"}
    with pytest.raises(DirectoryUnavailable):
        world.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)
    world.times.away = {"dc2"}
    world.finish(token)
    assert world.password("nina") == NEW
