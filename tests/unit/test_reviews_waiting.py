"""Step (4) of services/reviews/run.py: who was to be removed gets nothing by what they asked for before."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.requests import Request, State
from bastide.domain.reviews import Outcome, Review, Verdict
from bastide.services.roles import StageDraft
from tests.unit.test_reviews import House

HOUR = timedelta(hours=1)
APPROVED = (StageDraft("one", approvers=("PRIV\\grace",)),)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def second(house: House, *, group: bool, **options: Any) -> None:
    """A role of Alice and Bob; with `group`, Bob comes through one."""
    house.world.corp.add_group("Ops", members=[house.sid("bob")])
    names = ("CORP\\alice", "CORP\\Ops" if group else "CORP\\bob")
    house.world.add_role("Second", candidates=names, **options)


def ask(house: House, role: str = "Second", **more: Any) -> Request:
    asked = house.world.ask(role=role, **more)
    house.world.runner.run_due()
    return asked


def reviewed(house: House, verdict: Verdict = Verdict.REMOVE) -> Review:
    """Mallory says it of Alice, and the review ends."""
    review = house.plan(roles=("Second",), lasts=HOUR)
    house.decide(review, "mallory", "priv.alice", verdict)
    house.world.clock.move(hours=1, seconds=5)
    for _ in range(3):
        house.world.runner.run_due()
    return review


@pytest.mark.parametrize("group", [False, True])
def test_4_what_waits_for_an_approval_ends_with_the_line(house: House, group: bool) -> None:
    second(house, group=group, stages=APPROVED)
    asked = ask(house)
    assert house.lines(reviewed(house))["priv.alice"].outcome is Outcome.REMOVED
    ended = house.world.get(asked)
    assert (ended.state, ended.reason) == (State.CANCELLED, "taken away by the review Winter")
    assert [one["reason"] for one in house.told("request.cancelled")] == [ended.reason]


@pytest.mark.parametrize("group", [False, True])
def test_4_what_waits_for_its_start_does_not_begin(house: House, group: bool) -> None:
    second(house, group=group)
    asked = ask(house, start_at=house.world.clock.now() + 5 * HOUR)
    assert house.lines(reviewed(house))["priv.alice"].outcome is Outcome.REMOVED
    house.world.clock.move(hours=5)
    house.world.work()
    assert house.world.get(asked).state is State.CANCELLED


def test_4_what_passed_its_gates_and_could_not_be_written_yet_does_not_begin(house: House) -> None:
    second(house, group=True)
    review = house.plan(roles=("Second",))
    house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)
    asked = house.world.ask(role="Second")
    house.world.priv.cut("privdc")
    house.world.runner.run_due()
    assert house.world.get(asked).state is State.PROCESSING
    house.use.close(house.world.dave, review.id)
    house.world.runner.run_due()
    assert house.world.get(asked).state is State.FAILED
    house.world.priv.heal("privdc")
    house.world.work()
    assert house.world.get(asked).active_from is None


def test_4_where_a_person_must_take_it_away_what_waits_ends_too(house: House) -> None:
    house.world.corp.add_group("Leads", members=[house.sid("alice")])
    house.world.add_role("Second", candidates=("CORP\\Leads", "CORP\\bob"), stages=APPROVED)
    asked = ask(house)
    assert house.lines(reviewed(house))["priv.alice"].outcome is Outcome.BY_HAND
    assert house.world.get(asked).state is State.CANCELLED


def test_4_what_runs_goes_on_and_what_is_of_another_role_stays(house: House) -> None:
    second(house, group=True)
    running = ask(house, ttl=4 * HOUR)
    house.world.work()
    other = ask(house, "File administrators", start_at=house.world.clock.now() + 5 * HOUR)
    reviewed(house)
    assert (house.world.get(running).state, house.world.get(other).state) == (State.ACTIVE, State.SCHEDULED)


def test_4_who_is_kept_keeps_what_waits(house: House) -> None:
    second(house, group=True, stages=APPROVED)
    asked = ask(house)
    reviewed(house, Verdict.KEEP)
    assert house.world.get(asked).state is State.PENDING_APPROVAL
