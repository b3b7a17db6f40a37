"""Rule (9) of domain/reviews.py: what was slept through is nobody's silence. The service was off, the database came from a backup, or a clock leapt."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.reviews import SILENT, SLEPT, Every, Review, State, Verdict
from tests.unit.test_reviews import DAY, House

BOTH = {"CORP\\alice", "CORP\\bob"}


@pytest.fixture(params=[False, True], ids=["", "four-eyes"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    made = House()
    if request.param:
        made.with_four_eyes()
    yield made
    made.world.close()


def run(house: House) -> None:
    for _ in range(5):
        house.world.clock.move(seconds=2)
        house.world.runner.run_due()


def off(house: House, **time: float) -> None:
    """The service is, for so long."""
    house.world.clock.move(**time)
    run(house)


def planned(house: House) -> Review:
    """It begins in a day, and silence removes."""
    return house.plan(silence=Verdict.REMOVE, opens_at=house.world.clock.now() + DAY)


@pytest.mark.parametrize("away", [timedelta(days=14, hours=23), timedelta(days=16)])
def test_9_one_whose_time_passed_before_it_began_has_its_whole_time(house: House, away: timedelta) -> None:
    review = planned(house)
    off(house, seconds=away.total_seconds())
    state = house.state(review)
    assert (state.state, state.began_at is not None) == (State.OPEN, True)
    assert len(house.told("review.asked")) == 2
    assert state.closes_at > house.world.clock.now() + timedelta(days=13, hours=23)
    off(house, hours=2)
    assert house.candidates() == BOTH
    assert house.end(review)
    assert house.candidates() != BOTH, "then silence counts"


def test_9_one_that_comes_back_has_its_whole_time_too(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE, every=Every(days=30))
    for who, person in (("mallory", "priv.alice"), ("grace", "priv.bob")):
        house.decide(review, who, person, Verdict.KEEP)
    house.end(review)
    off(house, days=29)
    assert [one.state for one in house.use.all(house.world.dave)] == [State.OPEN, State.CLOSED]
    assert house.candidates() == BOTH


def test_9_an_open_one_whose_end_was_slept_through_gives_time_and_tells_who_is_asked(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    house.days(4)
    reminded = len(house.told("review.reminded"))
    off(house, days=30)
    state = house.state(review)
    now = house.world.clock.now()
    assert (state.state, now + SILENT - DAY < state.closes_at <= now + SILENT) == (State.OPEN, True)
    assert [one["until"] for one in house.told("review.prolonged")] == [state.closes_at.isoformat()]
    assert house.told("review.reminded")[reminded]["until"] == state.closes_at.isoformat()
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP)
    house.end(review)
    assert house.candidates() == {"CORP\\alice"}
    assert len(house.told("review.prolonged")) == 1


def test_9_one_that_slept_before_its_end_gives_time_where_too_little_is_left(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    off(house, days=13, hours=22)
    assert house.state(review).closes_at > house.world.clock.now() + SILENT - DAY
    assert house.candidates() == BOTH


def test_9_where_enough_is_left_it_ends_at_its_time(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    before = house.state(review).closes_at
    off(house, days=6)
    assert (house.state(review).closes_at, house.told("review.prolonged")) == (before, [])


def test_9_where_all_is_decided_nobody_is_waited_for(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    for who, person in (("mallory", "priv.alice"), ("grace", "priv.bob")):
        house.decide(review, who, person, Verdict.KEEP)
    off(house, days=30)
    assert (house.state(review).state, house.candidates()) == (State.CLOSED, BOTH)


def test_9_a_short_outage_is_none(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    house.days(13)
    off(house, seconds=(DAY + SLEPT).total_seconds() - 60)
    assert house.state(review).state is State.CLOSED


def test_9_a_short_review_gives_its_whole_time(house: House) -> None:
    review = house.plan(lasts=timedelta(hours=2))
    off(house, hours=4)
    state = house.state(review)
    left = state.closes_at - house.world.clock.now()
    assert (state.state, timedelta(hours=1) < left <= timedelta(hours=2)) == (State.OPEN, True)


def test_9_the_signed_result_says_when_it_really_began(house: House) -> None:
    review = planned(house)
    off(house, days=20)
    began = house.state(review).began_at
    house.end(review)
    assert began is not None
    assert f'"opened_at":"{began.isoformat()}"' in house.use.result(house.world.frank, review.id).text
