"""Figures of reviews, help desk, self-service reset and events: that each is what it says, and that nobody is named."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bastide.domain.audit import Event
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.lockout import Count, Kind
from bastide.domain.reviews import Verdict
from bastide.services import measures
from bastide.services.measures import RECENT_KINDS
from bastide.services.reset.ports import NamedRule
from bastide.services.reviews.campaigns import Draft
from tests.support.intake_world import STRANGER, IntakeWorld, samba_group, samba_sign_in
from tests.support.reset_world import ELSEWHERE, ResetWorld
from tests.support.world import World
from tests.unit.test_docs import _rows

pytest_plugins = ["tests.support.intake_world", "tests.support.reset_world"]
ADMINS = "CN=Domain Admins,CN=Users,DC=corp,DC=bastide,DC=test"


def figures(world: World) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels."""
    return {(one.measure.name, *one.labels): one.value for one in world.services.measures.read()}


@pytest.fixture
def world() -> World:
    made = World()
    made.ready()
    return made


# -------------------------------------------------------------------------------------------------------------- reviews


def test_a_review_that_no_worker_ends_is_overdue(world: World) -> None:
    assert figures(world)["bastide_reviews_open",] == 0
    plan = Draft(name="Winter", fallback="PRIV\\grace", silence=Verdict.KEEP)
    world.services.oversight.reviews.create(world.dave, plan)
    world.work()
    assert figures(world)["bastide_reviews_open",] == 1
    assert figures(world)["bastide_reviews_overdue",] == 0
    world.clock.move(days=60)
    assert figures(world)["bastide_reviews_overdue",] == 1
    world.work()
    assert figures(world)["bastide_reviews_overdue",] == 0, "slept through: it goes on for a week"
    for _ in range(7):
        world.clock.move(days=1)
        world.work()
    assert figures(world)["bastide_reviews_open",] == figures(world)["bastide_reviews_overdue",] == 0


# ------------------------------------------------------------------------------------------------------------- what was done


def test_records_of_the_last_hour(world: World) -> None:
    assert {name[1] for name in figures(world) if name[0] == "bastide_audit_last_hour"} == set(RECENT_KINDS)
    with world.store.write() as uow:
        for ago in (10, 20, 70):
            at = world.clock.now() - timedelta(minutes=ago)
            uow.audit.append(Event(at=at, kind="help-desk.ordered", actor="S-1-5-21-1-2-3-9", actor_name="x"))
        uow.commit()
    seen = figures(world)
    assert seen["bastide_audit_last_hour", "help-desk.ordered"] == 2
    assert seen["bastide_audit_last_hour", "reset.done"] == 0


def test_each_kind_that_is_counted_is_one_of_the_audit() -> None:
    assert set(RECENT_KINDS) <= set(_rows("events.md"))


# ---------------------------------------------------------------------------------------------------- self-service reset


def test_without_self_service_there_are_no_figures_of_it(world: World) -> None:
    names = {name for name, *_ in figures(world)}
    assert not {name for name in names if "reset" in name or "event" in name}


def test_resets_that_go_on(reset_world: ResetWorld) -> None:
    reset_world.register()
    reset_world.begin()
    assert figures(reset_world)["bastide_resets_open", "gates"] == 1
    reset_world.begin("zoe")
    seen = figures(reset_world)
    assert (seen["bastide_resets_open", "gates"], seen["bastide_resets_of_nobody",]) == (1, 1)
    reset_world.clock.move(minutes=16)
    seen = figures(reset_world)
    assert seen["bastide_resets_open", "gates"] == seen["bastide_resets_of_nobody",] == 0


def test_resets_that_cool_off_and_those_that_are_done() -> None:
    world = ResetWorld(rules=[NamedRule(gates=(Gate.MAIL,), cooling=timedelta(hours=2))])
    world.register()
    token = world.through()
    assert figures(world)["bastide_resets_open", "cooling"] == 1
    world.deliver()
    world.clock.move(hours=2, minutes=1)
    world.finish(token)
    assert not any(value for (name, *_), value in figures(world).items() if name == "bastide_resets_open")
    assert figures(world)["bastide_audit_last_hour", "reset.done"] == 1
    world.close()


@pytest.mark.parametrize(
    ("locked", "number"),
    [
        (lambda now: {"until": now + timedelta(minutes=1)}, 1),
        (lambda now: {"until": now}, 0),
        (lambda _now: {"for_good": True}, 1),
        (lambda now: {"until": now + timedelta(minutes=1), "name": ""}, 0),
    ],
)
def test_locks_of_people(
    reset_world: ResetWorld, locked: Callable[..., dict[str, object]], number: int
) -> None:
    now = reset_world.clock.now()
    fields: dict[str, object] = {"name": "nina", **locked(now)}
    with reset_world.store.write() as uow:
        for kind in (Kind.NAME, Kind.ADDRESS):
            uow.resets.put_count(Count(kind=kind, key="k", began=now, **fields))  # type: ignore[arg-type]
        uow.commit()
    seen = figures(reset_world)
    assert seen["bastide_resets_locked", "name"] == number
    assert seen["bastide_resets_locked", "pair"] == 0


# --------------------------------------------------------------------------------------------------------------- events


def test_sources_and_what_they_told_of(intake_world: IntakeWorld) -> None:
    seen = figures(intake_world)
    assert seen["bastide_event_source_silent", "dc1"] == 1, "it was never heard"
    assert ("bastide_event_source_heard_age_seconds", "dc1") not in seen
    intake_world.take(
        samba_group(STRANGER, "CN=Eve,DC=x", ADMINS, at=intake_world.clock.now().isoformat()), b"junk"
    )
    intake_world.clock.move(minutes=6)
    intake_world.work()
    seen = figures(intake_world)
    assert seen["bastide_events_last_day", "unexplained"] == 1
    assert seen["bastide_events_last_day", "grant"] == 0
    assert seen["bastide_event_source_silent", "dc1"] == 0
    assert seen["bastide_event_source_heard_age_seconds", "dc1"] == 360
    assert seen["bastide_event_source_lines", "dc1", "taken"] == 1
    assert seen["bastide_event_source_lines", "dc1", "refused"] == 1
    assert seen["bastide_audit_last_hour", "intake.unexplained"] == 1
    for _ in range(3):
        intake_world.clock.move(minutes=31)
        intake_world.work()
    assert figures(intake_world)["bastide_event_source_silent", "dc1"] == 1
    intake_world.take(samba_sign_in(STRANGER, "eve"))
    assert figures(intake_world)["bastide_event_source_silent", "dc1"] == 0
    intake_world.clock.move(days=1)
    assert figures(intake_world)["bastide_events_last_day", "unexplained"] == 0


def test_nobody_is_named(reset_world: ResetWorld) -> None:
    reset_world.register()
    reset_world.begin()
    labels = {label for one in reset_world.services.measures.read() for label in one.labels}
    assert not labels & {"nina", ELSEWHERE}
    assert not [label for label in labels if label.startswith("S-1-")]
    assert len({one.name for one in measures.MEASURES}) == len(measures.MEASURES)
