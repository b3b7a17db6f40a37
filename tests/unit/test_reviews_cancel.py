"""Rule (8) of domain/reviews.py: what did not begin can be cancelled, and comes back no more."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.cli.exits import Exit
from bastide.domain.errors import Conflict, NotAuthorized
from bastide.domain.reviews import Every, Review, State
from bastide.domain.roles import Subject
from bastide.wiring import assemble
from tests.unit.test_cli_app import Desk, desk  # noqa: F401  # a fixture
from tests.unit.test_reviews import House
from tests.unit.test_reviews_four_eyes import add_candidate


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def planned(house: House) -> Review:
    """The next one of a review that comes back."""
    house.end(house.plan(every=Every(months=6)))
    return next(one for one in house.use.all(house.world.dave) if one.state is State.PLANNED)


def test_8_what_is_planned_is_cancelled_and_neither_begins_nor_comes_back(house: House) -> None:
    review = planned(house)
    assert house.use.cancel(house.world.dave, review.id).state is State.CANCELLED
    house.world.clock.move(days=400)
    house.world.runner.run_due()
    assert {one.state for one in house.use.all(house.world.dave)} == {State.CLOSED, State.CANCELLED}
    assert [one["review"] for one in house.told("review.cancelled")] == [review.id]
    with house.world.store.read() as uow:
        assert [row["due"] for row in uow.work.listing() if row["key"] == review.id] == [None]


def test_to_try_it_changes_nothing(house: House) -> None:
    """A page asks first whether it may."""
    review = planned(house)
    assert house.use.cancel(house.world.dave, review.id, dry_run=True).state is State.CANCELLED
    assert house.state(review) == review
    assert house.told("review.cancelled") == []
    with pytest.raises(NotAuthorized):
        house.use.cancel(house.world.frank, review.id, dry_run=True)


def test_8_what_began_or_is_over_is_not_cancelled(house: House) -> None:
    review = house.plan()
    with pytest.raises(Conflict, match="it is open") as caught:
        house.use.cancel(house.world.dave, review.id)
    assert "bastide review close" in caught.value.remedy
    house.end(review)
    with pytest.raises(Conflict, match="it is closed"):
        house.use.cancel(house.world.dave, review.id)


def test_8_what_is_planned_is_not_ended_and_the_remedy_is_said(house: House) -> None:
    with pytest.raises(Conflict) as caught:
        house.use.close(house.world.dave, planned(house).id)
    assert "bastide review cancel" in caught.value.remedy


def test_8_who_would_be_under_review_does_not_cancel_it(house: House) -> None:
    review = planned(house)
    add_candidate(house, Subject(house.world.dave.sid, "PRIV\\dave"))
    with pytest.raises(NotAuthorized, match="would be under review"):
        house.use.cancel(house.world.dave, review.id)
    with pytest.raises(NotAuthorized):
        house.use.cancel(house.actor("mallory"), review.id)
    another = replace(house.actor("grace"), rights=house.world.dave.rights)
    assert house.use.cancel(another, review.id).state is State.CANCELLED


def test_8_with_four_eyes_who_planned_it_does_not_cancel_it(house: House) -> None:
    services = assemble(house.world.adapters, house.world._preparation(), four_eyes=True)
    house.use = services.oversight.reviews
    review = house.plan(opens_at=house.world.clock.now() + timedelta(days=30))
    with pytest.raises(NotAuthorized, match="you planned this review"):
        house.use.cancel(house.world.dave, review.id)
    another = replace(house.actor("grace"), rights=house.world.dave.rights)
    assert house.use.cancel(another, review.id).state is State.CANCELLED


def test_8_by_command(desk: Desk) -> None:  # noqa: F811
    desk.world.prepare("alice")
    desk.world.prepare_group()
    desk.world.add_role(candidates=("CORP\\alice",))
    made = json.loads(
        desk.run(
            "PRIV\\dave", "review", "create", "Winter", "--fallback", "PRIV\\grace", "--silence", "keep",
            "--from", "2100-01-01T00:00:00Z", "--json",
        ).stdout
    )  # fmt: skip
    refused = desk.run("PRIV\\dave", "review", "close", made["id"], "--yes", wanted=Exit.REFUSED)
    assert "bastide review cancel" in refused.stderr
    desk.run("PRIV\\dave", "review", "cancel", made["id"], "--yes")
    assert "cancelled" in desk.run("PRIV\\dave", "review", "list").stdout
