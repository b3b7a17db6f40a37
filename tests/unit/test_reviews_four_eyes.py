"""Rule (7) of domain/reviews.py: who ends a review, and what one person alone cannot do with it where four eyes are asked for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import InvalidInput, NotAuthorized
from bastide.domain.reviews import SILENT, Review, State, Verdict
from bastide.domain.roles import Subject
from bastide.services.reviews.campaigns import Draft
from tests.unit.test_reviews import House


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


@pytest.fixture
def guarded(house: House) -> House:
    """With four eyes."""
    house.with_four_eyes()
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


def test_7_to_ask_whether_one_may_changes_nothing_and_refuses_the_same(guarded: House) -> None:
    """A page asks first whether it may."""
    review = guarded.plan()
    with pytest.raises(NotAuthorized, match="you planned this review"):
        guarded.use.require_may_end(guarded.world.dave, review.id)
    another = replace(guarded.actor("grace"), rights=guarded.world.dave.rights)
    guarded.use.require_may_end(another, review.id)
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


@pytest.mark.parametrize("who", ["PRIV\\dave", "PRIV\\Nobody", "PRIV\\Only dave"])
@pytest.mark.parametrize("field", ["reviewer", "fallback"])
def test_7_where_silence_removes_somebody_else_must_be_able_to_speak(
    guarded: House, who: str, field: str
) -> None:
    """M8: an administrator alone planned one, said nothing, and everybody was out."""
    guarded.world.priv.add_group("Nobody")
    guarded.world.priv.add_group("Only dave", members=[guarded.world.dave.sid])
    options = {"reviewer": "PRIV\\heidi", "fallback": "PRIV\\grace", field: who}
    with pytest.raises(InvalidInput, match="nobody but you can decide") as caught:
        guarded.plan(silence=Verdict.REMOVE, **options)
    assert (caught.value.field, who in caught.value.message) == (field, True)
    guarded.plan(silence=Verdict.KEEP, **options)


def test_7_nor_with_the_other_account(guarded: House) -> None:
    """Bob administers, and the group has his CORP account."""
    guarded.world.corp.add_group("Leads", members=[guarded.sid("bob")])
    bob = replace(guarded.actor("bob"), rights=guarded.world.dave.rights)
    with guarded.world.store.read() as uow:
        user = uow.users.by_sid(bob.sid)
    assert user is not None
    draft = Draft(name="Winter", reviewer="CORP\\Leads", fallback="PRIV\\grace", silence=Verdict.REMOVE)
    with pytest.raises(InvalidInput, match="nobody but you"):
        guarded.use.create(replace(bob, sid=user.priv.sid), draft)


def test_7_a_group_with_others_does(guarded: House) -> None:
    members = [guarded.world.dave.sid, guarded.actor("heidi").sid]
    guarded.world.priv.add_group("Leads", members=members)
    review = guarded.plan(silence=Verdict.REMOVE, reviewer="PRIV\\Leads")
    assert set(reviewers_of(guarded, review).values()) == {"PRIV\\Leads"}


def test_7_without_four_eyes_who_plans_it_may_be_the_reviewer(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE, reviewer="PRIV\\dave")
    assert set(reviewers_of(house, review).values()) == {"PRIV\\dave"}


def test_7_who_planned_it_is_not_the_only_one_for_a_line(guarded: House) -> None:
    """As the manager, and as who is left in a group."""
    heidi = guarded.actor("heidi").sid
    group = guarded.world.priv.add_group("Leads", members=[guarded.world.dave.sid, heidi]).ref
    guarded.census.managers[guarded.sid("alice")] = guarded.world.dave.sid
    review = guarded.plan(silence=Verdict.REMOVE, fallback="PRIV\\Leads")
    assert reviewers_of(guarded, review) == {"priv.alice": "PRIV\\Leads", "priv.bob": "PRIV\\Leads"}
    MemoryDirectory(guarded.world.priv).remove_members(group, [heidi])
    guarded.days(3)
    assert reviewers_of(guarded, review) == {"priv.alice": "", "priv.bob": ""}, "any other administrator"


def reviewers_of(guarded: House, review: Review) -> dict[str, str]:
    lines = guarded.lines(review).values()
    return {line.person: line.reviewer.name if line.reviewer else "" for line in lines}


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
