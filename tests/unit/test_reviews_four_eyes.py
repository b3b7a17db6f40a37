"""Rule (7) of domain/reviews.py: who ends a review, and what one person alone cannot do with it where four eyes are asked for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import InvalidInput, NotAuthorized
from bastide.domain.reviews import SILENT, State, Verdict
from bastide.domain.roles import Subject
from bastide.wiring import assemble
from tests.unit.test_reviews import House


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


@pytest.fixture
def guarded(house: House) -> House:
    """With four eyes."""
    services = assemble(house.world.adapters, house.world._preparation(), four_eyes=True)
    house.use = services.oversight.reviews
    return house


def add_candidate(house: House, subject: Subject) -> None:
    with house.world.store.write() as uow:
        (role,) = uow.roles.all()
        uow.roles.save(replace(role, candidates=(*role.candidates, subject)))
        uow.commit()


def test_7_who_planned_it_does_not_end_it(guarded: House) -> None:
    review = guarded.plan(silence=Verdict.REMOVE)
    with pytest.raises(NotAuthorized, match="you planned this review"):
        guarded.use.close(guarded.world.dave, review.id)
    guarded.world.runner.run_due()
    assert guarded.state(review).state is State.OPEN
    assert guarded.candidates() == {"CORP\\alice", "CORP\\bob"}


def test_7_to_try_it_changes_nothing_and_refuses_the_same(guarded: House) -> None:
    """A page asks first whether it may."""
    review = guarded.plan()
    with pytest.raises(NotAuthorized, match="you planned this review"):
        guarded.use.close(guarded.world.dave, review.id, dry_run=True)
    another = replace(guarded.actor("grace"), rights=guarded.world.dave.rights)
    assert guarded.use.close(another, review.id, dry_run=True).state is State.CLOSING
    assert guarded.state(review).state is State.OPEN
    assert guarded.told("review.ended") == []


def test_7_another_administrator_ends_it(guarded: House) -> None:
    review = guarded.plan(silence=Verdict.REMOVE)
    another = replace(guarded.actor("grace"), rights=guarded.world.dave.rights)
    assert guarded.use.close(another, review.id).state is State.CLOSING


def test_7_who_planned_it_keeps_and_does_not_remove(guarded: House) -> None:
    review = guarded.plan(reviewer="PRIV\\dave")
    line = guarded.lines(review)["priv.alice"].id
    dave = guarded.actor("dave")
    with pytest.raises(NotAuthorized, match="somebody else says remove"):
        guarded.use.decide(dave, review.id, line, Verdict.REMOVE, "left")
    assert guarded.use.decide(dave, review.id, line, Verdict.KEEP).decision is not None


def test_7_where_silence_removes_reviewers_have_time_to_speak(guarded: House) -> None:
    with pytest.raises(InvalidInput, match="four eyes"):
        guarded.plan(silence=Verdict.REMOVE, lasts=SILENT - timedelta(seconds=1))
    early = guarded.world.clock.now() - timedelta(days=6)
    review = guarded.plan(silence=Verdict.REMOVE, opens_at=early, lasts=SILENT)
    assert guarded.state(review).closes_at == guarded.world.clock.now() + SILENT, "none before now"
    guarded.plan(silence=Verdict.KEEP, lasts=timedelta(hours=1))
    guarded.plan(silence=Verdict.REMOVE, lasts=SILENT)


def test_7_who_is_under_review_does_not_end_it(house: House) -> None:
    """Also without four eyes: silence would sign an administrator as kept."""
    dave = house.world.dave
    add_candidate(house, Subject(dave.sid, "PRIV\\dave"))
    review = house.plan(silence=Verdict.KEEP)
    assert any(dave.sid in line.accounts for line in house.lines(review).values())
    with pytest.raises(NotAuthorized, match="under review"):
        house.use.close(dave, review.id)
    another = replace(house.actor("grace"), rights=dave.rights)
    assert house.use.close(another, review.id).state is State.CLOSING
